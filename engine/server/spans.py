"""A run as spans: run = trace, step = span, a look or a change = a span within. Pure.

One promise: ids follow from the run's id alone, so that a run that is taken up again by another process
goes on in the same trace, and the runs that it calls stand in it too.

A step has no end of its own in the record: it ends where the next one begins. The first process of a
run gives the trace's root; one that takes the run up gives a span below it.

Not here: sending (``engine.server.tracing``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from engine import record
from engine.record import Event, RunHead
from engine.server.marks import Attributes, Mark, cut, of_head, said

#: So many marks one span may bear.
MOST = 200
_GOOD = frozenset({"healthy", "fixed", "mitigated", "rehearsed"})
_BAD = frozenset({"failed", "unfixed"})


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a run. ``parent``: 0 for the root. ``good``: None where it is neither good nor bad."""

    trace: int
    id: int
    parent: int
    name: str
    start: float
    end: float
    attributes: Attributes
    marks: tuple[Mark, ...] = ()
    good: bool | None = None
    because: str = ""


def trace_of(run: str) -> int:
    """The id of a run's trace (128 bits); called runs share their caller's."""
    return _number(f"trace {run.partition('.')[0]}", 16)


def root_of(run: str) -> int:
    """The id of a run's first span (64 bits)."""
    return _number(f"run {run}", 8)


@dataclass(slots=True)
class _Open:
    """A span that has not ended."""

    id: int
    parent: int
    name: str
    start: float
    step: str = ""
    attributes: Attributes = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)


class Spans:
    """Turns one process's share of a run into spans, as its events come."""

    def __init__(self) -> None:
        self._runs: list[tuple[RunHead, list[_Open]]] = []
        self._changes: dict[tuple[str, int], _Open] = {}
        self._count = 0

    def begin(self, head: RunHead, now: float) -> None:
        """A run begins, or is taken up again (``Resumed`` comes next), or one is called."""
        parent = self._innermost.id if self._runs else 0
        self._runs.append(
            (head, [_Open(root_of(head.id), parent, head.runbook, now, attributes=of_head(head))])
        )

    def event(self, event: Event) -> Iterator[Span]:
        """The spans that end with an event."""
        if not self._runs:
            return
        head, open_ = self._runs[-1]
        match event:
            case record.StepStarted():
                yield from self._step(event)
            case record.Seen():
                yield self._look(event)
            case record.Intended():
                self._change(event, head)
            case record.Settled():
                yield from self._settled(event, head)
            case record.Ended():
                yield from self._ended(event)
                return
            case record.Resumed():
                mine = open_[0]
                mine.id, mine.parent = (
                    _number(f"run {head.id} {event.at!r}", 8),
                    mine.parent or root_of(head.id),
                )
            case _:
                while len(open_) > 1 and event.step and event.step in [one.step for one in open_[:-1]]:
                    yield self._close(event.at)
        if (told := said(event)) is not None and len(self._innermost.marks) < MOST:
            self._innermost.marks.append(Mark(event.at, str(event.__struct_config__.tag), told))

    def finish(self, now: float) -> Iterator[Span]:
        """What is still open ends: the process does."""
        while self._runs:
            while self._runs[-1][1]:
                yield self._close(now)
            self._runs.pop()

    @property
    def _innermost(self) -> _Open:
        return self._runs[-1][1][-1]

    def _step(self, event: record.StepStarted) -> Iterator[Span]:
        open_ = self._runs[-1][1]
        while len(open_) > 1 and not _within(event.step, open_[-1].step):
            yield self._close(event.at)
        self._open(
            event.title or event.step,
            event.at,
            event.step,
            {"runbook.step": event.step, "runbook.action": event.action},
        )

    def _open(self, name: str, at: float, step: str, attributes: Attributes) -> None:
        head, open_ = self._runs[-1]
        open_.append(_Open(self._new(head), open_[-1].id, cut(name), at, step, attributes))

    def _close(self, at: float, good: bool | None = None, because: str = "") -> Span:
        head, open_ = self._runs[-1]
        return _closed(head, open_.pop(), at, good, because)

    def _look(self, event: record.Seen) -> Span:
        """A probe's window, which lies behind us."""
        head, seen = self._runs[-1][0], event.evidence
        facts: Attributes = {
            "runbook.probe": seen.probe,
            "runbook.target": seen.target,
            "runbook.probe.cpu_s": seen.cost.cpu_s,
        }
        one = _Open(
            self._new(head), self._innermost.id, f"look {seen.probe}", seen.started_at, attributes=facts
        )
        return _closed(head, one, seen.ended_at)

    def _change(self, event: record.Intended, head: RunHead) -> None:
        change = event.change
        facts: Attributes = {
            "runbook.remediation": event.remediation,
            "runbook.attempt": event.attempt,
            "runbook.where": cut(change.where or change.knob.name),
            "runbook.before": cut(change.before_text),
            "runbook.after": cut(change.after_text),
        }
        one = _Open(
            self._new(head), self._innermost.id, f"change {event.remediation}", event.at, attributes=facts
        )
        self._changes[head.id, event.attempt] = one

    def _settled(self, event: record.Settled, head: RunHead) -> Iterator[Span]:
        one = self._changes.pop((head.id, event.attempt), None)
        if one is not None:
            one.attributes["runbook.state"] = event.state
            good = None if event.state == "undone" else event.state in {"kept", "leased", "not-made"}
            yield _closed(head, one, event.at, good, event.because)

    def _ended(self, event: record.Ended) -> Iterator[Span]:
        head, open_ = self._runs[-1]
        for key in [key for key in self._changes if key[0] == head.id]:
            yield _closed(
                head, self._changes.pop(key), event.at, good=False, because="nobody said how it ended"
            )
        while len(open_) > 1:
            yield self._close(event.at)
        open_[0].attributes |= {
            "runbook.outcome": event.outcome,
            "runbook.sentence": cut(event.sentence),
            "runbook.cpu_s": event.cost.cpu_s,
        }
        good = True if event.outcome in _GOOD else False if event.outcome in _BAD else None
        yield self._close(event.at, good, "" if good else event.sentence)
        self._runs.pop()

    def _new(self, head: RunHead) -> int:
        self._count += 1
        return _number(f"span {head.id} {self._runs[0][1][0].start!r} {self._count}", 8)


def _within(step: str, outer: str) -> bool:
    """Whether a step that begins lies within one that is open: by its id, or as a measuring of the goal."""
    return outer != "goal" and (step == "goal" or step.startswith((f"{outer}.", f"{outer}[")))


def _closed(head: RunHead, one: _Open, at: float, good: bool | None = None, because: str = "") -> Span:
    return Span(
        trace=trace_of(head.id),
        id=one.id,
        parent=one.parent,
        name=one.name,
        start=one.start,
        end=max(at, one.start),
        attributes=one.attributes,
        marks=tuple(one.marks),
        good=good,
        because=cut(because),
    )


def _number(of: str, octets: int) -> int:
    """An id: never 0, which would be none."""
    return (
        int.from_bytes(hashlib.sha256(f"runbook {of}".encode("utf-8", "surrogatepass")).digest()[:octets])
        or 1
    )
