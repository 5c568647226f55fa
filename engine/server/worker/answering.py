"""Every request of ``engine.server.messages``: who may ask, who answers.

One promise: the role of whoever asks is checked here, before anything is done; what goes wrong is told as
``No`` with the way out.

Two sockets: on the listener's own nobody is trusted without a token. On ``control.sock`` beside it, which
only this user and root may open, whoever calls counts as an approver by the name of their user.
Not here: what is done (``deeds``, ``reads``, ``desk``, ``people``), the socket (``engine.server.wire``).
"""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from engine.errors import RunbookError
from engine.server import messages
from engine.server.log import Log
from engine.server.messages import Answer, Busy, Done, No, Request, Role, Session
from engine.server.settings import RANK
from engine.server.wire import Caller
from engine.server.worker.deeds import Deeds
from engine.server.worker.following import follow
from engine.server.worker.looks import Looks
from engine.server.worker.people import People
from engine.server.worker.queue import QueueUnavailable
from engine.server.worker.refusals import told

#: What whoever asks must be; what is not named here needs no login.
NEEDS: dict[type, Role] = {
    messages.GetRuns: "viewer",
    messages.GetRun: "viewer",
    messages.Follow: "viewer",
    messages.GetAlerts: "viewer",
    messages.GetTargets: "viewer",
    messages.GetLeases: "viewer",
    messages.GetAudit: "viewer",
    messages.GetRunbooks: "viewer",
    messages.StartRun: "operator",
    messages.StopRun: "operator",
    messages.UndoRun: "operator",
    messages.ChangeLease: "operator",
    messages.Rule: "approver",
    messages.Reply: "approver",
}

#: Of a caller who needs no session: the year 5138.
FOREVER = 1e11

_LOGIN = No(problem="nobody is logged in with this token", fix="log in", why="login")


class Answers:
    """Answers requests that come over one socket.

    Args:
        looks: Answers what only looks.
        deeds: Does things.
        people: Who may.
        log: Told of what was refused.
        is_trusted: Whether callers count without a token.
    """

    def __init__(self, looks: Looks, deeds: Deeds, people: People, log: Log, *, is_trusted: bool) -> None:
        self._looks = looks
        self._deeds = deeds
        self._people = people
        self._log = log
        self._is_trusted = is_trusted
        self._anonymous = deeds.keeper.settings.people.anonymous
        peers = {os.geteuid(), 0} | ({deeds.listener_uid} if not is_trusted else set())
        self._peers = peers
        self._by: dict[type, Callable[[Any, Session], Awaitable[Answer]]] = {**looks.by, **deeds.by}

    async def __call__(self, request: Request, token: str, caller: Caller) -> AsyncIterator[Answer]:
        """All answers to one request."""
        if caller.uid not in self._peers:
            yield No(problem="this user may not speak to the worker", fix="use the page", why="role")
            return
        if isinstance(request, messages.Offer):
            yield await self._deeds.take(request)
            return
        try:
            who = await self._who(request, token, caller)
            if isinstance(who, No):
                yield who
            elif isinstance(request, messages.Follow):
                async with aclosing(follow(request, self._deeds.keeper, self._looks.reads)) as stream:
                    async for answer in stream:
                        yield answer
            else:
                yield await self._answer(request, who)
        except QueueUnavailable as error:
            yield Busy(because=error.problem)
        except RunbookError as error:
            yield told(error)

    async def _answer(self, request: Request, who: Session) -> Answer:
        if isinstance(request, messages.Login):
            return await self._login(request)
        if isinstance(request, messages.Logout):
            await self._deeds.keeper.desk.do(lambda queue: self._people.end(queue.db, who.token))
            return Done(sentence="logged out")
        if isinstance(request, messages.WhoAmI):
            return who if who.user else _LOGIN
        return await self._by[type(request)](request, who)

    # ── who asks ────────────────────────────────────────────────────────────────

    async def _who(self, request: Request, token: str, caller: Caller) -> Session | No:
        """Whoever asks, if they may; nobody in particular where nobody needs to be known."""
        session = await self._session(token, caller)
        needed = NEEDS.get(type(request))
        if isinstance(request, messages.Rule | messages.Reply) and request.link:
            needed = None  # the link tells who it is
        if needed is None or (session and RANK[session.role] >= RANK[needed]):
            return session or Session(token=token, user="", role="viewer", until=0.0)
        if session is None:
            return _LOGIN
        await self._deeds.bar(request, session, f"needs the role {needed}, and is {session.role}")
        return No(
            problem=f"this needs the role {needed}; {session.user or 'nobody'} is {session.role}",
            fix=f"ask somebody with that role, or: runbook user role {session.user or 'NAME'} {needed}",
            why="role",
        )

    async def _session(self, token: str, caller: Caller) -> Session | None:
        if self._is_trusted and not token:
            return Session(token="", user=_name(caller.uid), role="approver", until=FOREVER)
        if token:
            found = await self._deeds.keeper.desk.do(lambda queue: self._people.who(queue.db, token))
            if found is not None:
                return found
        if self._anonymous:
            return Session(token="", user="", role=self._anonymous, until=0.0)
        return None

    async def _login(self, request: messages.Login) -> Answer:
        admitted = await self._people.admit(request)
        if isinstance(admitted, No):
            return admitted
        return await self._deeds.keeper.desk.do(lambda queue: self._people.begin(queue.db, admitted))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
