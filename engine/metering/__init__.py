"""Numbers of all targets, again and again: what ``runbook exporter`` and ``runbook top`` show.

Not here: looking at one target for one window (``engine.running.looking``).
"""
