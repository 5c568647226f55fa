"""A real listener on a real port, before a worker of a few lines on a real socket; for tests."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from engine.server import wire
from engine.server.listener import main
from engine.server.messages import Answer, GetStats, No, Offer, Request, Stats, Taken, Taking
from engine.server.settings import Settings
from engine.server.wire import Caller, Line

TOKEN = "t" * 40


@dataclass
class Heard:
    """An answer as the client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Worker:
    """Takes what it is offered; ``answer`` may be set to answer otherwise."""

    path: Path
    offers: list[Offer] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)
    answer: Callable[[Request], Answer | None] = lambda _: None
    server: asyncio.Server | None = None

    async def begin(self) -> None:
        self.server = await wire.serve(self.path, self._answer)

    async def end(self) -> None:
        """As if it were killed: no socket, no connection."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__name__", "") == "_answer_all":
                task.cancel()
        self.path.unlink(missing_ok=True)

    async def _answer(self, request: Request, token: str, caller: Caller) -> AsyncIterator[Answer]:
        if (own := self.answer(request)) is not None:
            yield own
        elif isinstance(request, Offer):
            self.offers.append(request)
            yield Taken(
                takings=tuple(Taking(alert=one.key, fate="started", run="r-1") for one in request.alerts)
            )
        elif isinstance(request, GetStats):
            yield self.stats
        else:
            yield No(problem="log in", why="login")


class Listening:
    """Both, in a thread with a loop of its own, until ``close``."""

    def __init__(self, directory: Path, settings: Settings, *, worker: bool = True) -> None:
        self.directory = directory
        self.token_file = directory / "alertmanager.token"
        if not self.token_file.exists():
            self.token_file.write_text(TOKEN + "\n")
        self.settings = settings
        self.worker = Worker(directory / "worker.sock")
        self._with_worker = worker
        self._ready = threading.Event()
        self._error: Exception | None = None
        opening = main.open_doors(settings)
        self.port = opening.sockets[0].getsockname()[1]
        self._opening = opening
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        line = Line(self.worker.path, timeout_s=5.0)
        try:
            if self._with_worker:
                await self.worker.begin()
            self.server = main.listen(self.settings, line, self._opening, token_file=self.token_file)
        except Exception as error:  # noqa: BLE001 - raised again where the test waits
            self._error = error
            return
        finally:
            self._ready.set()
        await self.server.serve()
        await line.close()
        await self.worker.end()

    def do(self, what: Any) -> Any:
        """Carry out a coroutine in the listener's loop."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(20)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.stop)

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    # ── the client's end ────────────────────────────────────────────────────────

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Heard:
        made = (
            http.client.HTTPSConnection("localhost", self.port, timeout=20, context=tls)
            if tls
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        )
        try:
            made.request(method, path, body, dict(headers))
            found = made.getresponse()
            return Heard(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            made.close()

    def post(
        self, body: bytes, sender: str = "alertmanager", *, token: str | None = TOKEN, **headers: str
    ) -> Heard:
        """A notification, with JSON's content type and the token unless said otherwise."""
        fields = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        return self.ask("POST", f"/v1/alerts/{sender}", body, fields)


def heard(connection: socket.socket) -> Heard | None:
    """The answer on a raw connection; None where it ends without one."""
    found = http.client.HTTPResponse(connection)
    try:
        found.begin()
    except (http.client.HTTPException, OSError):
        return None
    return Heard(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())


def ended(connection: socket.socket) -> bool:
    """Read until the other side ends it, or the socket's timeout."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def notification(*names: str, **more: object) -> bytes:
    alerts = [
        {"status": "firing", "labels": {"alertname": name}, "startsAt": "2026-11-22T15:47:53.368Z"}
        for name in names
    ]
    return json.dumps({"version": "4", "status": "firing", "alerts": alerts, **more}).encode()


def until(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Poll, with a deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
