"""The hands: one file per kind of change."""
