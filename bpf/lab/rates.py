"""How busy the practice agents are: two scrapes of each, a second apart.

Not here: the probes' careful measuring; this is for ``runbook lab list``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from bpf.lab.instances import Instance

BETWEEN_S = 1.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as the list shows it; None where the agent does not answer."""

    name: str
    fault: str
    pid: int
    alive: bool
    events_per_s: float | None
    dropped_per_s: float | None
    config_file: str


class Rows(msgspec.Struct, frozen=True):
    """The whole list."""

    rows: tuple[Row, ...]

    def as_json(self) -> str:
        """One JSON array."""
        return msgspec.json.format(msgspec.json.encode(self.rows), indent=2).decode()

    def as_text(self) -> str:
        """A table, or a sentence when there is nothing."""
        if not self.rows:
            return "no practice agent is running (runbook lab start --fault burst)"
        lines = [f"{'NAME':<18} {'FAULT':<18} {'PID':>7} {'EVENTS/S':>10} {'DROPPED/S':>10}  CONFIG"]
        for row in self.rows:
            pid = str(row.pid) if row.alive else "ended"
            counts = f"{_number(row.events_per_s):>10} {_number(row.dropped_per_s):>10}"
            lines.append(f"{row.name:<18} {row.fault:<18} {pid:>7} {counts}  {row.config_file}")
        return "\n".join(lines)


def measure(
    instances: Sequence[Instance],
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Rows:
    """Rates of all instances over one common second. Cost: two scrapes of each."""
    first = [(monotonic(), scrape(each)) for each in instances]
    if any(counts for _, counts in first):
        sleep(BETWEEN_S)
    second = [(monotonic(), scrape(each)) for each in instances]
    rows = []
    for instance, (start, before), (end, after) in zip(instances, first, second, strict=True):
        events, dropped = (
            None if before is None or after is None else max(0, after[i] - before[i]) / (end - start)
            for i in (0, 1)
        )
        rows.append(
            Row(
                name=instance.name,
                fault=instance.fault,
                pid=instance.pid,
                alive=instance.alive,
                events_per_s=events,
                dropped_per_s=dropped,
                config_file=instance.config_file,
            )
        )
    return Rows(tuple(rows))


def scrape(instance: Instance) -> tuple[float, float] | None:
    """Events that passed the filters, and events lost, since its start; None when it does not answer."""
    metrics = scrape_all(instance.metrics_url) if instance.alive else {}
    if not metrics:
        return None
    dropped = sum(value for name, value in metrics.items() if name.startswith("bpf_events_dropped_total{"))
    return metrics["lab_events_matched_total"], dropped


def scrape_all(url: str) -> dict[str, float]:
    """Every sample of a metrics page, by its name with labels; empty when nobody answers."""
    from urllib.request import urlopen  # noqa: PLC0415 (not cheap)

    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 (our own, on loopback)
            text = answer.read().decode()
    except OSError:
        return {}
    samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
