"""OpenTelemetry as an option: sends a run's spans over OTLP/HTTP while it goes on.

One promise: a run never waits for it. The run's threads only put spans into a bounded queue; everything
of OpenTelemetry, its imports included, happens in a thread of its own; what can't be sent in time is
dropped, and at the run's end at most ``LAST_S`` are spent on what is left.

Where to: ``settings.tracing.endpoint`` for ``runbook serve``, ``$OTEL_EXPORTER_OTLP_ENDPOINT`` (with
the other standard variables) for the commands. Needs the extra ``[tracing]``.

Not here: what is a span (``engine.server.spans``).
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from engine import host
from engine.errors import UsageError
from engine.record import Asked, Event, RunHead, Watcher
from engine.running.several import Several
from engine.server.spans import Span, Spans
from engine.values import Decision, Plan

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

#: So many spans wait at most; the rest is dropped.
MOST = 2000
#: How long one request may take, what is gathered for one, and what the end of a run may cost.
REQUEST_S, BATCH_S, LAST_S = 3.0, 1.0, 3.0
_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@contextmanager
def traced(watcher: Watcher, endpoint: str = "") -> Iterator[Watcher]:
    """A watcher that is traced as well, where it was asked for; the watcher itself where not.

    Args:
        watcher: Who watches besides.
        endpoint: Where OTLP over HTTP is taken; empty for what the environment says.
    """
    if not (endpoint or _asked_for()) or not installed():
        yield watcher
        return
    tracer = Tracer(endpoint)
    try:
        yield Several(watcher, tracer)
    finally:
        tracer.close()


def installed() -> bool:
    """Whether the extra ``[tracing]`` is there. Imports the package's name only."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def require(endpoint: str) -> None:
    """Whoever set an endpoint wants to be traced.

    Raises:
        UsageError: What sends traces is not installed.
    """
    if endpoint and not installed():
        raise UsageError(
            "tracing.endpoint is set, and OpenTelemetry is not installed",
            fix="pip install 'bpf-runbook[tracing]', or leave tracing out of the settings",
        )


def _asked_for() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true" and any(map(os.environ.get, _VARIABLES))


class Tracer:
    """A watcher that sends spans. ``close`` it at the end."""

    def __init__(self, endpoint: str = "", now: Callable[[], float] = time.time) -> None:
        self.dropped = 0
        self._spans = Spans()
        self._now = now
        self._waiting: queue.Queue[Span | None] = queue.Queue(MOST)
        self._thread = threading.Thread(target=self._send_all, args=(endpoint,), name="tracing", daemon=True)
        self._thread.start()

    def begin(self, head: RunHead) -> None:
        """A run begins."""
        self._spans.begin(head, self._now())

    def event(self, event: Event) -> None:
        """What ends with an event is sent."""
        for span in self._spans.event(event):
            self._put(span)

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Numbers are metrics, not traces."""

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """Nobody is here."""
        del plan, decisions
        return None

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """Nobody is here."""
        del asked, problem
        return None

    def close(self) -> None:
        """Send what is left, within ``LAST_S``."""
        for span in self._spans.finish(self._now()):
            self._put(span)
        self._put(None)
        self._thread.join(LAST_S)

    def _put(self, span: Span | None) -> None:
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            self.dropped += 1

    def _send_all(self, endpoint: str) -> None:
        """The thread: batches until the end. Whatever breaks here, breaks here only."""
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        try:
            send, end = _sender(endpoint), False
            while not end:
                batch, end = self._batch()
                if batch and not send(batch):
                    self.dropped += len(batch)
        except Exception:  # noqa: BLE001 - without OpenTelemetry the run goes on untraced
            self.dropped += 1

    def _batch(self) -> tuple[list[Span], bool]:
        """What has come within ``BATCH_S`` of the first one, and whether it was the last."""
        batch: list[Span] = []
        until = None
        while len(batch) < 256:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                span = self._waiting.get(timeout=left)
            except queue.Empty:
                break
            if span is None:
                return batch, True
            batch.append(span)
            until = until or time.monotonic() + BATCH_S
        return batch, False


def _sender(endpoint: str) -> Callable[[Sequence[Span]], bool]:
    """Sends spans; gives whether they were taken. Imports OpenTelemetry: 0.2 s."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

    place = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    exporter = OTLPSpanExporter(place, timeout=REQUEST_S)
    name = os.environ.get("OTEL_SERVICE_NAME") or "runbook"
    resource = Resource.create({"host.name": host.hostname(), "service.name": name})

    def send(spans: Sequence[Span]) -> bool:
        return exporter.export([_readable(one, resource) for one in spans]) is SpanExportResult.SUCCESS

    return send


def _readable(span: Span, resource: object) -> ReadableSpan:
    """A span as OpenTelemetry holds it."""
    from opentelemetry.sdk.trace import Event as Happening  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags  # noqa: PLC0415
    from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415

    def context(id_: int) -> SpanContext:
        return SpanContext(span.trace, id_, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    code = StatusCode.UNSET if span.good is None else StatusCode.OK if span.good else StatusCode.ERROR
    return ReadableSpan(
        name=span.name,
        context=context(span.id),
        parent=context(span.parent) if span.parent else None,
        resource=resource,  # type: ignore[arg-type]
        attributes=span.attributes,
        events=[Happening(one.name, one.attributes, int(one.at * 1e9)) for one in span.marks],
        kind=SpanKind.INTERNAL,
        status=Status(code, span.because if code is StatusCode.ERROR else None),
        start_time=int(span.start * 1e9),
        end_time=int(span.end * 1e9),
        instrumentation_scope=InstrumentationScope("runbook"),
    )
