"""What a run waits for, read from its events; and the way in for whoever answers it from outside.

One promise: who is within ``held`` is alone with the run and those that called it, and has read them
after that was so.

Not here: answering (``engine.running.approval``, ``engine.running.answering``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from engine.errors import Refused
from engine.journal import Journal, locks
from engine.pending import Waiting, open_question, open_request
from engine.record import Answered, Asked, Ended, Event, Requested, Ruled, Run

__all__ = [
    "Waiting",
    "all_waiting",
    "answered",
    "due",
    "held",
    "holder_of",
    "open_request",
    "rulings",
]

#: How long a run's lock is waited for, in seconds: another answer takes milliseconds.
PATIENCE_S = 3.0
_PAUSE_S = 0.02


def holder_of(run: Run) -> tuple[Run, Requested | Asked] | None:
    """What a run waits for, a change or a question, and whose it is."""
    if (waiting := open_request(run)) is not None:
        return waiting.run, waiting.requested
    return open_question(run)


def all_waiting(journal: Journal) -> Iterator[tuple[Run, Run, Requested | Asked]]:
    """Runs that wait, newest first: the outermost, the one whose it is, and what for.

    Cost: reads the heads of all runs, and whole those that have not ended.
    """
    for head in (one.head for one in journal.runs()):
        if head.outcome in {None, "waiting"} and not head.called_by:
            run = journal.run(head.id)
            found = holder_of(run) if run.state != "running" else None
            if found is not None:
                yield run, *found


def due(run: Run) -> float | None:
    """Until when what a run waits for can be answered (epoch seconds); None when it waits for nothing."""
    found = holder_of(run)
    if found is None:
        return None
    return found[1].decide_by if isinstance(found[1], Requested) else found[1].expires_at


def answered(run: Run) -> bool:
    """Whether what a run waited for has been answered or withdrawn, so that it is to be resumed."""
    if run.head.outcome != "waiting":
        return False
    if any(answered(one) for one in run.called):
        return True
    return any(isinstance(event, Ruled | Answered) for event in _since_end(run))


def _since_end(run: Run) -> Iterator[Event]:
    for event in reversed(run.events):
        if isinstance(event, Ended):
            return
        yield event


def rulings(run: Run) -> Iterator[Ruled]:
    """Every ruling of a run and of those that it called, each run's oldest first."""
    yield from (event for event in run.events if isinstance(event, Ruled))
    for one in run.called:
        yield from rulings(one)


@contextmanager
def held(wanted: str, journal: Journal, now: float) -> Iterator[list[Run]]:
    """Be alone with a run: the outermost one first, down to the one that waits.

    Raises:
        Refused: Another process has been working on it for ``PATIENCE_S``.
        UnknownName: There is no such run.
    """
    outermost = journal.run(wanted).head.id.partition(".")[0]
    with ExitStack() as locked:
        locked.enter_context(_patiently(journal, outermost, now))
        family = _down_to_holder(journal.run(outermost))
        for run in family[1:]:
            locked.enter_context(_patiently(journal, run.head.id, now))
        yield family


def _down_to_holder(run: Run) -> list[Run]:
    found = holder_of(run)
    chain = [run]
    while found and chain[-1].head.id != found[0].head.id:
        chain.append(
            next(one for one in chain[-1].called if f"{found[0].head.id}.".startswith(f"{one.head.id}."))
        )
    return chain


def _patiently(journal: Journal, run: str, now: float) -> locks.Lock:
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            return locks.hold_run(journal.directory, run, now=now)
        except Refused:
            if time.monotonic() >= ends:
                raise
            time.sleep(_PAUSE_S)
