"""Two readings as sheets: agents, programs, maps and rings, with what happened in between.

One promise: a rate is of the time between the two readings, a number that is not there is None and is
shown as unknown, and a counter that was set back gives no rate below zero.

Not here: reading (``engine.metering.gathering``), drawing (``engine.terminal.top``). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from engine.metering.gathering import Reading
from engine.values import Sample

Cell = str | float | None
Key = tuple[str, tuple[str, ...]]


class Column(NamedTuple):
    """One column. ``unit``: as ``engine.text.measure`` knows it; empty for a text."""

    name: str
    unit: str = ""
    number: bool = True


class Sheet(NamedTuple):
    """A table of one kind of thing; rows have as many cells as there are columns.

    Attributes:
        by: The column to sort by where nobody asked for another.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    by: int

    def sorted_by(self, column: int, *, descending: bool) -> Sheet:
        """The same rows in another order; unknown ones come last."""
        known = [row for row in self.rows if row[column] is not None]
        unknown = [row for row in self.rows if row[column] is None]
        ordered = sorted(known, key=lambda row: row[column], reverse=descending)  # type: ignore[arg-type, return-value]
        return self._replace(rows=(*ordered, *unknown))


class Numbers:
    """The samples of a reading by family, and their growth since the one before."""

    def __init__(self, before: Reading | None, after: Reading) -> None:
        self._now = _by_family(after.samples)
        self._then = _by_family(before.samples) if before else {}
        self._seconds = after.at - before.at if before else 0.0

    def keys(self, *families: str) -> list[Key]:
        """Target and labels of all series of these families, in their order."""
        return list(dict.fromkeys(key for family in families for key in self._now.get(family, {})))

    def now(self, family: str, key: Key) -> float | None:
        """The number as it stands."""
        return self._now.get(family, {}).get(key)

    def rate(self, family: str, key: Key) -> float | None:
        """Growth per second; None for a new series and after a reset."""
        now, then = self.now(family, key), self._then.get(family, {}).get(key)
        if now is None or then is None or self._seconds <= 0:
            return None
        return (now - then) / self._seconds

    def counted(self, family: str, key: Key) -> float | None:
        """As ``rate``, of a counter: one that was set back gives None."""
        rate = self.rate(family, key)
        return None if rate is None or rate < 0 else rate

    def of_target(self, family: str, target: str, read: Callable[[str, Key], float | None]) -> float | None:
        """The sum over all series of a target; None when there is no number among them."""
        found = [read(family, key) for key in self._now.get(family, {}) if key[0] == target]
        known = [number for number in found if number is not None]
        return sum(known) if known else None


def sheets(before: Reading | None, after: Reading) -> dict[str, Sheet]:
    """All sheets, by name, in the order in which they are shown."""
    numbers = Numbers(before, after)
    names = {
        ref: one.name if ":" in one.name else f"{one.name}:{one.pid}" for ref, one in after.targets.items()
    }
    made = (
        _agents(numbers, names),
        _programs(numbers, names),
        _maps(numbers, names),
        _rings(numbers, names),
    )
    return {sheet.name: sheet for sheet in made}


def _agents(numbers: Numbers, names: Mapping[str, str]) -> Sheet:
    columns = (
        *_texts("agent"),
        *(Column("CPU", "cores"), Column("in BPF", "cores"), Column("memory", "bytes")),
        *(Column("events", "events/s"), Column("lost", "events/s")),
        *(Column("ring peak", "share"), Column("throttled", "share")),
    )
    rows = []
    for ref, name in names.items():
        up = numbers.now("bpf_agent_up", (ref, ()))
        peaks = _peaks(numbers, ref)
        rows.append(
            (
                name if up else f"{name} (does not run)",
                numbers.counted("bpf_agent_cpu_seconds_total", (ref, ())),
                numbers.of_target("bpf_program_cpu_cores", ref, numbers.now),
                numbers.now("bpf_agent_resident_bytes", (ref, ())),
                numbers.of_target("bpf_events_received_total", ref, numbers.counted),
                numbers.of_target("bpf_events_dropped_total", ref, numbers.counted),
                max(peaks, default=None),
                numbers.counted("bpf_agent_throttled_seconds_total", (ref, ())),
            )
        )
    return Sheet("agents", columns, tuple(rows), by=1)


