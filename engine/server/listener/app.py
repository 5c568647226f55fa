"""What the listener answers on which path: its own few, and the page's on all others.

Written against ASGI itself: a notification passes no middleware, which is a third of the time it takes.

One promise: nothing that needs no login or token starts anything; a mistake of ours is a 500 that tells
nothing of the request.

Not here: taking notifications (``receiving``), the page (``engine.server.page``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.server.listener import answers, health
from engine.server.listener.answers import Alive, Answer, Message, Ready, Receive, Received, Scope, Send
from engine.server.listener.counters import Counters
from engine.server.listener.crowd import Crowd
from engine.server.listener.description import Told, describe
from engine.server.listener.health import Worker
from engine.server.listener.metrics import Page
from engine.server.listener.receiving import Gone, Receiver
from engine.server.listener.senders import Door
from engine.server.log import Log, where
from engine.server.settings import Settings
from engine.server.wire import Line

ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
ALERTS = "/v1/alerts/"
_SENDER = "{sender}"
_LOOK = ("GET", "HEAD")

TOLD = {
    ALERTS + _SENDER: Told(
        summary="Take a notification.",
        statuses=(202, 400, 401, 413, 415, 422, 503),
        body=Received,
        takes=True,
    ),
    "/healthz": Told(summary="Whether the listener is alive.", statuses=(200,), body=Alive),
    "/readyz": Told(summary="Whether an alert would be taken now.", statuses=(200, 503), body=Ready),
    "/metrics": Told(summary="Numbers, as Prometheus reads them.", statuses=(200,)),
    "/openapi.json": Told(summary="This description.", statuses=(200,), body=dict),
}


class Listener:
    """The app; ``stop`` it before its server stops, so that streams end.

    Attributes:
        counters, crowd: Shared with the protocol, which refuses what never reaches an app.
    """

    def __init__(
        self, settings: Settings, line: Line, *, token_file: Path | None = None, log: Log | None = None
    ) -> None:
        """Raises ``UsageError`` where a sender of the settings could never get in."""
        limits = settings.limits
        door = Door(settings, token_file)
        self.counters = Counters(log)
        self.crowd = Crowd(int(limits.connections), int(limits.per_address))
        self._log = log
        self._receiver = Receiver(door, limits, line, self.counters)
        self._worker = Worker(line)
        self._numbers = Page(self._worker, self.counters, self.crowd)
        self._stopping = asyncio.Event()
        self._description = Answer(
            200,
            describe(((path, "POST" if told.takes else "GET", told) for path, told in TOLD.items()), door),
        )
        self._looks: dict[str, Callable[[], Awaitable[Answer]]] = {
            "/healthz": self._alive,
            "/readyz": self._ready,
            "/metrics": self._numbers.answer,
            "/openapi.json": self._described,
        }
        self._page = page(settings, line.another())  # what it asks for may be long: offers pass it by

    def stop(self) -> None:
        """From now on nothing is ready, and the page's streams end."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            answer = await self._answer(scope, receive)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is: the next request must be served
            self._tell(error)
            answer = BROKEN
        if answer is None:
            await self._to_page(scope, receive, send)
        else:
            await answers.send(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """The answer to a path of ours; None where it is the page's."""
        path, method = scope["path"], scope["method"]
        name = path.removeprefix(ALERTS)
        if name != path and name and "/" not in name:
            if method != "POST":
                return _not_so("POST")
            client = scope["client"]
            return await self._receiver.take(
                name, dict(scope["headers"]), receive, client[0] if client else ""
            )
        look = self._looks.get(path)
        if look is None:
            return NOT_FOUND if self._page is None or name != path else None
        return await look() if method in _LOOK else _not_so(", ".join(_LOOK))

    async def _to_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the page: its streams end when the listener stops, its answers are safe ones."""
        assert self._page is not None  # noqa: S101 - for mypy: only then there is no answer
        started = False

        async def safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                have = {name for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()), *(field for field in answers.SAFE if field[0] not in have)
                ]  # fmt: skip
            await send(message)

        try:
            await self._page(scope, _until(self._stopping, receive), safely)
        except Exception as error:  # noqa: BLE001 - as above
            self._tell(error)
            if not started:
                await answers.send(BROKEN, send)

    def _tell(self, error: Exception) -> None:
        self.counters.refused("broken")
        if self._log is not None:
            self._log.error("a request broke", error=type(error).__name__, at=where(error))

    async def _alive(self) -> Answer:
        return health.alive()

    async def _ready(self) -> Answer:
        return await health.ready(self._worker, stopping=self._stopping.is_set())

    async def _described(self) -> Answer:
        return self._description


def page(settings: Settings, line: Line) -> ASGI | None:
    """The page as an app; None where its libraries are not installed."""
    try:
        from starlette.applications import Starlette  # noqa: PLC0415

        from engine.server.page import mount  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    return Starlette(
        routes=mount.routes(settings, line),
        exception_handlers=mount.failures(settings, line),
    )


def _until(stopping: asyncio.Event, receive: Receive) -> Receive:
    """As ``receive``, but once the request is whole the client seems to leave when the listener stops."""
    whole = False

    async def either() -> Message:
        nonlocal whole
        if not whole:
            message = await receive()
            whole = not message.get("more_body", False)
            return message
        tasks = {asyncio.ensure_future(receive()), asyncio.ensure_future(stopping.wait())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        result = done.pop().result()
        return result if isinstance(result, dict) else {"type": "http.disconnect"}

    return either


def _not_so(allowed: str) -> Answer:
    return answers.problem(405, "this path is not asked so", f"use {allowed}", (b"allow", allowed.encode()))


NOT_FOUND = answers.problem(404, "there is no such path", "post alerts to /v1/alerts/SENDER")
BROKEN = answers.problem(500, "the listener made a mistake", "send it again; the log says where it broke")
