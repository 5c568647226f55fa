"""uvicorn's server with our doors, our protocol and a stop that answers what is under way.

Not here: the app (``app``), how a process becomes a listener (``main``).
"""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn

from engine.server.listener.app import Listener
from engine.server.listener.crowd import Place
from engine.server.listener.doors import Doors, Opening
from engine.server.listener.protocol import BoundedProtocol
from engine.server.settings import Limits, seconds

#: A stop waits so long for answers that are under way.
_STOP_S = 10


class Server(uvicorn.Server):
    """Serves one listener until ``stop`` or SIGTERM."""

    def __init__(self, listener: Listener, limits: Limits, opening: Opening) -> None:
        super().__init__(
            uvicorn.Config(
                listener,
                interface="asgi3",
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=seconds(limits.idle_time),  # type: ignore[arg-type]  # any number will do
                timeout_graceful_shutdown=_STOP_S,
            )
        )
        self._listener = listener
        self._limits = limits
        self._opening = opening
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Let nobody in any more, answer what is under way, and end."""
        self.should_exit = True
        self._wake.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - ours are open
        """Open our doors in place of uvicorn's servers."""
        self._loop = asyncio.get_running_loop()
        doors = Doors(self._opening, self._listener.crowd, self._listener.counters, self._protocol)
        self.servers = [doors]  # type: ignore[list-item]  # closed and waited for like one
        self.started = True

    async def main_loop(self) -> None:
        """Once a second the clock of the Date header; uvicorn would wake ten times."""
        while not await self.on_tick(0):
            try:
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams first: they would hold up the stop."""
        self._listener.stop()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal's handler
        """A signal: stop in good order; uvicorn would raise it again at the end."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)
        else:
            self.should_exit = True

    def _protocol(self, place: Place) -> BoundedProtocol:
        return BoundedProtocol(
            limits=self._limits,
            counters=self._listener.counters,
            place=place,
            config=self.config,
            server_state=self.server_state,
            app_state={},
            _loop=self._loop,
        )
