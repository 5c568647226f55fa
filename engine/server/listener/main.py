"""A process becomes the listener.

``open_doors`` while there are privileges for it, then ``serve`` without any, until SIGTERM.

Not here: giving up privileges and starting both parts (``engine.server.starting``).
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.server.listener.doors import Opening, open_doors
from engine.server.log import FromLibraries, Log
from engine.server.settings import Settings
from engine.server.wire import Line

if TYPE_CHECKING:
    from engine.server.listener.server import Server

__all__ = ["listen", "open_doors", "serve"]

#: An offer is answered by then, or its sender told to send it again: senders wait about ten seconds.
_WORKER_S = 8.0


def serve(
    settings: Settings,
    socket_path: Path,
    opening: Opening,
    *,
    token_file: Path | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Listen until SIGTERM or SIGINT; what is under way then is answered.

    Args:
        settings: How.
        socket_path: The worker's socket; it may come later, and go and come again.
        opening: From ``open_doors``.
        token_file: Of the one sender that there is without senders in the settings.
        ready: Called once, when requests are taken.

    Raises:
        UsageError: A sender could never get in, or the libraries are not installed.
    """
    log = Log("listener", settings.log)
    _hear_libraries(log)
    try:
        import uvloop  # noqa: PLC0415

        from engine.server.listener import server as _  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`runbook serve` needs {error.name}, which is not installed",
            fix="install it: pip install 'bpf-runbook[server]'",
        ) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(settings, Line(socket_path, timeout_s=_WORKER_S), opening, token_file, (log, ready))
        )


async def _serve(
    settings: Settings,
    line: Line,
    opening: Opening,
    token_file: Path | None,
    told: tuple[Log, Callable[[], None] | None],
) -> None:
    log, ready = told
    server = listen(settings, line, opening, token_file=token_file, log=log)
    beside = asyncio.create_task(_beside(settings, line.another(), log))
    gc.collect()
    gc.freeze()  # what is there now stays: no need to look through it again
    if opening.tls is None and not all(_is_loopback(one) for one in opening.sockets):
        log.warning(
            "passwords and tokens pass over plain HTTP: set listen.certificate and listen.key, or listen on"
            " loopback behind a proxy that speaks TLS"
        )
    log.info("listening", at=_addresses(opening), tls=opening.tls is not None)
    if ready is not None:
        ready()
    try:
        await server.serve()
    finally:
        beside.cancel()
        with suppress(asyncio.CancelledError):
            await beside
        await line.close()
        log.info("stopped")


def listen(
    settings: Settings,
    line: Line,
    opening: Opening,
    *,
    token_file: Path | None = None,
    log: Log | None = None,
) -> Server:
    """A server that is ready to ``serve()`` in this loop. Raises ``UsageError``."""
    from engine.server.listener.app import Listener  # noqa: PLC0415 - libraries of the extra
    from engine.server.listener.server import Server  # noqa: PLC0415

    listener = Listener(settings, line, token_file=token_file, log=log)
    return Server(listener, settings.limits, opening)


async def _beside(settings: Settings, line: Line, log: Log) -> None:
    """What goes on beside answering: telling people. Its end is no end of the listener."""
    tell: Callable[[Settings, Line, Log], Awaitable[None]]
    try:
        if settings.notify:
            from engine.server.telling.teller import tell_forever as tell  # noqa: PLC0415

            await tell(settings, line, log)
    except Exception as error:  # noqa: BLE001 - alerts are taken though nobody is told
        log.error("nobody is told any more", error=error)  # noqa: TRY400 - no logger of the library
    finally:
        await line.close()


def _hear_libraries(log: Log) -> None:
    """What libraries say goes to our log; what uvicorn says of every odd request is counted instead."""
    root = logging.getLogger()
    root.addHandler(FromLibraries(log))
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.access").disabled = True


def _is_loopback(one: socket.socket) -> bool:
    return ipaddress.ip_address(one.getsockname()[0].partition("%")[0]).is_loopback


def _addresses(opening: Opening) -> str:
    return ", ".join(f"{name[0]}:{name[1]}" for name in (one.getsockname() for one in opening.sockets))
