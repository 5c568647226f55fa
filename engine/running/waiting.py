"""Runs that wait, and the way in for whoever answers one from outside.

One promise: who is within ``held`` is alone with the run and those that called it, and has read them
after that was so.

Not here: what a run waits for (``engine.pending``), answering (``engine.running.approval``,
``engine.running.answering``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from engine.errors import Refused
from engine.journal import Journal, locks
from engine.pending import holder_of
from engine.record import Asked, Requested, Run

#: How long a run's lock is waited for, in seconds: another answer takes milliseconds.
PATIENCE_S = 3.0
_PAUSE_S = 0.02


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