def _peaks(numbers: Numbers, ref: str) -> list[float]:
    """Of each of its rings, how full it was at most."""
    found = []
    for key in numbers.keys("bpf_ringbuf_size_bytes"):
        peak = numbers.now("bpf_ringbuf_fill_peak_bytes", key)
        size = numbers.now("bpf_ringbuf_size_bytes", key)
        if key[0] == ref and peak is not None and size:
            found.append(peak / size)
    return found


def _programs(numbers: Numbers, names: Mapping[str, str]) -> Sheet:
    columns = (
        *_texts("program", "agent", "type"),
        *(Column("CPU", "cores"), Column("runs", "1/s"), Column("per run", "s"), Column("missed", "1/s")),
    )
    rows = []
    for key in numbers.keys("bpf_program_loaded"):
        ref, (name, kind, number) = key
        cores = numbers.now("bpf_program_cpu_cores", key)
        runs = numbers.now("bpf_program_runs_per_second", key)
        per_run = cores / runs if cores is not None and runs else None
        missed = numbers.counted("bpf_program_recursion_misses_total", key)
        rows.append((f"{name} ({number})", names.get(ref, ref), kind, cores, runs, per_run, missed))
    return Sheet("programs", columns, tuple(rows), by=3)


def _maps(numbers: Numbers, names: Mapping[str, str]) -> Sheet:
    columns = (
        *_texts("map", "agent", "type"),
        *(Column("entries", "count"), Column("room", "count"), Column("full", "share")),
        *(Column("growth", "1/s"), Column("memory", "bytes")),
    )
    rows = []
    for key in numbers.keys("bpf_map_max_entries", "bpf_map_memory_bytes"):
        ref, (name, kind, number) = key
        entries = numbers.now("bpf_map_entries", key)
        room = numbers.now("bpf_map_max_entries", key)
        full = entries / room if entries is not None and room else None
        growth = numbers.rate("bpf_map_entries", key)
        memory = numbers.now("bpf_map_memory_bytes", key)
        rows.append((f"{name} ({number})", names.get(ref, ref), kind, entries, room, full, growth, memory))
    return Sheet("maps", columns, tuple(rows), by=5)


def _rings(numbers: Numbers, names: Mapping[str, str]) -> Sheet:
    columns = (
        *_texts("ring", "agent"),
        *(Column("size", "bytes"), Column("full", "share"), Column("peak", "share")),
        *(Column("in", "bytes/s"), Column("out", "bytes/s")),
    )
    rows = []
    for key in numbers.keys("bpf_ringbuf_size_bytes"):
        ref, (name, number) = key
        size = numbers.now("bpf_ringbuf_size_bytes", key) or 0.0
        fill = numbers.now("bpf_ringbuf_fill_bytes", key)
        peak = numbers.now("bpf_ringbuf_fill_peak_bytes", key)
        rows.append(
            (
                f"{name} ({number})",
                names.get(ref, ref),
                size,
                fill / size if fill is not None and size else None,
                peak / size if peak is not None and size else None,
                numbers.counted("bpf_ringbuf_produced_bytes_total", key),
                numbers.counted("bpf_ringbuf_consumed_bytes_total", key),
            )
        )
    return Sheet("rings", columns, tuple(rows), by=4)


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, number=False) for name in names)


def _by_family(samples: tuple[Sample, ...]) -> dict[str, dict[Key, float]]:
    found: dict[str, dict[Key, float]] = {}
    for sample in samples:
        found.setdefault(sample.family, {})[sample.target, sample.labels] = sample.value
    return found
