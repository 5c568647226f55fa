"""Answers of the listener's own paths: JSON, with headers that leave nothing to guess.

One promise: whatever is refused says what is wrong and the way out, and quotes nothing that came.

Not here: when which is given (``receiving``, ``protocol``), the page's answers (``engine.server.page``).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import msgspec

from engine.server.messages import Taking

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
Fields = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
#: For a browser that is shown an answer: no guessing, no keeping, nothing of it runs or is framed.
SAFE: Final[Fields] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why it was not done, and the way out."""

    problem: str
    fix: str


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a notification's alerts: all of them are on disk.

    Attributes:
        alerts: In its order.
        refused: A sentence for each that could not be taken, and never can.
        left_out: So many more its sender has, by its own words (`truncatedAlerts`); not known here.
    """

    alerts: tuple[Taking, ...]
    refused: tuple[str, ...] = ()
    left_out: int = 0


class Alive(msgspec.Struct, frozen=True):
    """It answers."""

    alive: bool = True


class Ready(msgspec.Struct, frozen=True):
    """An alert would be taken now."""

    ready: bool = True


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    body: bytes
    fields: tuple[tuple[bytes, bytes], ...] = ()
    kind: bytes = JSON


_encoder = msgspec.json.Encoder()


def said(status: int, value: object) -> Answer:
    """A value as JSON."""
    return Answer(status, _encoder.encode(value))


def problem(status: int, what: str, fix: str, *fields: tuple[bytes, bytes]) -> Answer:
    """A refusal."""
    return Answer(status, _encoder.encode(Problem(problem=what, fix=fix)), fields)


def later(because: str, after_s: float) -> Answer:
    """Nothing was taken; the same may come again."""
    wait = max(1, math.ceil(after_s))
    return problem(503, because, f"send it again in {wait} s", (b"retry-after", str(wait).encode()))


#: Those that are given before there is an app to ask.
REFUSED_BY_PROTOCOL: Final[Mapping[int, tuple[str, str]]] = {
    400: ("this is not HTTP/1.1", "speak HTTP/1.1, or https where the listener has a certificate"),
    408: ("the request did not arrive in time", "send it whole, at once"),
    431: ("the head of the request is too long", "send fewer and shorter headers"),
}


def for_protocol(status: int) -> tuple[bytes, Fields]:
    """Body and header fields of an answer that is given before there is an app to ask."""
    body = _encoder.encode(
        Problem(problem=REFUSED_BY_PROTOCOL[status][0], fix=REFUSED_BY_PROTOCOL[status][1])
    )
    return body, head(Answer(status, body))


def head(answer: Answer) -> Fields:
    """All its header fields."""
    own = [(b"content-type", answer.kind), (b"content-length", str(len(answer.body)).encode())]
    return [*own, *SAFE, *answer.fields]


async def send(answer: Answer, to: Send) -> None:
    """Give it."""
    await to({"type": "http.response.start", "status": answer.status, "headers": head(answer)})
    await to({"type": "http.response.body", "body": answer.body})
