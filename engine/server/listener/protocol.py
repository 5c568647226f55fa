"""uvicorn's HTTP protocol with the bounds that it does not have.

uvicorn's parser (httptools) takes a head of any length in any time, and reads a body for as long as it
comes: one client that sends a byte a minute holds a connection for ever, one long header takes all memory.
Here each connection has a place in the crowd, a head is bounded in bytes, fields and time, a body in time
(its bytes are counted where it is read), whatever is sent after an answer in bytes, and a client that does
not read its answer is let go.

Not here: who may connect (``crowd``, ``doors``), the answers of the app (``app``).
"""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from engine.server.listener import answers
from engine.server.listener.counters import Counters
from engine.server.listener.crowd import Place
from engine.server.settings import Limits, seconds
from engine.values import Setting

#: Header fields of one request; senders have about ten, browsers twenty.
MAX_FIELDS = 100
#: Requests that wait on one connection for the answer to the one before; each takes 3 KB.
MAX_AHEAD = 16
_FIELD = 4  # ": " and the end of the line


class _TooMuch(Exception):
    """The head is longer, or there are more requests ahead of their answers, than there may be."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Its head is open from its beginning, or the end of a request, to the empty line."""

    def __init__(self, *, limits: Limits, counters: Counters, place: Place, **uvicorns: Any) -> None:  # noqa: ANN401 - its own
        super().__init__(**uvicorns)
        self._limits = limits
        self._counters = counters
        self._place = place
        self._timer: TimerHandle | None = None  # for what comes
        self._reader_timer: TimerHandle | None = None  # for what goes
        self._in_head = True
        self._raw = 0  # bytes of a head that is not complete
        self._head = self._fields = 0  # what the parser made of it
        self._late_bytes = 0  # of a body that is answered already
        self._refused = False

    # ── the connection ──────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Its first head must come in time."""
        super().connection_made(transport)
        self._wait(self._limits.head_time)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place back."""
        self._place.leave()
        self._stop_waiting()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes: count what no parser counts, then parse."""
        if self._refused:
            return
        if self._in_head:
            self._raw += len(data)
        elif self.cycle is not None and self.cycle.response_complete:
            self._late_bytes += len(data)
            if self._late_bytes > int(self._limits.body):
                self._drop("late-body")
                return
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._in_head and self._raw > int(self._limits.headers):
            self._refuse(431, "long-head")
        elif self._in_head and self._raw:
            self._wait(self._limits.head_time)
        elif not self._in_head:
            self._wait(self._limits.body_time)

    def pause_writing(self) -> None:
        """The client does not read: it has as long as an unused connection."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stop_waiting_for_reader()

    def on_response_complete(self) -> None:
        """An answer was written; what of it nobody takes does not hold the connection."""
        super().on_response_complete()
        self._close_in_time()

    def timeout_keep_alive_handler(self) -> None:
        """Unused for too long."""
        super().timeout_keep_alive_handler()
        self._close_in_time()

    # ── what the parser finds ───────────────────────────────────────────────────

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._count(len(url), 0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of what may follow a body in pieces: both count."""
        self._count(len(name) + len(value) + _FIELD, 1)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if len(self.pipeline) >= MAX_AHEAD:
            raise _TooMuch
        self._in_head, self._raw, self._late_bytes = False, 0, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there, and another may follow."""
        self._in_head, self._raw, self._head, self._fields = True, 0, 0, 0
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says as much
        """The parser gave up: the head was too long for us, or it is not HTTP."""
        if self._refused:
            return
        if self._head > int(self._limits.headers) or self._fields > MAX_FIELDS:
            self._refuse(431, "long-head")
        elif len(self.pipeline) >= MAX_AHEAD:
            self._refuse(400, "hasty")
        else:
            self._refuse(400, "no-http")

    # ── bounds ──────────────────────────────────────────────────────────────────

    def _count(self, size: int, fields: int) -> None:
        self._head += size
        self._fields += fields
        if self._head > int(self._limits.headers) or self._fields > MAX_FIELDS:
            raise _TooMuch

    def _wait(self, limit: Setting) -> None:
        """From now on it has so long; a time that runs already goes on."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds(limit), self._too_late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_in_time(self) -> None:
        """A connection that is closed stays until its last byte is taken: not for ever."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        if self._reader_timer is None:
            limit = seconds(self._limits.idle_time)
            self._reader_timer = self.loop.call_later(limit, self._drop, "slow-reader")

    def _stop_waiting_for_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_head and not self._raw:
            self._drop("unused")
        else:
            self._refuse(408, "slow-head" if self._in_head else "slow-body")

    def _refuse(self, status: int, reason: str) -> None:
        """Answer and end the connection; an answer that is under way goes out before its end."""
        self._refused = True
        self._counters.refused(reason, self._address)
        if self.cycle is not None and not self.cycle.response_complete:
            if self._in_head:
                self.cycle.keep_alive = False
                return
            if self.cycle.response_started:
                self.transport.abort()
                return
        body, fields = answers.for_protocol(status)
        head = [STATUS_LINE[status], *(name + b": " + value + b"\r\n" for name, value in fields)]
        self.transport.write(b"".join([*head, b"connection: close\r\n\r\n", body]))
        self.transport.close()
        self._close_in_time()

    def _drop(self, reason: str) -> None:
        self._refused = True
        self._counters.refused(reason, self._address)
        self.transport.abort()

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""
