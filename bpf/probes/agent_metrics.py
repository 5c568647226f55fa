"""What an agent's own metrics page says: rates of its counters over the window.

Its promise: a series that is not on the page is unknown, not zero; a page that can't be fetched
is a failed probe, not a quiet agent. Every series of the page is in the table, so that a runbook
for an agent we never heard of has what there is.

Not here: the format (``bpf.system.prometheus``), losses by the best source (``bpf.probes.event_flow``).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from bpf.flow.sources import Page, counted
from bpf.probes.asked import named
from bpf.system.procfs import must_live
from bpf.system.prometheus import Sample
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Counter, Evidence, Field, Reading, Scalar, Series, Support, Target

LOOK_EVERY_S = 1.0
MOST_POINTS = 300
#: The table holds at most so many series, those that moved first.
MOST_ROWS = 200
#: A page may take this long: the agent answers while it is in trouble.
TIMEOUT_S = 2.0

STAGES = ("ring", "reader", "queue", "exporter")


class AgentMetrics:
    """The probe ``agent-metrics``."""

    name = "agent-metrics"
    short = "metrics"
    summary = "rates of the agent's own counters, from its Prometheus page"
    fields: Mapping[str, Field] = {
        "received_per_s": Field(help="events received, by the agent's count", unit="events/s"),
        "dropped_per_s": Field(help="events lost at every stage it counts", unit="events/s"),
        **{
            f"dropped_{stage}_per_s": Field(help=f"events lost at the {stage}", unit="events/s")
            for stage in STAGES
        },
        "series": Field(help="series on the page"),
        "scrape_s": Field(help="time that the last scrape took", unit="s"),
        "values": Field(help="one row per series", type="rows"),
    }
    options: Mapping[str, str] = {"url": "another page than the profile's"}
    needs_target = True
    cpu_ceiling = 0.2

    def supported(self, target: Target | None) -> Support:
        """Needs an address that answers."""
        if target is None:
            return Support(answer="yes", why="any Prometheus page can be read")
        if not target.metrics_url:
            return Support(
                answer="unknown",
                why="the profile names no metrics address",
                fix="set metrics: in the agent's profile, or give the option url",
            )
        page = Page(target.metrics_url)
        if page.fetch():
            return Support(answer="yes", why=f"{target.metrics_url} answers")
        return Support(
            answer="no", why=page.problem, fix=f"see whether it answers: curl {target.metrics_url}"
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Scrape about once a second for one window."""
        target = named(target, self.name)
        page = Page(str(window.options.get("url") or target.metrics_url), TIMEOUT_S)
        if not page.fetch():
            raise ProbeFailed(
                f"the agent's metrics: {page.problem}", fix="set metrics: in the agent's profile, or see why"
            )
        clock, scrapes = window.clock, []
        started_at = window.begin()
        for at in window.ticks(max(LOOK_EVERY_S, window.seconds / MOST_POINTS)):
            before = clock.monotonic()
            if page.fetch():
                scrapes.append((at, page.samples, clock.monotonic() - before))
        must_live(target)
        if len(scrapes) < 2:
            raise ProbeFailed(
                f"the agent's metrics: {page.problem or 'the window was too short for two scrapes'}",
                fix="look for at least three seconds",
            )
        return evidence_of(target, (started_at, clock.now()), scrapes)


Scrapes = list[tuple[float, list[Sample], float]]


def evidence_of(target: Target, span: tuple[float, float], scrapes: Scrapes) -> Evidence:
    """Rates between the first and the last scrape. Pure."""
    wanted = [counter for counter in target.counters if counter.source == "metric"]
    readings = {
        "received_per_s": _rate_of(scrapes, [c for c in wanted if c.counts == "received"][:1]),
        "series": Reading(value=len(scrapes[-1][1]), source="scrape"),
        "scrape_s": Reading(value=scrapes[-1][2], unit="s", source="scrape"),
    }
    lost = {stage: [c for c in wanted if c.counts == "dropped" and c.stage == stage][:1] for stage in STAGES}
    for stage, counters in lost.items():
        readings[f"dropped_{stage}_per_s"] = _rate_of(scrapes, counters)
    known = [c for counters in lost.values() for c in counters if _rate_of(scrapes, [c]).value is not None]
    readings["dropped_per_s"] = _rate_of(scrapes, known)
    return Evidence(
        probe="agent-metrics",
        short="metrics",
        target=target.name,
        started_at=span[0],
        ended_at=span[1],
        readings=readings,
        series=_charts(scrapes, wanted),
        tables={"values": _rows(scrapes)},
    )


def growth(values: list[float]) -> float:
    """What a counter grew by over several looks; one below its predecessor began anew."""
    return sum(b - a if b >= a else b for a, b in pairwise(values))


def _rate_of(scrapes: Scrapes, counters: list[Counter]) -> Reading:
    """The summed rate of these counters between their first and last appearance."""
    if not counters:
        return Reading(unit="events/s", missing="the profile names no such metric")
    rate = 0.0
    for counter in counters:
        seen = [
            (at, value) for at, samples, _ in scrapes if (value := counted(samples, counter)[1]) is not None
        ]
        if len(seen) < 2:
            return Reading(unit="events/s", missing=f"{counter.name} is not on the page: unknown, not zero")
        seconds = seen[-1][0] - seen[0][0]
        rate += growth([value for _, value in seen]) / seconds if seconds > 0 else 0.0
    return Reading(
        value=rate,
        unit="events/s",
        source=" + ".join(f"metric {counted(scrapes[-1][1], c)[0]}" for c in counters),
    )


def _charts(scrapes: Scrapes, wanted: list[Counter]) -> dict[str, Series]:
    """One rate per counter of the profile that is on the page."""
    charts = {}
    for counter in wanted:
        points = [
            (at, value) for at, samples, _ in scrapes if (value := counted(samples, counter)[1]) is not None
        ]
        rates = [
            (b_at, growth([a, b]) / (b_at - a_at)) for (a_at, a), (b_at, b) in pairwise(points) if b_at > a_at
        ]
        if rates:
            charts[f"{counter.counts}_{counter.stage}"] = Series(
                label=f"{counter.counts} ({counter.stage})",
                unit="events/s",
                times=tuple(at for at, _ in rates),
                values=tuple(rate for _, rate in rates),
            )
    return charts


def _rows(scrapes: Scrapes) -> tuple[dict[str, Scalar], ...]:
    """Every series with its last value and its change a second, those that moved most first."""
    seconds = scrapes[-1][0] - scrapes[0][0]
    first = {_key(sample): sample.value for sample in scrapes[0][1]}
    rows: list[tuple[float, dict[str, Scalar]]] = []
    for sample in scrapes[-1][1]:
        change = (sample.value - first.get(_key(sample), sample.value)) / seconds if seconds > 0 else 0.0
        labels = ", ".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        row: dict[str, Scalar] = {
            "name": sample.name,
            "labels": labels,
            "value": sample.value,
            "change_per_s": change,
        }
        rows.append((abs(change), row))
    rows.sort(key=lambda item: -item[0])
    return tuple(row for _, row in rows[:MOST_ROWS])


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))
