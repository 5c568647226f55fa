"""BCC: an author's own probe in its C, and its symbolizer, in a child process."""
