"""Numbers for ``/metrics``, counted from the journal's rows: each row once, across restarts.

One promise: counts and the place up to which they were counted are written in one transaction.

Not here: the exposition (``engine.server.listener``), numbers of the queue (``queue``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from engine.errors import RunbookError
from engine.journal import Journal
from engine.server.worker import tables
from engine.server.worker.queue import Queue
from engine.server.worker.tail import Row

#: Upper bounds of the buckets of runs' durations, in seconds.
BUCKETS = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

Counts = dict[tuple[str, str], float]


class _Ended(msgspec.Struct, frozen=True):
    outcome: str
    at: float


class _Cost(msgspec.Struct, frozen=True):
    cpu_s: float = 0.0


class _Evidence(msgspec.Struct, frozen=True):
    probe: str
    cost: _Cost = _Cost()


class _Seen(msgspec.Struct, frozen=True):
    evidence: _Evidence


class _Decision(msgspec.Struct, frozen=True):
    answer: str
    guard: str


class _Judged(msgspec.Struct, frozen=True):
    decisions: tuple[_Decision, ...] = ()


def outcome(row: Row) -> str:
    """The outcome that an end tells; empty where it can't be read."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(row.body, type=_Ended).outcome
    return ""


def count(rows: Sequence[Row], journal: Journal) -> Counts:
    """What rows add to which counters."""
    counts: Counts = {}
    for row in rows:
        with suppress(msgspec.DecodeError, RunbookError):
            for key, value in _of(row, journal).items():
                counts[key] = counts.get(key, 0.0) + value
    return counts


def _of(row: Row, journal: Journal) -> Counts:
    if row.kind == "seen":
        seen = msgspec.json.decode(row.body, type=_Seen).evidence
        return {("probe_cpu_s", seen.probe): seen.cost.cpu_s}
    if row.kind == "judged":
        judged = msgspec.json.decode(row.body, type=_Judged)
        return {("refusals", one.guard): 1.0 for one in judged.decisions if one.answer == "deny"}
    if row.kind != "ended" or "." in row.run:
        return {}
    ended = msgspec.json.decode(row.body, type=_Ended)
    if ended.outcome == "waiting":
        return {}
    head = journal.run(row.run).head
    name, took = f"{head.runbook}/{ended.outcome}", max(0.0, ended.at - head.started_at)
    buckets = [f"{bound:g}" for bound in BUCKETS if took <= bound] + ["+Inf"]
    return {
        ("runs", name): 1.0,
        ("seconds", f"{name} sum"): took,
        **{("seconds", f"{name} {bound}"): 1.0 for bound in buckets},
    }


def position(queue: Queue) -> int | None:
    """Up to which row of the journal was counted; None at first."""
    found = queue.rows(tables.COUNTER, "at", "journal")
    return int(found[0][0]) if found else None


def advance(
    at: int, counts: Counts | None = None, also: Callable[[Queue], None] = lambda _: None
) -> Callable[[Queue], None]:
    """Add counts, and the row up to which they were counted; ``also``: what else is written with them."""

    def write(queue: Queue) -> None:
        with queue.transaction():
            also(queue)
            for (kind, name), value in (counts or {}).items():
                queue.count(kind, name, value)
            queue.do(tables.SET, "at", "journal", at)

    return write
