"""Messages on the local socket: frames, the caller's end and the worker's end.

One promise: every request is answered, if only with ``No``, and a caller never waits longer than it says it
will. Many requests may be under way on one connection.

What is too long to be sent never leaves: the caller is told at once, and an answer of that kind becomes a
``No``, as does a request that can't be read but bears its number. A frame that is too long all the same, or
bears none, ends its connection with all that is under way on it; so whoever must not suffer from others has
a line of its own (``Line.another``): offers do.

A frame is four bytes of length (big-endian) and JSON: ``{"n": …, "token": …, "do": request}`` one way,
``{"n": …, "is": answer, "more": …}`` the other. Source: unix(7); ``SO_PEERCRED`` tells whose process calls.
Cost: about 50 µs a request on one connection.

Not here: what messages mean (``engine.server.messages``).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.errors import RunbookError, UsageError
from engine.server.messages import Answer, Follow, No, Request

#: A whole run with its evidence fits; nothing larger is sent.
MAX_FRAME = 64 << 20
_LENGTH = struct.Struct(">I")


class Asked(msgspec.Struct, frozen=True):
    """A request on its way."""

    n: int
    do: Request
    token: str = ""


class _Numbered(msgspec.Struct, frozen=True):
    """As much as can be told of any request."""

    n: int


class Answered(msgspec.Struct, frozen=True):
    """An answer on its way; ``more``: the same request gets further ones. None ends a stream of them."""

    n: int
    answer: Answer | None = msgspec.field(name="is")
    more: bool = False


class Caller(msgspec.Struct, frozen=True):
    """Whose process is at the other end: user id and pid, as the kernel tells."""

    uid: int
    pid: int


class WorkerGone(RunbookError):
    """The worker does not answer."""

    exit_code = 4


class TooLong(UsageError):
    """What was to be sent is longer than ``MAX_FRAME``."""


#: Answers one request; several for a stream. Whatever it raises, its caller is told ``No``.
Answerer = Callable[[Request, str, Caller], AsyncIterator[Answer]]
#: Told of what an answerer raised, and for which request.
Failed = Callable[[Request, Exception], None]


#: The answer where the worker itself is broken.
BROKEN = No(problem="the worker could not do this", fix="its log says why", why="failed")

_encoder = msgspec.json.Encoder()
_asked = msgspec.json.Decoder(Asked)
_answered = msgspec.json.Decoder(Answered)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    """One frame's body; None at the end, or where it is too long."""
    try:
        (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(size) if size <= MAX_FRAME else None
    except (asyncio.IncompleteReadError, OSError):
        return None


def _frame(value: object) -> bytes:
    """Raises ``TooLong``."""
    body = _encoder.encode(value)
    if len(body) > MAX_FRAME:
        raise TooLong(
            f"that is {len(body) >> 20} MiB; at most {MAX_FRAME >> 20} MiB pass between listener and worker",
            fix="ask for less at once, or use the command on this host: runbook report, runbook audit",
        )
    return _LENGTH.pack(len(body)) + body


# ── the worker's end ────────────────────────────────────────────────────────────


async def serve(
    path: Path,
    answerer: Answerer,
    *,
    group: int | None = None,
    failed: Failed = lambda _request, _error: None,
) -> asyncio.Server:
    """Answer on a socket that only its owner (and ``group``) may open; a stale one is replaced.

    Raises:
        UsageError: Somebody answers there already, or it can't be made.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _clear(path)
        place = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place.bind(str(path))
        path.chmod(0o600 if group is None else 0o660)
        if group is not None:
            os.chown(path, -1, group)
    except OSError as error:
        raise UsageError(
            f"the socket {path} can't be made: {error.strerror or error}",
            fix="choose another place with --socket (its whole path has at most 107 bytes)",
        ) from error
    return await asyncio.start_unix_server(lambda r, w: _answer_all(r, w, answerer, failed), sock=place)


def _clear(path: Path) -> None:
    """Take a socket away that nobody answers on any more; only a socket."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):  # its worker was killed, or has just ended
            path.unlink(missing_ok=True)
            return
        except (TimeoutError, BlockingIOError):
            pass  # somebody, who has much to do
    raise UsageError(
        f"another worker answers on {path}",
        fix="stop it (systemctl stop runbook-worker), or choose another directory: --socket DIR/worker.sock",
    )


async def _answer_all(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answerer: Answerer, failed: Failed
) -> None:
    """Serve one connection until it ends; its unfinished answers end with it."""
    caller, tasks = _caller(writer), set[asyncio.Task[None]]()
    try:
        while (body := await _read(reader)) is not None:
            try:
                asked = _asked.decode(body)
            except msgspec.DecodeError as error:
                if (number := _number_of(body)) is None:
                    return
                no = No(problem=f"this request can't be read: {error}", fix="listener and worker must match")
                writer.write(_frame(Answered(number, no)))
                with suppress(ConnectionError):
                    await writer.drain()
                continue
            task = asyncio.create_task(
                _answer(asked, answerer(asked.do, asked.token, caller), writer, failed)
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()
        writer.close()


async def _answer(
    asked: Asked, answers: AsyncIterator[Answer], writer: asyncio.StreamWriter, failed: Failed
) -> None:
    """All answers to one request, on their way."""
    many = isinstance(asked.do, Follow)
    with suppress(ConnectionError):
        try:
            async for answer in answers:
                writer.write(_frame(Answered(asked.n, answer, many)))
                await writer.drain()
        except TooLong as error:
            writer.write(_frame(Answered(asked.n, No(problem=error.problem, fix=error.fix), many)))
        except Exception as error:  # noqa: BLE001 - whoever asked must not wait for what never comes
            if writer.is_closing():
                return  # nobody is there any more
            failed(asked.do, error)
            writer.write(_frame(Answered(asked.n, BROKEN, many)))
        if many:
            writer.write(_frame(Answered(asked.n, None)))
        await writer.drain()


def _number_of(body: bytes) -> int | None:
    """The number of a request that is wrong otherwise."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(body, type=_Numbered).n
    return None


def _caller(writer: asyncio.StreamWriter) -> Caller:
    place = writer.get_extra_info("socket")
    pid, uid, _ = struct.unpack("3i", place.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Caller(uid, pid)


# ── the caller's end ────────────────────────────────────────────────────────────


class Line:
    """A line to the worker: one connection, made when it is first needed and again after a break."""

    def __init__(self, path: Path, *, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Answered | None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    def another(self) -> Line:
        """A line of its own to the same worker: for a stream that is ended by closing it."""
        return Line(self._path, timeout_s=self._timeout_s)

    async def ask(self, request: Request, token: str = "", *, timeout_s: float | None = None) -> Answer:
        """One request, one answer.

        Raises:
            WorkerGone: There is none, in time.
            TooLong: The request.
        """
        stream = self.stream(request, token)
        try:
            return await asyncio.wait_for(anext(stream), timeout_s or self._timeout_s)
        except (TimeoutError, StopAsyncIteration):
            raise _gone("it does not answer in time") from None
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # every async generator has it

    async def stream(self, request: Request, token: str = "") -> AsyncIterator[Answer]:
        """One request, its answers as they come. Raises as ``ask``."""
        writer = await self._connected()
        number, inbox = next(self._numbers), asyncio.Queue[Answered | None]()
        self._waiting[number] = inbox
        try:
            writer.write(_frame(Asked(number, request, token)))
            await writer.drain()
            while True:
                answered = await inbox.get()
                if answered is None:
                    raise _gone("it ended the connection")
                if answered.answer is not None:
                    yield answered.answer
                if not answered.more:
                    return
        except ConnectionError as error:
            raise _gone(str(error)) from error
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Let the connection go."""
        if self._listening is not None:
            self._listening.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                try:
                    reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                except OSError as error:
                    raise _gone(f"{self._path}: {error.strerror or error}") from error
                self._listening = asyncio.create_task(self._listen(reader, self._writer))
            return self._writer

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(msgspec.DecodeError):  # a worker of another version: the connection ends
                while (body := await _read(reader)) is not None:
                    answered = _answered.decode(body)
                    if (inbox := self._waiting.get(answered.n)) is not None:
                        inbox.put_nowait(answered)
        finally:
            writer.close()
            for inbox in self._waiting.values():
                inbox.put_nowait(None)


def _gone(why: str) -> WorkerGone:
    return WorkerGone(
        f"the worker can't be reached: {why}",
        fix="start it: systemctl start runbook-worker, or runbook serve",
    )
