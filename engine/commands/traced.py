"""Commands that run something are traced where the environment asks for it.

Not here: tracing (``engine.server.tracing``), which is imported only then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from engine.record import Watcher


@contextmanager
def traced(watcher: Watcher) -> Iterator[Watcher]:
    """The watcher, and a tracer beside it where ``$OTEL_EXPORTER_OTLP_ENDPOINT`` is set."""
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
        yield watcher
        return
    from engine.server import tracing  # noqa: PLC0415 - only where it is asked for

    with tracing.traced(watcher) as both:
        yield both
