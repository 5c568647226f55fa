"""``runbook serve``: alerts in, approvals, the page, notifications.

Two parts that meet on a local socket only. The *listener* talks to the network and has no
privileges; the *worker* may change this host, and has no network port. What passes between them
are the frozen values of ``engine.server.messages``: names and typed arguments, never code. Whatever
may be decided is decided in the worker.

Not here: runs (``engine.running``), what runbooks and policies say.
"""
