"""A run on a terminal: live, as plain lines, and the question before a change."""
