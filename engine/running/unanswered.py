"""A run that waits and gets no answer: its time is over, its alert has resolved, somebody stops it.

One promise: as for an answer (``engine.running.approval``): it is done under the run's lock, after the run
was read again, and in one commit with the end of every run that called it.

Not here: which runs are due (the worker), what is measured once more (``engine.running.outcomes``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from engine import text
from engine.journal import Journal
from engine.pending import holder_of, open_request
from engine.record import Asked, Called, Decided, Ended, Event, Outcome, Requested, Returned, Ruled, Run
from engine.running.waiting import held


def expire(wanted: str, journal: Journal, now: float) -> Ended | None:
    """End a run whose request nobody answered in time, and those that called it, as ``refused``.

    None where nothing is due: it was answered, waits longer, or waits with a question of the runbook
    (once that is due, ``resume`` takes it for a no and goes on).

    Raises:
        Refused: It is being worked on.
    """
    with held(wanted, journal, now) as family:
        return expire_within(family, journal, now)


def withdraw(wanted: str, because: str, journal: Journal, now: float) -> bool:
    """Take back what a run waits with, as its alert has resolved; False where it waits for nothing.

    ``resume`` then measures the goal once more and ends the run: ``healthy``, or ``refused``.

    Args:
        wanted: The run's id.
        because: Why, as a sentence without a full stop: ``the alert … has resolved``.
        journal: Where the run stands.
        now: Epoch seconds.

    Raises:
        Refused: It is being worked on.
    """
    with held(wanted, journal, now) as family:
        found = holder_of(family[0])
        if found is None:
            return False
        with journal.transaction():
            for run in family:
                _write(journal, run, _withdrawn(found[1], because, now))
        return True


def stop(wanted: str, by: str, journal: Journal, now: float) -> Ended | None:
    """End a run that waits as ``interrupted``, as somebody wants it; None where it waits for nothing.

    Raises:
        Refused: It is being worked on.
    """
    with held(wanted, journal, now) as family:
        found = holder_of(family[0])
        if found is None:
            return None
        ruled = _withdrawn(found[1], f"stopped by {by}", now, by)
        sentence = f"Stopped by {by} while it waited. {_in_force(family, journal)}"
        return _end(family, journal, ruled, ("interrupted", sentence))


def expire_within(family: Sequence[Run], journal: Journal, now: float) -> Ended | None:
    """``expire`` for whoever is within ``held`` already."""
    waiting = open_request(family[0])
    if waiting is None or now < waiting.requested.decide_by:
        return None
    requested = waiting.requested
    within = text.span(requested.decide_by - requested.at)
    ruled = Ruled(
        at=now,
        step=requested.step,
        digest=requested.digest,
        answer="expired",
        because=f"nobody answered within {within}",
        via="engine",
    )
    sentence = (
        f"{requested.remediation} needed a yes, and nobody answered within {within}. "
        f"{_in_force(family, journal)}{_cause(waiting.run)}"
    )
    return _end(family, journal, ruled, ("refused", sentence))


def _end(family: Sequence[Run], journal: Journal, ruled: Ruled, end: tuple[Outcome, str]) -> Ended:
    """What it waited for, and every run from there to the outermost, in one commit."""
    outcome, sentence = end
    holder = family[-1]
    ended = Ended(at=ruled.at, outcome=outcome, sentence=sentence)
    with journal.transaction():
        _write(journal, holder, ruled)
        _write(journal, holder, ended)
        for called, caller in pairwise(reversed(family)):
            steps = [
                one.step for one in caller.events if isinstance(one, Called) and one.run == called.head.id
            ]
            returned = Returned(
                at=ruled.at,
                step=steps[-1] if steps else "",
                run=called.head.id,
                runbook=called.head.runbook,
                outcome=outcome,
                sentence=ended.sentence,
            )
            _write(journal, caller, returned)
            ended = msgspec.structs.replace(ended, sentence=f"{called.head.runbook}: {ended.sentence}")
            _write(journal, caller, ended)
    return ended


def _write(journal: Journal, run: Run, event: Event) -> None:
    """Within a transaction."""
    journal.append(journal.continue_(run.head.id), event)


def _withdrawn(waits: Requested | Asked, because: str, now: float, by: str = "") -> Ruled:
    digest = waits.digest if isinstance(waits, Requested) else ""
    return Ruled(
        at=now, step=waits.step, digest=digest, answer="withdrawn", by=by, because=because, via="engine"
    )


def _in_force(family: Sequence[Run], journal: Journal) -> str:
    ids = {run.head.id for run in family}
    stands = dict.fromkeys(
        one.remediation for one in journal.attempts() if one.run in ids and one.state in {"kept", "leased"}
    )
    return f"In force because it helped: {', '.join(stands)}." if stands else "Nothing was changed."


def _cause(run: Run) -> str:
    for event in reversed(run.events):
        if isinstance(event, Decided) and event.verdict.causes:
            return f" Cause: {event.verdict.causes[0].sentence.rstrip('.')}."
    return ""
