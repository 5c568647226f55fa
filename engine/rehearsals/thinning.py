"""Evidence made fit to be kept and shown: no secrets, no names of other processes, fewer samples.

One promise: the same name becomes the same stand-in everywhere in a case, so that a diagnosis
still sees that two readings are about one process. It is a help, not a proof: read a case before
you give it away.

Not here: what a case looks like (``engine.rehearsals.recording``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from engine.values import Evidence, Reading, Scalar, Series, Target

MOST_SAMPLES = 120  # of a series
MOST_ROWS = 30  # of a table
#: Columns and endings of readings that hold the name of a process.
_NAMES = re.compile(r"(^|_)(comm|process)$")
#: Columns that tell of a process more than its name.
_MORE = frozenset({"exe", "argv", "cmdline", "cwd", "environ", "user"})
_SECRETS = (
    (re.compile(r"(?i)\b([\w-]*(?:password|passwd|secret|token|api[-_]?key|authorization)[\w-]*\s*[=:]\s*)"
                r"(?:(?:bearer|basic)\s+)?[^\s,;}\"']+"), r"\1(secret)"),
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), "(secret)"),
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{5,}\.[\w-]*"), "(secret)"),
    (re.compile(r"(?<=/home/)[^/\s]+"), "someone"),
)  # fmt: skip


class Thinner:
    """Thins all evidence of one case alike.

    Args:
        seen: All of it: the names are numbered in its order.
        target: The agent, whose own names stay.
        secrets: Values that must not be kept: those of secret inputs.
    """

    def __init__(self, seen: Iterable[Evidence], target: Target | None, secrets: Iterable[str] = ()) -> None:
        own = {process.comm for process in target.processes} | {target.name} if target else set()
        own |= {thread for one in seen for thread in _threads(one)}
        names = dict.fromkeys(name for one in seen for name in _process_names(one) if name not in own)
        self._stand_ins = {name: f"process-{number}" for number, name in enumerate(names, 1)}
        long = sorted((name for name in names if len(name) > 2), key=len, reverse=True)
        self._others = re.compile(
            "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in long) or r"(?!)"
        )
        self._secrets = [secret for secret in secrets if len(secret) > 2]

    def text(self, words: str) -> str:
        """A text without secrets and other processes' names."""
        for secret in self._secrets:
            words = words.replace(secret, "(secret)")
        for pattern, instead in _SECRETS:
            words = pattern.sub(instead, words)
        return self._others.sub(lambda match: self._stand_ins[match[0]], words)

    def evidence(self, seen: Evidence) -> Evidence:
        """The same evidence, thinned."""
        readings = {name: self._reading(name, one) for name, one in seen.readings.items()}
        tables = {name: tuple(map(self._row, rows[:MOST_ROWS])) for name, rows in seen.tables.items()}
        return msgspec.structs.replace(
            seen,
            readings=readings,
            tables=tables,
            series={name: _thin(each) for name, each in seen.series.items()},
            notes=tuple(map(self.text, seen.notes)),
        )

    def _reading(self, name: str, one: Reading) -> Reading:
        return msgspec.structs.replace(
            one,
            value=self._cell(name, one.value),
            source=self.text(one.source),
            missing=self.text(one.missing),
        )

    def _row(self, row: dict[str, Scalar]) -> dict[str, Scalar]:
        return {name: self._cell(name, value) for name, value in row.items() if name not in _MORE}

    def _cell(self, name: str, value: Scalar) -> Scalar:
        if isinstance(value, str):
            stands_for = self._stand_ins.get(value) if _NAMES.search(name) else None
            return stands_for or self.text(value)
        return float(f"{value:.6g}") if isinstance(value, float) else value


def _process_names(seen: Evidence) -> Iterable[str]:
    """The names of processes in a piece of evidence."""
    for name, reading in seen.readings.items():
        if _NAMES.search(name) and isinstance(reading.value, str) and reading.value:
            yield reading.value
    for table, rows in seen.tables.items():
        if table != "threads":
            yield from (str(row[name]) for row in rows for name in row if _NAMES.search(name) and row[name])


def _threads(seen: Evidence) -> Iterable[str]:
    """The names of the target's own threads."""
    return (str(row[name]) for row in seen.tables.get("threads", ()) for name in row if _NAMES.search(name))


def _thin(series: Series) -> Series:
    """The highest sample of every stretch."""
    stretch = max(1, -(-len(series.times) // MOST_SAMPLES))
    kept = []
    for start in range(0, len(series.times), stretch):
        places = range(start, min(start + stretch, len(series.times)))
        kept.append(max(places, key=lambda place: series.values[place]))
    return msgspec.structs.replace(
        series,
        times=tuple(series.times[place] for place in kept),
        values=tuple(float(f"{series.values[place]:.6g}") for place in kept),
    )
