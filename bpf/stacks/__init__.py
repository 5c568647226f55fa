"""Stacks: sampled, named, folded. What ``cpu-profile`` is made of, and what others who have stacks can use."""
