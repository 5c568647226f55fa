"""Sockets on which connections come in, and the one place where they are let in.

uvicorn lets a loop accept for it: then a connection counts only once its TLS handshake is done, and who
never begins one is never counted. Here each connection gets its place in the crowd before a byte is read.

One promise: whoever finds no place is let go at once; running out of descriptors stops nothing for good.

Not here: how many there may be (``crowd``), what they may do (``protocol``).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from engine.errors import UsageError
from engine.server.listener.counters import Counters
from engine.server.listener.crowd import Crowd, Place
from engine.server.settings import Listen, Settings, seconds

_BACKLOG = 1024
_PAUSE_S = 0.1


def bind(listen: Listen) -> list[socket.socket]:
    """Listening sockets for an address of this host; before privileges are given up.

    Raises:
        UsageError: The address is not ours, or taken.
    """
    made: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            listen.address, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in found:
            made.append(_listening(family, address))
    except OSError as error:
        for one in made:
            one.close()
        why = "somebody listens there already" if error.errno == errno.EADDRINUSE else error.strerror
        raise UsageError(
            f"can't listen on {listen.address}:{listen.port}: {why}",
            fix="set listen.address and listen.port in the settings to ones that are free",
        ) from error
    return made


def _listening(family: int, address: object) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        made.bind(address)  # type: ignore[arg-type]  # what getaddrinfo gave
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def secured(listen: Listen) -> ssl.SSLContext | None:
    """What TLS needs, or None without a certificate. Raises ``UsageError``."""
    if not listen.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listen.certificate, listen.key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificate {listen.certificate} and its key can't be used: {error.strerror or error}",
            fix="name PEM files that are readable and belong together, in listen.certificate and listen.key",
        ) from error
    return context


def _no_password() -> str:
    """A key with a password is an error: nobody is there to be asked."""
    raise ssl.SSLError("the key needs a password")


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What was opened while there were privileges for it.

    Attributes:
        handshake_s: How long a TLS handshake may take.
    """

    sockets: tuple[socket.socket, ...]
    tls: ssl.SSLContext | None = None
    handshake_s: float = 5.0


def open_doors(settings: Settings, descriptors: Sequence[int] = ()) -> Opening:
    """Sockets bound and certificate read; ``descriptors``: of sockets that somebody bound already.

    Raises:
        UsageError: The address can't be listened on, or the certificate can't be used.
    """
    tls = secured(settings.listen)
    sockets = [socket.socket(fileno=one) for one in descriptors] or bind(settings.listen)
    return Opening(sockets=tuple(sockets), tls=tls, handshake_s=seconds(settings.limits.head_time))


class Doors:
    """Accepts on all sockets until it is closed; stands where uvicorn has its servers."""

    def __init__(
        self,
        opening: Opening,
        crowd: Crowd,
        counters: Counters,
        protocol: Callable[[Place], asyncio.Protocol],
    ) -> None:
        self._sockets = opening.sockets
        self._crowd = crowd
        self._counters = counters
        self._protocol = protocol
        self._handshake = (
            {"ssl": opening.tls, "ssl_handshake_timeout": opening.handshake_s} if opening.tls else {}
        )
        self._tasks = [asyncio.create_task(self._accept(one)) for one in self._sockets]
        self._entering: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Nobody comes in any more; who is in stays."""
        for task in [*self._tasks, *self._entering]:
            task.cancel()
        for one in self._sockets:
            one.close()

    async def wait_closed(self) -> None:
        """Until it is."""
        await asyncio.gather(*self._tasks, *self._entering, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:
                if listening.fileno() < 0:
                    return
                if error.errno not in (errno.ECONNABORTED, errno.EINTR):
                    self._counters.refused("no-descriptors")
                    await asyncio.sleep(_PAUSE_S)  # one will be given back
                continue
            origin = str(address[0]) if address else ""
            place = self._crowd.enter(origin)
            if place is None:
                self._counters.refused("crowd", origin)
                connection.close()
                continue
            task = asyncio.create_task(self._enter(connection, place))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter(self, connection: socket.socket, place: Place) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(lambda: self._protocol(place), connection, **self._handshake)  # type: ignore[arg-type]
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._counters.refused("handshake" if isinstance(error, ssl.SSLError | TimeoutError) else "lost")
            place.leave()
            with suppress(OSError):
                connection.close()
        except asyncio.CancelledError:
            place.leave()
            raise
