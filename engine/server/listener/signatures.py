"""Whether a body was signed by whoever holds the secret, not long ago, and for the first time.

HMAC-SHA256 in hex, in a header that holds it alone or as ``v1=…`` or ``sha256=…``, several of them while
secrets change over; over ``TIME.BODY`` where a time is sent (in a header of its own, or as ``t=…``), over
the body alone otherwise. PagerDuty signs the body alone, and sends the same bytes again when it got no
answer: there a repetition is left to the alert's key, which the worker knows.

One promise: a signature with a time counts once. What is remembered is bounded: under more signatures
than ``MAX_SEEN`` the oldest second goes, and whatever was signed then or before is too old from there on.

Not here: the secrets (``secret_file``), who sends (``senders``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

import msgspec

from engine.server.settings import Signature, seconds

MAX_SEEN = 65_536
_MAX_GIVEN = 8
_DIGEST = re.compile(rb"[0-9a-fA-F]{64}")
_TIME = re.compile(rb"\d{1,12}(?:\.\d{1,9})?")
_CARRIERS = (b"v1", b"sha256")


class Given(msgspec.Struct, frozen=True):
    """What a request's headers say: digests in lower hex, and the time as it is signed."""

    digests: tuple[bytes, ...]
    time: bytes = b""

    @property
    def signed_at(self) -> float | None:
        """Epoch seconds; None where no time is signed."""
        return float(self.time) if self.time else None


def given(rule: Signature, headers: Mapping[bytes, bytes]) -> Given | None:
    """The signature that the headers carry; None where they carry none, or a time that is none."""
    digests, time = _parts(headers.get(rule.header.lower().encode(), b""))
    if rule.timestamp_header:
        time = headers.get(rule.timestamp_header.lower().encode(), b"").strip() or b"none"
    if not digests or (time and not _TIME.fullmatch(time)):
        return None
    return Given(digests, time)


def _parts(header: bytes) -> tuple[tuple[bytes, ...], bytes]:
    digests, time = list[bytes](), b""
    for part in header.split(b",")[:_MAX_GIVEN]:
        name, equals, value = part.strip().partition(b"=")
        digest = value if equals and name in _CARRIERS else name if not equals else b""
        if _DIGEST.fullmatch(digest):
            digests.append(digest.lower())
        elif name == b"t":
            time = value
    return tuple(digests), time


def match(found: Given, secrets: Iterable[bytes], body: bytes) -> bytes | None:
    """The digest that one of the secrets makes of the body; None when none does. Constant time each."""
    matched: bytes | None = None
    for secret in secrets:
        made = hmac.new(secret, digestmod=hashlib.sha256)
        if found.time:
            made.update(found.time + b".")
        made.update(body)
        wanted = made.hexdigest().encode()
        for digest in found.digests:
            if hmac.compare_digest(digest, wanted):
                matched = wanted
    return matched


def fresh(found: Given, rule: Signature, now: float) -> bool:
    """Whether it was signed not long ago, by our clock; without a time it is not known to be old."""
    signed_at = found.signed_at
    return signed_at is None or abs(now - signed_at) <= seconds(rule.tolerance)


class Seen:
    """Signatures that counted, by the second in which they were signed."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        self._limit = limit
        self._seconds: dict[int, set[bytes]] = {}
        self._number = 0
        self._floor = float("-inf")

    def __len__(self) -> int:
        return self._number

    def add(self, who: str, digest: bytes, signed_at: float, *, oldest: float) -> bool:
        """Note a signature; False when it counted before, or could have.

        ``oldest``: what was signed before it is too old anyway.
        """
        self._forget_before(oldest)
        second = int(signed_at)
        if second <= self._floor:
            return False
        key = hashlib.sha256(who.encode() + b"\0" + digest).digest()[:16]
        there = self._seconds.setdefault(second, set())
        if key in there:
            return False
        there.add(key)
        self._number += 1
        while self._number > self._limit:
            self._floor = min(self._seconds)
            self._number -= len(self._seconds.pop(int(self._floor)))
        return True

    def take_back(self, who: str, digest: bytes, signed_at: float) -> None:
        """Nothing came of it: its sender may send the very same again."""
        key = hashlib.sha256(who.encode() + b"\0" + digest).digest()[:16]
        there = self._seconds.get(int(signed_at))
        if there is not None and key in there:
            there.discard(key)
            self._number -= 1

    def _forget_before(self, oldest: float) -> None:
        for second in [second for second in self._seconds if second < oldest - 1]:
            self._number -= len(self._seconds.pop(second))
