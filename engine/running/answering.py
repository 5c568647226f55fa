"""An answer to a runbook's own question, given from outside the run: by a command, the page, a terminal.

One promise: the first answer counts; a wrong one is said to be wrong, and the question stays open.

Not here: asking (``engine.running.asking``), changes that wait for a yes (``engine.running.approval``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine import text
from engine.errors import Refused, UsageError
from engine.journal import Journal
from engine.pending import digest, open_question
from engine.record import Answered, Asked, Barred, Run
from engine.running import asking
from engine.running.approval import bar
from engine.running.scene import Tools
from engine.running.waiting import held


class Saying(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's answer to a question.

    Attributes:
        step: Of the question that was looked at.
        digest: Its digest (``engine.pending.digest``); empty for whatever that step asks.
        values: As written.
        by: Who answers.
        via: ``terminal``, ``command``, ``page``, ``link``.
    """

    step: str
    values: Mapping[str, str]
    by: str
    comment: str = ""
    via: str = "command"
    digest: str = ""


def reply(wanted: str, saying: Saying, journal: Journal, now: float) -> Answered:
    """Answer the question that a run waits with; ``resume`` then goes on with it.

    Args:
        wanted: The run's id: the outermost one's, or the called one's that asks.
        saying: The answer, and to what.
        journal: Where the run stands.
        now: Epoch seconds.

    Raises:
        UsageError: The answer is wrong; nothing was written.
        Refused: It waits for no answer, for another one by now, or no more (written down as
            ``Barred``); or it is being worked on.
        UnknownName: There is no such run.
    """
    with held(wanted, journal, now) as family:
        try:
            holder, asked = _still_asked(family[0], saying, now)
        except Refused as refusal:
            barred = Barred(
                at=now, wanted="answer a question", by=saying.by, because=refusal.problem, via=saying.via
            )
            bar(family[-1].head.id, barred, journal)
            raise
        said = Answered(
            at=now,
            step=asked.step,
            values=asking.typed(asked, saying.values),
            by=saying.by,
            comment=saying.comment,
            via=saying.via,
            use_by=None if asked.use_within is None else now + asked.use_within,
        )
        journal.continue_(holder.head.id).record(said)
        return said


def settle(run: Run, tools: Tools, given: Mapping[str, str]) -> None:
    """Answer the question that a run waits with, before it is taken up again.

    Args:
        run: The outermost one.
        tools: Of the process that takes it up.
        given: The answer as it was written; none to ask whoever watches.

    Raises:
        UsageError: The answer is wrong, or nothing was asked.
        Refused: There is no answer yet, and nobody can be asked; or somebody else has answered.
    """
    found = open_question(run)
    if found is None:
        if given:
            raise UsageError(f"run {run.head.id} waits for no answer", fix="leave --answer out")
        return
    asked, now = found[1], tools.clock.now()
    if given and not asking.expired(asked, now):
        saying = Saying(step=asked.step, values=given, by=tools.by or "the operator")
        reply(run.head.id, saying, tools.journal, now)
        return
    answered = asking.from_watcher(asked, tools, now)
    if answered is not None:
        _write(run.head.id, answered, tools)
    elif run.head.ended_at is not None:  # else it broke off while it asked: it will ask when it gets there
        raise Refused(asking.waits_for(asked), fix=f"runbook resume {run.head.id} {asking.example(asked)}")


def _write(wanted: str, answered: Answered, tools: Tools) -> None:
    """What whoever watches said, or that nobody did in time; unless somebody else was first."""
    now = tools.clock.now()
    with held(wanted, tools.journal, now) as family:
        found = open_question(family[0])
        if found is None or found[1].step != answered.step:
            raise Refused("somebody else has answered meanwhile", fix=f"runbook resume {family[0].head.id}")
        tools.journal.continue_(found[0].head.id).record(msgspec.structs.replace(answered, at=now))


def _still_asked(run: Run, saying: Saying, now: float) -> tuple[Run, Asked]:
    """The question, if this answer may still answer it. Raises ``Refused``."""
    found = open_question(run)
    if found is None:
        raise Refused(f"run {run.head.id} waits for no answer", fix=f"runbook report {run.head.id}")
    asked = found[1]
    if asked.step != saying.step or saying.digest not in {"", digest(*found)}:
        raise Refused(f"run {run.head.id} asks something else by now: {asked.question}", fix="look again")
    if asking.expired(asked, now):
        until = text.day_and_time(asked.expires_at or now)
        raise Refused(
            f"it could be answered until {until}: that is a no", fix=f"runbook resume {run.head.id}"
        )
    return found
