"""Server-sent events: a run as it goes on, or the list of runs, until the browser leaves.

One promise: what the browser missed while its connection was broken comes first (``Last-Event-ID``);
nobody holds more than some streams; a stream whose run or worker has ended says so and ends.

Not here: what the browser does with them (``static/live.js``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from engine.server import messages as m
from engine.server.page.desk import HEADERS, Visit
from engine.server.wire import Line, WorkerGone

#: Streams of one session; browsers open six connections to a host, and need some for the page.
PER_SESSION = 4
IN_ALL = 256
HEARTBEAT_S = 15.0
#: After so long a stream ends, and the browser opens another: who was logged out meanwhile gets none.
LONGEST_S = 300.0
_RETRY_MS = 2000
_END = b"event: over\ndata: {}\n\n"

_open: Counter[str] = Counter()


async def stream(visit: Visit) -> Response:
    """The events of one run (``run`` in the path) or of all."""
    whose = visit.token or (visit.request.client.host if visit.request.client else "")
    if _open[whose] >= PER_SESSION or _open.total() >= IN_ALL:
        busy = {**HEADERS, "Retry-After": "20"}
        return Response("too many pages are open\n", 429, headers=busy, media_type="text/plain")
    run = visit.request.path_params.get("run", "")
    after = visit.request.headers.get("last-event-id") or visit.asked("after")
    follow = m.Follow(run=run, after=int(after) if after.isdecimal() and len(after) < 19 else 0)
    line = visit.desk.line.another()
    headers = {**HEADERS, "X-Accel-Buffering": "no"}
    _open[whose] += 1
    return StreamingResponse(
        _bytes(line, follow, visit.token, whose), headers=headers, media_type="text/event-stream"
    )


async def _bytes(line: Line, follow: m.Follow, token: str, whose: str) -> AsyncIterator[bytes]:
    """Frames for the browser; whatever ends it, the line to the worker is let go."""
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[m.Answer | None] = asyncio.Queue(1000)
    reading = asyncio.create_task(_read(line, follow, token, inbox))
    until = loop.time() + LONGEST_S
    try:
        yield f"retry: {_RETRY_MS}\n: hello\n\n".encode()
        while loop.time() < until:
            try:
                answer = await asyncio.wait_for(inbox.get(), HEARTBEAT_S)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if answer is None or isinstance(answer, m.No):
                if isinstance(answer, m.No) or follow.run:
                    yield _END
                return
            if (frame := _frame(answer)) is not None:
                yield frame
    finally:
        reading.cancel()
        await line.close()
        _open[whose] -= 1
        if _open[whose] <= 0:
            del _open[whose]


async def _read(line: Line, follow: m.Follow, token: str, inbox: asyncio.Queue[m.Answer | None]) -> None:
    """From the worker into the inbox; a browser that reads too slowly holds up nobody but itself."""
    try:
        async for answer in line.stream(follow, token):
            await inbox.put(answer)
    except WorkerGone:
        pass
    await inbox.put(None)


def _frame(answer: m.Answer) -> bytes | None:
    """One event; ``id`` is the row of the journal, by which a broken stream goes on."""
    if isinstance(answer, m.Number):
        body = msgspec.json.encode(
            {"step": answer.step, "label": answer.label, "value": answer.value, "unit": answer.unit,
             "at": answer.at}
        )  # fmt: skip
        return b"event: number\ndata: " + body + b"\n\n"
    if not isinstance(answer, m.Happened):
        return None
    what = _kind(answer.event)
    body = msgspec.json.encode({"run": answer.run, "state": answer.state, "what": what})
    row = f"id: {answer.seq}\n".encode() if answer.seq else b""
    return row + b"event: happened\ndata: " + body + b"\n\n"


class _Kind(msgspec.Struct, frozen=True):
    """All that the browser needs to know of an event; it asks for the page's parts anew."""

    kind: str = ""


_kinds = msgspec.json.Decoder(_Kind | None)


def _kind(raw: msgspec.Raw) -> str:
    try:
        found = _kinds.decode(raw)
    except msgspec.DecodeError:
        return ""
    return found.kind if found else ""
