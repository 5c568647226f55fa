"""What worker and listener count, as Prometheus reads it.

One promise: when the worker does not answer, the listener's own numbers are still there, with
``runbook_worker_up`` at 0; names of labels and series are ours, none is a stranger's.

Not here: counting (``counters``, the worker); the format, which is ``prometheus_client``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from engine.server.listener.answers import Answer
from engine.server.listener.counters import BOUNDS, Counters
from engine.server.listener.crowd import Crowd
from engine.server.listener.health import Worker, unready
from engine.server.messages import Stats

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

_Histogram = list[tuple[str, float]]
_Values = dict[tuple[str, ...], float]


class Page:
    """``/metrics``: a collector over the last stats and the counters."""

    def __init__(self, worker: Worker, counters: Counters, crowd: Crowd) -> None:
        self._worker = worker
        self._counters = counters
        self._crowd = crowd
        self._stats: Stats | str = ""

    async def answer(self) -> Answer:
        """All numbers as they are now."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - 40 ms

        self._stats = await self._worker.stats()
        return Answer(200, generate_latest(self._registry), kind=CONTENT_TYPE_LATEST.encode())

    @cached_property
    def _registry(self) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

        made = CollectorRegistry(auto_describe=False)
        made.register(self)
        ProcessCollector(registry=made, namespace="runbook_listener")
        return made

    def describe(self) -> Iterator[Metric]:
        """Nothing is told before the first scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from _of_listener(self._counters, self._crowd)
        if isinstance(self._stats, Stats):
            yield _gauge("runbook_worker_up", "Whether the worker answers.", 1)
            yield from _counts(self._stats)
            yield from _gauges(self._stats)
            yield _durations(self._stats)
        else:
            yield _gauge("runbook_worker_up", "Whether the worker answers.", 0)


def _of_listener(counters: Counters, crowd: Crowd) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    requests: _Values = {(sender, str(status)): float(n) for (sender, status), n in counters.requests.items()}
    yield _counter(
        "runbook_listener_requests",
        "Requests for alerts, by sender and status.",
        ("sender", "status"),
        requests,
    )
    yield _counter(
        "runbook_listener_alerts", "Alerts read from notifications.", ("sender",), _single(counters.alerts)
    )
    yield _counter(
        "runbook_listener_alerts_left_out",
        "Alerts that senders have left out of notifications, by their own words.",
        ("sender",),
        _single(counters.left_out),
    )
    yield _counter(
        "runbook_listener_refusals", "Refused, by reason.", ("reason",), _single(counters.refusals)
    )
    yield _gauge("runbook_listener_connections", "Connections now.", crowd.number)
    bounds = (*(str(bound) for bound in BOUNDS), "+Inf")
    buckets = list(zip(bounds, map(float, accumulate(counters.buckets)), strict=True))
    family = HistogramMetricFamily(
        "runbook_listener_answer_seconds", "Time to answer a request for alerts, with its commit on disk."
    )
    family.add_metric((), buckets, counters.seconds)
    yield family


def _counts(stats: Stats) -> Iterator[Metric]:
    yield _counter("runbook_alerts", "Alerts, by what became of them.", ("fate",), _single(stats.alerts))
    runs: _Values = {_pair(key): float(number) for key, number in stats.runs.items()}
    yield _counter("runbook_runs", "Runs that ended, by outcome.", ("runbook", "outcome"), runs)
    yield _counter(
        "runbook_guard_refusals", "Changes that a guard held back.", ("guard",), _single(stats.refusals)
    )
    yield _counter("runbook_probe_cpu_seconds", "CPU time of probes.", ("probe",), _single(stats.probe_cpu_s))


def _gauges(stats: Stats) -> Iterator[Metric]:
    yield _gauge("runbook_ready", "Whether an alert would be taken now.", float(not unready(stats)))
    yield _gauge("runbook_queued", "Runs that wait for their turn.", stats.queued)
    yield _gauge("runbook_queue_limit", "Runs that may wait for their turn.", stats.queue_limit)
    yield _gauge("runbook_running", "Runs that go on.", stats.running)
    yield _gauge("runbook_waiting", "Runs that wait for an answer.", stats.waiting)
    yield _gauge("runbook_leases", "Temporary changes in force.", stats.leases)
    yield _gauge("runbook_notices", "Notices that were not told yet.", stats.notices)
    yield _gauge("runbook_worker_start_time_seconds", "When the worker started.", stats.started_at)


def _durations(stats: Stats) -> Metric:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    family = HistogramMetricFamily(
        "runbook_run_seconds", "How long runs took, by outcome.", labels=("runbook", "outcome")
    )
    for key, found in stats.seconds.items():
        buckets: _Histogram = sorted(
            ((bound, number) for bound, number in found.items() if bound != "sum"),
            key=lambda one: float(one[0]),
        )
        if buckets:
            family.add_metric(_pair(key), buckets, found.get("sum", 0.0))
    return family


def _counter(name: str, told: str, labels: tuple[str, ...], values: _Values) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(name, told, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, told: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    return GaugeMetricFamily(name, told, value=value)


def _single(values: dict[str, float] | dict[str, int]) -> _Values:
    return {(key,): float(value) for key, value in values.items()}


def _pair(key: str) -> tuple[str, str]:
    """``runbook/outcome``; a runbook's name holds no slash, an outcome neither."""
    runbook, _, outcome = key.rpartition("/")
    return runbook, outcome
