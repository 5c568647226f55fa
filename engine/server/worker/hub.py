"""Who follows runs now, and what they are told.

One promise: a follower that is slow loses numbers first, then its stream; it never holds up a run, nor
another follower.

Not here: reading the journal (``tail``), sockets (``engine.server.wire``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from engine.server.messages import Happened, Number

#: So much may wait for a follower; beyond half of it numbers are left out.
BACKLOG = 2000

Inbox = asyncio.Queue[Happened | Number | None]


class Hub:
    """All followers, by the run that they follow; empty for all runs."""

    def __init__(self) -> None:
        self._inboxes: dict[str, list[Inbox]] = {}

    @contextmanager
    def follow(self, run: str) -> Iterator[Inbox]:
        """Be told of a run; None in the inbox means that no more comes."""
        inbox: Inbox = asyncio.Queue(BACKLOG + 1)
        self._inboxes.setdefault(run, []).append(inbox)
        try:
            yield inbox
        finally:
            self._inboxes[run].remove(inbox)
            if not self._inboxes[run]:
                del self._inboxes[run]

    def __bool__(self) -> bool:
        """Whether anybody follows."""
        return bool(self._inboxes)

    def tell(self, happened: Happened) -> None:
        """A run has gone on."""
        for inbox in self._inboxes.get(happened.run.partition(".")[0], ()):
            self._put(inbox, happened, BACKLOG)

    def tell_state(self, run: str, state: str) -> None:
        """A run begins, waits or ends."""
        for inbox in self._inboxes.get("", ()):
            self._put(inbox, Happened(run=run, state=state), BACKLOG)

    def number(self, number: Number) -> None:
        """A probe sees a number."""
        for inbox in self._inboxes.get(number.run.partition(".")[0], ()):
            if inbox.qsize() < BACKLOG // 2:
                inbox.put_nowait(number)

    def close(self) -> None:
        """Nobody is told any more."""
        for inboxes in list(self._inboxes.values()):
            for inbox in inboxes:
                self._end(inbox)

    def _put(self, inbox: Inbox, what: Happened, most: int) -> None:
        if inbox.qsize() < most:
            inbox.put_nowait(what)
        else:
            self._end(inbox)

    @staticmethod
    def _end(inbox: Inbox) -> None:
        if not inbox.full():
            inbox.put_nowait(None)
