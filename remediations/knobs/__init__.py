"""Ways to read and write a setting, and reloads."""
