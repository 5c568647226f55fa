"""Evidence in, ranked causes out; pure."""
