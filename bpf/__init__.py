"""The eyes: everything that looks at the kernel."""
