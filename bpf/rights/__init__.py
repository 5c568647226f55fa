"""What BPF programs need to be allowed, and what a container is allowed."""
