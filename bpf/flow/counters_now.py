"""What an agent's counters say at this moment, each by itself.

One promise: one reading for each counter of the profile, in their order; one that can't be read says
why, and is never taken for zero.

Not here: choosing the best one, rates over a window (``bpf.flow.counting``).
"""

from __future__ import annotations

from contextlib import closing

from bpf.flow.sources import LogSource, MapSource, MetricSource, Page, VariableSource
from bpf.system.logtail import Tail
from engine.errors import RunbookError
from engine.values import Counter, Reading, Target


def read(target: Target) -> tuple[Reading, ...]:
    """All counters of a target. Cost: one fetch of its metrics page, the end of its log."""
    page = Page(target.metrics_url, timeout_s=2.0)
    if any(counter.source == "metric" for counter in target.counters):
        page.fetch()
    return tuple(_reading(counter, target, page) for counter in target.counters)


def _reading(counter: Counter, target: Target, page: Page) -> Reading:
    try:
        if counter.source == "metric":
            return _of_page(counter, page)
        if counter.source == "log":
            return _of_log(counter, target)
        kind = VariableSource if counter.source == "bpf-variable" else MapSource
        with closing(kind(target, counter)) as source:
            value = source.read()
    except RunbookError as error:
        return Reading(missing=f"{error.problem} ({error.fix})")
    return Reading(value=value, source=source.label, missing="" if value is not None else "it is gone")


def _of_page(counter: Counter, page: Page) -> Reading:
    source = MetricSource(page, counter)
    value = source.read()
    missing = "" if value is not None else page.problem or "not on the metrics page: unknown, not zero"
    return Reading(value=value, source=source.label, missing=missing)


def _of_log(counter: Counter, target: Target) -> Reading:
    """The end of the log alone: nobody reads a log of days for this."""
    with closing(Tail(target.log_file)) as tail:
        lines = tail.before()
        source = LogSource(counter, [])
        source.feed(lines)
        missing = tail.problem or f"none of its last {len(lines)} lines tells it"
    value = source.read()
    return Reading(value=value, source=f"log {counter.name}", missing="" if value is not None else missing)
