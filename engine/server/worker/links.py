"""Signed, time-limited links in notices: one person may answer one request or question of one run with it.

One promise: a link counts for nothing but what it was made for: not for another plan or question of the
same run, not once somebody has answered it, not when its person may not approve any more.

The signed part holds run, digest, person and end; the key is the worker's (``engine.server.worker.keys``).

Not here: answering (``engine.running.approval``, ``answering``), sending (``engine.server.telling``).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine import pending, text
from engine.record import Answered, Asked, Requested, Ruled, Run
from engine.server.messages import No, Role
from engine.server.settings import RANK
from engine.server.worker import keys

#: What goes before the signed part: the page's route.
PATH = "/links/"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link lets its holder do.

    Attributes:
        digest: Of what it was made for (``engine.pending.digest``).
        person: The user it was sent to, who answers with it.
        until: When it ends (epoch seconds).
    """

    run: str
    digest: str
    person: str
    until: float


class Links:
    """Makes and reads links of one worker. ``state``: where its key is."""

    def __init__(self, state: Path) -> None:
        self._signer = keys.link_tokens(keys.signing_key(state))

    def make(self, link: Link) -> str:
        """The signed part of a link."""
        return str(self._signer.dumps([link.run, link.digest, link.person, round(link.until, 3)]))

    def path(self, link: Link) -> str:
        """``/links/SIGNED``."""
        return PATH + self.make(link)

    def read(self, signed: str, now: float) -> Link | No:
        """What a signed part says, where it was made here and has not ended."""
        try:
            run, digest, person, until = msgspec.convert(
                keys.read(self._signer, signed), tuple[str, str, str, float]
            )
        except msgspec.ValidationError:
            return No(
                problem="this link was not made here, or not all of it has arrived", fix=_FIX, why="wrong"
            )
        if now >= until:
            ended = f"this link has ended: it counted until {text.day_and_time(until)}"
            return No(problem=ended, fix=_FIX, why="conflict")
        return Link(run=run, digest=digest, person=person, until=until)


def answerable(link: Link, run: Run, role: Role | None) -> No | None:
    """Why a link can't be answered with (any more); None where it can.

    Args:
        link: As read.
        run: Its run, from the journal.
        role: Of its person now (``People.role_of``).
    """
    found = pending.holder_of(run)
    if found is None or pending.digest(*found) != link.digest:
        return _over(link, run, found)
    if role is None or RANK[role] < RANK["approver"]:
        return No(
            problem=f"{link.person} may not answer what runs ask (any more)",
            fix="ask an approver",
            why="role",
        )
    return None


def _over(link: Link, run: Run, waits: object) -> No:
    """What became of what a link was made for."""
    for holder in pending.family(run):
        asked = [one for one in holder.events if isinstance(one, Requested | Asked)]
        mine = next((one for one in asked if pending.digest(holder, one) == link.digest), None)
        if mine is None:
            continue
        answers = (one for one in holder.events if isinstance(one, Ruled | Answered) and _is_of(one, mine))
        said = next(answers, None)
        if said is not None:
            return No(problem=f"this was answered already: {_said(said)}", fix=_LOOK, why="conflict")
        if waits is None:
            return No(problem="the run waits for no answer any more", fix=_LOOK, why="conflict")
        what = "plan" if isinstance(mine, Requested) else "question"
        return No(
            problem=f"the {what} has changed since this link was sent, so it counts no more",
            fix="the page shows what the run waits with now",
            why="conflict",
        )
    return No(problem="this link is about a request that this run has not made", fix=_LOOK, why="unknown")


def _is_of(answer: Ruled | Answered, waits: Requested | Asked) -> bool:
    """Whether this answered that."""
    if isinstance(waits, Requested):
        return isinstance(answer, Ruled) and answer.digest == waits.digest
    return answer.step == waits.step and answer.at >= waits.at


_FIX = "open the run on the page and log in"
_LOOK = "the page tells what became of the run"


def _said(answer: Ruled | Answered) -> str:
    """What became of it, in words."""
    when, by = text.day_and_time(answer.at), f"by {answer.by or 'somebody'}"
    if isinstance(answer, Answered):
        return f"{'nobody answered in time' if answer.expired else by}, {when}"
    words = {
        "approved": f"approved {by}",
        "denied": f"denied {by}",
        "expired": "it has expired",
        "void": "it is void",
        "withdrawn": "it was withdrawn",
    }[answer.answer]
    because = f" ({answer.because})" if answer.because else ""
    return f"{words}{because}, {when}"
