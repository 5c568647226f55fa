"""The page for people: rendered here, told by the worker, readable without a script.

``routes(settings, line)`` is all that the listener mounts. Not here: what is true of a run
(``engine.reports.story``), who may do what (the worker).
"""

from engine.server.page.mount import failures, routes

__all__ = ["failures", "routes"]
