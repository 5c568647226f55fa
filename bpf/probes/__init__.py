"""One file per probe, its C beside it."""
