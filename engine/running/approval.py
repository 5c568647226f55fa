"""The answer to a change that waits for a yes, given from outside its run.

One promise: the first answer counts. It is given under the run's lock, after the run was read again, and
written in one commit, so neither a second answer at the same moment nor a kill leaves half of one; who
tried in vain is written down as ``Barred``. Page, link, command and worker all come through here.

It takes milliseconds, and at most ``waiting.PATIENCE_S`` where somebody else is at the run.

Not here: what a yes is bound to (``engine.running.bound``), the run that asks and that uses the yes
(``engine.running.permission``), its end without an answer (``engine.running.unanswered``), going on with the
run (``engine.running.resume``), runbooks' own questions (``engine.running.answering``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from engine import text
from engine.errors import Refused
from engine.journal import Journal
from engine.pending import Waiting, family, open_request
from engine.record import Barred, Ruled, Run
from engine.running.unanswered import expire_within
from engine.running.waiting import held


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
    with held(wanted, journal, now) as chain:
        try:
            waiting = _still_open(chain[0], ruling.digest, now)
        except Refused as refusal:
            expire_within(chain, journal, now)
            verb = "approve" if ruling.answer == "approved" else "deny"
            barred = Barred(
                at=now, wanted=f"{verb} a change", by=ruling.by, because=refusal.problem, via=ruling.via
            )
            bar(chain[-1].head.id, barred, journal)
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
    before = [
        one for each in family(run) for one in each.events if isinstance(one, Ruled) and one.digest == digest
    ]
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
