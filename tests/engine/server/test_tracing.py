"""A run as a trace, sent to a real OTLP/HTTP receiver on loopback."""

from __future__ import annotations

import gzip
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from engine import record
from engine.errors import UsageError
from engine.running.scene import Silent
from engine.running.several import Several
from engine.server import tracing
from engine.server.spans import Span, Spans, root_of, trace_of
from engine.values import Plan
from tests.samples import runs

proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


class Receiver:
    """Takes OTLP over HTTP and keeps the spans. ``status``: what it answers."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.hold.wait(30)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces" and receiver.status == 200:
                    for group in proto.ExportTraceServiceRequest.FromString(body).resource_spans:
                        receiver.resources.append(group.resource)
                        for scope in group.scope_spans:
                            receiver.spans.extend(scope.spans)
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def named(self, name: str) -> list[Any]:
        return [one for one in self.spans if one.name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.hold.set()
    one.server.shutdown()
    one.server.server_close()


def show(run: record.Run, watcher: record.Watcher) -> None:
    watcher.begin(run.head)
    for event in run.events:
        watcher.event(event)


def facts(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def spans_of(run: record.Run, after: float = 0.0) -> list[Span]:
    spans = Spans()
    spans.begin(run.head, run.head.started_at + after)
    done = [span for event in run.events for span in spans.event(event)]
    return done + list(spans.finish(run.events[-1].at))


def test_a_run_arrives_as_one_trace(receiver: Receiver) -> None:
    """Root, steps, looks and changes are spans of one trace, whose id follows from the run's."""
    run = runs.burst_run()
    with tracing.traced(Silent(), receiver.endpoint) as watcher:
        show(run, watcher)
    assert {one.trace_id for one in receiver.spans} == {trace_of(run.head.id).to_bytes(16, "big")}
    (root,) = [one for one in receiver.spans if not one.parent_span_id]
    assert root.name == run.head.runbook
    assert root.span_id == root_of(run.head.id).to_bytes(8, "big")
    assert facts(root)["runbook.outcome"] == "fixed"
    assert root.status.code == 1  # OK
    ids = [one.span_id for one in receiver.spans]
    assert len(set(ids)) == len(ids)
    assert {one.parent_span_id for one in receiver.spans} - {b""} <= set(ids)
    assert any(one.name.startswith("look ") for one in receiver.spans)
    changes = [one for one in receiver.spans if "runbook.attempt" in facts(one)]
    assert {facts(one)["runbook.state"] for one in changes} == {"undone", "kept"}
    assert {one.key: one.value.string_value for one in receiver.resources[0].attributes}[
        "service.name"
    ] == "runbook"


def test_what_happened_within_a_step_is_marked_there(receiver: Receiver) -> None:
    """Goal, cause and judgement are events with their numbers."""
    with tracing.traced(Silent(), receiver.endpoint) as watcher:
        show(runs.burst_run(), watcher)
    marks = {one.name for span in receiver.spans for one in span.events}
    assert {"goal-measured", "decided", "judged"} <= marks


def test_a_run_that_is_taken_up_again_goes_on_in_the_same_trace() -> None:
    """Another process's spans hang below the first one's root, under ids of their own."""
    run = runs.burst_run()
    first = spans_of(run)
    again = record.Resumed(at=run.head.started_at + 100, by="root", doing="resume")
    second = spans_of(msgspec.structs.replace(run, events=(again, *run.events)), after=99.0)
    assert {one.trace for one in second} == {one.trace for one in first}
    top = next(one for one in second if one.name == run.head.runbook)
    assert top.parent == root_of(run.head.id)
    assert top.id != root_of(run.head.id)
    assert not {one.id for one in first} & {one.id for one in second}


