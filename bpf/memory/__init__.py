"""What a process's memory is made of, how it grows, and which function asked for it."""
