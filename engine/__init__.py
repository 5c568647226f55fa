"""Reads a runbook, runs it, remembers it, tells about it."""
