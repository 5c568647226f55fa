"""A run: its steps, its goal, one change from plan to proof, and what a later process does with it."""
