"""A change that waits for a yes, seen from outside its run: the answer, its expiry, its end.

One promise: the first answer counts. Each function takes the run's lock, reads the run again and
writes in one commit, so neither a second answer at the same moment nor a kill leaves half of one; who
tried in vain is written down as ``Barred``. Page, link, command and worker all come through here.

They take milliseconds, and at most ``waiting.PATIENCE_S`` where somebody else is at the run.

Not here: what a yes is bound to (``engine.running.bound``), the run that asks and that uses the yes
(``engine.running.permission``), going on with the run (``engine.running.resume``), runbooks' own questions
(``engine.running.answering``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from engine import text
from engine.errors import Refused
from engine.journal import Journal
from engine.record import (
    Asked,
    Barred,
    Called,
    Decided,
    Ended,
    Event,
    Outcome,
    Requested,
    Returned,
    Ruled,
    Run,
)
from engine.running.waiting import Waiting, answered, due, held, holder_of, open_request, rulings

__all__ = [
    "Ruling",
    "Waiting",
    "answered",
    "bar",
    "due",
    "expire",
    "open_request",
    "rule",
    "stop",
    "withdraw",
]


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's answer to a request.

    Attributes:
        digest: Of the request that was looked at.
        by: Who answers.
        via: ``terminal``, ``command``, ``page``, ``link``.
    """

    digest: str
    answer: Literal["approved", "denied"]
    by: str
    comment: str = ""
    via: str = "command"


def rule(wanted: str, ruling: Ruling, journal: Journal, now: float) -> Ruled:
    """Approve or deny the change that a run waits with; ``resume`` then carries the answer out.

    Args:
        wanted: The run's id: the outermost one's, or the called one's whose change it is.
        ruling: The answer, and to what.
        journal: Where the run stands.
        now: Epoch seconds.

    Raises:
        Refused: It waits for nothing, for something else by now, no more, or was answered before
            (written down as ``Barred``); or it is being worked on.
        UnknownName: There is no such run.
    """
    with held(wanted, journal, now) as family:
        try:
            waiting = _still_open(family[0], ruling.digest, now)
        except Refused as refusal:
            _expire(family, journal, now)
            verb = "approve" if ruling.answer == "approved" else "deny"
            barred = Barred(
                at=now, wanted=f"{verb} a change", by=ruling.by, because=refusal.problem, via=ruling.via
            )
            bar(family[-1].head.id, barred, journal)
            raise
        ruled = Ruled(
            at=now,
            step=waiting.requested.step,
            digest=ruling.digest,
            answer=ruling.answer,
            by=ruling.by,
            comment=ruling.comment,
            via=ruling.via,
            use_by=now + waiting.requested.use_within if ruling.answer == "approved" else None,
        )
        journal.continue_(waiting.run.head.id).record(ruled)
        return ruled


def bar(wanted: str, barred: Barred, journal: Journal) -> None:
    """Write down what somebody tried in vain. Needs no lock: it decides nothing.

    Raises:
        UnknownName: There is no such run.
    """
    journal.continue_(journal.run(wanted).head.id).record(barred)


def expire(wanted: str, journal: Journal, now: float) -> Ended | None:
    """End a run whose request nobody answered in time, and those that called it, as ``refused``.

    None where nothing is due: it was answered, waits longer, or waits with a question of the runbook
    (once that is due, ``resume`` takes it for a no and goes on).

    Raises:
        Refused: It is being worked on.
    """
    with held(wanted, journal, now) as family:
        return _expire(family, journal, now)


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


# ── inside the lock ─────────────────────────────────────────────────────────────


def _still_open(run: Run, digest: str, now: float) -> Waiting:
    """The request, if this answer may still answer it. Raises ``Refused``."""
    waiting, again = open_request(run), f"see what it waits for: runbook approve {run.head.id}"
    if waiting is not None and waiting.requested.digest == digest:
        if now < waiting.requested.decide_by:
            return waiting
        until = text.day_and_time(waiting.requested.decide_by)
        raise Refused(
            f"it could be answered until {until}: that is a no", fix=f"runbook run {run.head.runbook}"
        )
    before = [one for one in rulings(run) if one.digest == digest]
    if before:
        raise Refused(_answered_before(before[-1]), fix=again)
    if waiting is None:
        ended = f"has ended ({run.head.outcome}) and " if run.head.outcome not in {None, "waiting"} else ""
        raise Refused(f"run {run.head.id} {ended}waits for no approval", fix=f"runbook report {run.head.id}")
    raise Refused(f"run {run.head.id} waits with another plan than the one looked at", fix=again)


def _answered_before(ruled: Ruled) -> str:
    who = f" by {ruled.by}" if ruled.by else ""
    why = f": {ruled.because}" if ruled.because else ""
    return f"this request was {ruled.answer}{who} at {text.day_and_time(ruled.at)}{why}"


def _expire(family: Sequence[Run], journal: Journal, now: float) -> Ended | None:
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
