"""Rehearsals: runbooks run on evidence from a file, and compared with what is expected."""
