"""What the two positions of a ring buffer tell about the events that pass through it."""
