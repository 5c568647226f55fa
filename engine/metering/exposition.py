"""The numbers as a Prometheus page: on a port, or once.

One promise: each scrape reads anew, so no number is older than its scrape; every series of a target
bears ``target`` (its name, with the pid or file where two have the same) and ``profile``.

Not here: the numbers (``engine.metering.gathering``); the format, which is ``prometheus_client``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import RunbookError
from engine.metering.gathering import Gatherer, Reading
from engine.values import Family, Target

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

#: Labels that every series of a target has before its own.
COMMON = ("target", "profile")


class Page:
    """A collector for ``prometheus_client``: one read for each scrape."""

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer

    def collect(self) -> Iterator[Metric]:
        """All families that have a number now."""
        return metrics(self._gatherer.read(), self._gatherer.families)

    def describe(self) -> Iterator[Metric]:
        """Nothing is told before the first scrape: registering must not read."""
        return iter(())


def metrics(reading: Reading, families: Mapping[str, Family]) -> Iterator[Metric]:
    """A reading as metrics, family by family; 5 µs a sample."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - 40 ms

    labels = _labels(reading.targets)
    found: dict[str, Any] = {}
    for sample in reading.samples:
        family = families[sample.family]
        common = labels[sample.target] if sample.target else ()
        if sample.family not in found:
            kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
            names = (*(COMMON if sample.target else ()), *family.labels)
            found[sample.family] = kind(sample.family, family.help, labels=names)
        found[sample.family].add_metric((*common, *sample.labels), sample.value)
    yield from found.values()


def _labels(targets: Mapping[str, Target]) -> dict[str, tuple[str, str]]:
    """``target`` and ``profile`` of each ref; two agents of one name are told apart by their ref.

    A pid is no good label: each restart would begin new series.
    """
    names = Counter(one.name for one in targets.values())
    return {ref: (one.name if names[one.name] == 1 else ref, one.profile) for ref, one in targets.items()}


def registry(gatherer: Gatherer) -> CollectorRegistry:
    """A registry with the page and this process's own cost."""
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

    made = CollectorRegistry(auto_describe=False)
    made.register(Page(gatherer))
    ProcessCollector(registry=made, namespace="runbook")
    return made


def text(gatherer: Gatherer) -> str:
    """One page as text."""
    from prometheus_client import generate_latest  # noqa: PLC0415

    return generate_latest(registry(gatherer)).decode()


def serve(gatherer: Gatherer, address: str, port: int) -> WSGIServer:
    """Answer scrapes on an address until ``shutdown``; port 0 takes a free one.

    Raises:
        RunbookError: The address can't be listened on.
    """
    from prometheus_client import make_wsgi_app, start_http_server  # noqa: PLC0415

    made = registry(gatherer)
    try:
        server, _ = start_http_server(port, address, made)
    except (OSError, OverflowError) as error:
        raise RunbookError(
            f"can't listen on {address}:{port}: {error}", fix="another one: --listen 127.0.0.1:9437"
        ) from error
    server.set_app(_only_metrics(make_wsgi_app(made)))
    return server


def _only_metrics(page: WSGIApplication) -> WSGIApplication:
    """The metrics at ``/metrics``, a link to them at ``/``, and nothing elsewhere."""

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        if path == "/metrics":
            return page(environ, start)
        if path == "/":
            start("200 OK", [("Content-Type", "text/html; charset=utf-8")])
            return [b'<a href="/metrics">metrics of the eBPF agents of this host</a>\n']
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"not here: /metrics\n"]

    return answer
