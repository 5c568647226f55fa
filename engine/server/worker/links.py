"""Signed, time-limited links in notices: one person may answer one request of one run with it.

One promise: a link counts for nothing but the request that it was made for: not for another plan of the
same run, not once somebody has ruled on it, not when its person may not approve any more.

The signed part holds run, digest, person and end; the key is the worker's (``engine.server.worker.keys``).

Not here: ruling (``engine.running.approval``), sending (``engine.server.telling``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine import text
from engine.record import Event, Requested, Ruled
from engine.server.messages import No, Role
from engine.server.settings import RANK
from engine.server.worker import keys

#: What goes before the signed part: the page's route.
PATH = "/links/"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link lets its holder do.

    Attributes:
        digest: Of the request that it was made for (``record.Requested``).
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


def answerable(link: Link, events: Iterable[Event], role: Role | None) -> No | None:
    """Why a link can't be answered with (any more); None where it can.

    Args:
        link: As read.
        events: Of its run, from the journal.
        role: Of its person now (``People.role_of``).
    """
    requested = [one for one in events if isinstance(one, Requested)]
    ruled = [one for one in events if isinstance(one, Ruled) and one.digest == link.digest]
    if ruled:
        return No(problem=f"this was answered already: {_said(ruled[-1])}", fix=_LOOK, why="conflict")
    if not any(one.digest == link.digest for one in requested):
        return No(problem="this link is about a request that this run has not made", fix=_LOOK, why="unknown")
    if requested[-1].digest != link.digest:
        return No(
            problem="the plan has changed since this link was sent, so it counts no more",
            fix="the page shows the plan as it is now",
            why="conflict",
        )
    if role is None or RANK[role] < RANK["approver"]:
        return No(
            problem=f"{link.person} may not approve changes (any more)", fix="ask an approver", why="role"
        )
    return None


_FIX = "open the run on the page and log in"
_LOOK = "the page tells what became of the run"


def _said(ruled: Ruled) -> str:
    """What became of the request, in words."""
    when = text.day_and_time(ruled.at)
    words = {
        "approved": f"approved by {ruled.by or 'somebody'}",
        "denied": f"denied by {ruled.by or 'somebody'}",
        "expired": "it has expired",
        "void": "it is void",
        "withdrawn": "it was withdrawn",
    }[ruled.answer]
    because = f" ({ruled.because})" if ruled.because else ""
    return f"{words}{because}, {when}"
