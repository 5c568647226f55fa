"""Eyes that stay open: numbers of all targets for ``runbook exporter`` and ``runbook top``.

Not here: looking at one target for one window (``bpf.probes``).
"""
