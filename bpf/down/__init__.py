"""What is left of an agent that does not run: its unit, its last words, what the kernel says of its end."""
