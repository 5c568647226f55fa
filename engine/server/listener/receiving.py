"""``POST /v1/alerts/SENDER``: known, bounded, read, offered, answered.

One promise: 2xx only once the worker has all of it on disk; 4xx only for what can never be right; for
everything that may be right later (the worker is gone, full, stops; too many requests) 503 with
``Retry-After``. Alertmanager sends again after 5xx, and gives up after all else, even 429:
``notify/webhook`` of github.com/prometheus/alertmanager.

Not here: who is known (``senders``), what bodies mean (``engine.server.alerts``), what is done (the worker).
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from engine.errors import RunbookError
from engine.redaction import HERE
from engine.server.alerts.reading import Reading, Unreadable
from engine.server.listener import answers
from engine.server.listener.answers import Answer, Receive
from engine.server.listener.counters import Counters
from engine.server.listener.senders import Door, Mark, Post
from engine.server.messages import Busy, No, Offer, Taken
from engine.server.settings import Limits
from engine.server.wire import Line

Headers = Mapping[bytes, bytes]
_RETRY_S = 5.0
#: Who signs is known only after the body: so many full ones are held at once for people who may be nobody.
#: A short one always has room.
_UNKNOWN_BODIES, _SHORT = 16, 64 << 10


class Refusal(Exception):
    """The answer to a request that goes no further, and why in a word, for the counters."""

    def __init__(self, reason: str, answer: Answer) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class Gone(Exception):
    """The client left before its request was whole."""


class Receiver:
    """Takes notifications."""

    def __init__(self, door: Door, limits: Limits, line: Line, counters: Counters) -> None:
        self._door = door
        self._limits = limits
        self._line = line
        self._counters = counters
        self._held = 0

    async def take(self, name: str, headers: Headers, receive: Receive, address: str) -> Answer:
        """One request, from its head to its answer. Raises ``Gone``."""
        began, sender = time.perf_counter(), ""
        try:
            post, mark, body = await self._known(name, headers, receive)
            sender = post.name
            answer = await self._offer(post, self._read(post, body))
            if answer.status >= 500:
                self._door.take_back(mark)
        except Refusal as refusal:
            self._counters.refused(refusal.reason, address)
            answer = refusal.answer
        self._counters.answered(sender, answer.status, time.perf_counter() - began)
        return answer

    async def _known(self, name: str, headers: Headers, receive: Receive) -> tuple[Post, Mark | None, bytes]:
        """Who it is, and the body. What is done depends on the form of the request, not on the name."""
        way = self._door.way(headers)
        post = self._door.by_token(name, headers) if way == "token" else None
        if post is None and way != "signature":
            raise Refusal("unknown", UNKNOWN)
        if post is not None:
            self._slow_down(post)
        self._check_head(headers)
        if post is not None:
            return post, None, await self._body(receive, known=True)
        body = await self._body(receive, known=False)
        signed = self._door.by_signature(name, headers, body)
        if signed is None:
            raise Refusal("unknown", UNKNOWN)
        self._slow_down(signed[0], signed[1])
        return *signed, body

    def _slow_down(self, post: Post, mark: Mark | None = None) -> None:
        if wait_s := post.bucket.wait_s(time.monotonic()):
            self._door.take_back(mark)
            raise Refusal("rate", answers.later("this sender sends too much at once", wait_s))

    def _check_head(self, headers: Headers) -> None:
        """What the head says of the body."""
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
            raise Refusal("encoding", ENCODED)
        kind = headers.get(b"content-type", answers.JSON).partition(b";")[0].strip().lower()
        if kind != answers.JSON and not kind.endswith(b"+json"):
            raise Refusal("type", NOT_JSON)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > int(self._limits.body):
            raise self._too_long()

    async def _body(self, receive: Receive, *, known: bool) -> bytes:
        """All of it, as long as it is short enough; its time is the protocol's."""
        pieces, size, limit = list[bytes](), 0, int(self._limits.body)
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Gone
                piece = message.get("body", b"")
                size += len(piece)
                self._held += 0 if known else len(piece)
                if size > limit:
                    raise self._too_long()
                if not known and size > _SHORT and self._held > _UNKNOWN_BODIES * limit:
                    raise Refusal("crowded", answers.later("too many long signed bodies at once", _RETRY_S))
                pieces.append(piece)
                if not message.get("more_body"):
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        finally:
            self._held -= 0 if known else size

    def _too_long(self) -> Refusal:
        limit = int(self._limits.body)
        return Refusal(
            "long-body",
            answers.problem(
                413,
                f"the body is longer than {limit} bytes",
                "send fewer alerts at once (Alertmanager: max_alerts), or raise limits.body",
            ),
        )

    def _read(self, post: Post, body: bytes) -> Reading:
        try:
            found = post.read(body, now=time.time())
        except Unreadable as error:
            raise Refusal("form", answers.problem(error.status, error.problem, error.fix)) from None
        if found.refused and not found.alerts:
            raise Refusal(
                "form", answers.problem(422, found.refused[0], "correct what is sent, or its mapping")
            )
        for _ in found.refused:
            self._counters.refused("alert")
        self._counters.alerts[post.name] += len(found.alerts)
        if found.left_out:
            self._counters.left_out_by(post.name, found.left_out)
        return found

    async def _offer(self, post: Post, found: Reading) -> Answer:
        if not found.alerts:
            return answers.said(202, answers.Received(alerts=(), left_out=found.left_out))
        try:
            alerts = tuple(map(HERE.struct, found.alerts))  # senders' secrets: only the listener knows them
            answer = await self._line.ask(Offer(sender=post.name, alerts=alerts))
        except (RunbookError, OSError):
            self._counters.refused("worker-gone")
            return answers.later("the worker does not answer: nothing was taken", _RETRY_S)
        if isinstance(answer, Taken):
            received = answers.Received(alerts=answer.takings, refused=found.refused, left_out=found.left_out)
            return answers.said(202, received)
        self._counters.refused("busy")
        if isinstance(answer, Busy):
            return answers.later(answer.because, answer.retry_after_s)
        why = answer.problem if isinstance(answer, No) else "the worker answers something else"
        return answers.later(why, _RETRY_S)


UNKNOWN = answers.problem(
    401,
    "no sender of this name is known by this token or signature",
    "send the header Authorization: Bearer TOKEN of this sender, or its signature and the time of now",
    (b"www-authenticate", b'Bearer realm="runbook"'),
)
ENCODED = answers.problem(415, "the body is compressed", "send it as it is, without Content-Encoding")
NOT_JSON = answers.problem(415, "the body is not said to be JSON", "send Content-Type: application/json")