def test_a_called_run_stands_within_its_caller() -> None:
    """One trace tells the whole story, with the called run below the step that called it."""
    outer = runs.burst_run().head
    inner = msgspec.structs.replace(outer, id=f"{outer.id}.1", runbook="inner", called_by=outer.id)
    spans = Spans()
    spans.begin(outer, 1.0)
    list(spans.event(record.StepStarted(at=2.0, step="1", title="call inner", action="call")))
    spans.begin(inner, 3.0)
    (called,) = spans.event(record.Ended(at=4.0, outcome="unfixed", sentence="It did not help."))
    step, root = spans.event(record.Ended(at=5.0, outcome="unfixed", sentence="It did not help."))
    assert (called.name, called.good, called.because) == ("inner", False, "It did not help.")
    assert called.parent == step.id
    assert step.parent == root.id
    assert called.trace == root.trace


def test_a_measuring_within_a_change_does_not_end_it() -> None:
    """The goal is measured inside the step that changed something."""
    spans = Spans()
    spans.begin(runs.burst_run().head, 0.0)
    for number, step in enumerate(("3", "3.rungs.1", "goal")):
        assert not list(spans.event(record.StepStarted(at=number, step=step, title=step)))
    closed = list(spans.event(record.StepStarted(at=9.0, step="4", title="4")))
    assert [one.name for one in closed] == ["goal", "3.rungs.1", "3"]
    assert closed[0].parent == closed[1].id


@pytest.mark.parametrize("trouble", ["dead", "refusing", "hanging"])
def test_a_receiver_in_trouble_holds_no_run_up(
    receiver: Receiver, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are taken at once, and the end waits no longer than it says."""
    monkeypatch.setattr(tracing, "LAST_S", 0.2)
    endpoint = receiver.endpoint
    if trouble == "dead":
        endpoint = "http://127.0.0.1:9"
    elif trouble == "refusing":
        receiver.status = 503
    else:
        receiver.hold.clear()
    tracer = tracing.Tracer(endpoint)
    run, before = runs.burst_run(), time.thread_time()
    for _ in range(200):
        show(run, tracer)
    assert time.thread_time() - before < 5.0  # CPU of this thread, not the clock: it waited for nobody
    tracer.close()
    assert not receiver.spans


def test_what_is_too_much_is_dropped(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue has an end; what does not fit is counted."""
    monkeypatch.setattr(tracing, "MOST", 5)
    monkeypatch.setattr(tracing, "LAST_S", 0.2)
    receiver.hold.clear()
    tracer = tracing.Tracer(receiver.endpoint)
    for _ in range(50):
        show(runs.burst_run(), tracer)
    assert tracer.dropped > 0
    tracer.close()


def test_nothing_is_traced_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an endpoint the watcher is the very one that was given."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    watcher = Silent()
    with tracing.traced(watcher) as same:
        assert same is watcher


def test_the_environment_s_endpoint_counts(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_EXPORTER_OTLP_ENDPOINT` is enough for the commands; `OTEL_SERVICE_NAME` names them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "night shift")
    with tracing.traced(Silent()) as watcher:
        assert isinstance(watcher, Several)
        show(runs.burst_run(), watcher)
    assert receiver.named("events-dropped")
    assert "night shift" in {one.value.string_value for one in receiver.resources[0].attributes}


def test_without_the_extra_the_run_goes_on_and_the_worker_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An option that is not installed is a normal error with a fix."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setattr(tracing, "installed", lambda: False)
    watcher = Silent()
    with tracing.traced(watcher, "http://127.0.0.1:9") as same:
        assert same is watcher
    tracing.require("")
    with pytest.raises(UsageError) as error:
        tracing.require("http://127.0.0.1:4318")
    assert "bpf-runbook[tracing]" in error.value.fix


def test_a_watcher_that_breaks_blinds_no_other() -> None:
    """One is left behind, the others see on; the first answer counts."""
    seen: list[object] = []

    class Broken(Silent):
        def event(self, event: record.Event) -> None:
            raise ValueError

    class Seeing(Silent):
        def event(self, event: record.Event) -> None:
            seen.append(event)

        def ask(self, plan: object, decisions: object) -> bool | None:
            return True

    both = Several(Broken(), Seeing())
    show(runs.burst_run(), both)
    assert len(seen) == len(runs.burst_run().events)
    assert both.ask(Plan(remediation="workers"), ()) is True
