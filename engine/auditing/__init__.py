"""The audit: its rows, their forms, and whether the journal was altered. The door is ``engine.audit``."""
