"""Stacks: sampled, named, folded: what ``cpu-profile`` is made of."""
