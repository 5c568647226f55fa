"""What all senders' formats have in common: bytes to typed values, and values to alerts, bounded.

One promise: whatever bytes come, the answer is a ``Reading`` or one ``Unreadable``; nothing of a body
is kept beyond ``MAX_ALERTS`` alerts, ``MAX_LABELS`` labels each, ``MAX_TEXT`` characters a text. What is
wrong with the form refuses the body; what is too much in one alert refuses that alert alone, since the
others of its group must not be lost with it.

Not here: the senders' forms (one file each), who may send (``engine.server.listener.senders``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from engine.errors import UsageError
from engine.server.alerts.alert import MAX_ALERTS, MAX_LABELS, MAX_TEXT, Alert, Status

T = TypeVar("T")

#: Longer identities and addresses than these are no sender's.
MAX_IDENTITY = 256
MAX_URL = 2048
#: More alerts than this are left out by nobody.
MOST_LEFT_OUT = 1_000_000
#: Labels beyond this many bytes get a SHA-256: byte by byte in Python would take milliseconds.
_MAX_FNV = 16 << 10
_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


class Unreadable(UsageError):
    """A body that no sending again makes valid.

    Attributes:
        status: 400 where it is no JSON, 422 where it is JSON of another form.
    """

    def __init__(self, problem: str, *, fix: str, status: int = 422) -> None:
        super().__init__(problem, fix=fix)
        self.status = status


class TooMuch(UsageError):
    """One alert that holds more than any may."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a body says.

    Attributes:
        alerts: In its order.
        refused: A sentence for each alert that can't be taken.
        left_out: So many more its sender has, by its own words.
    """

    alerts: tuple[Alert, ...] = ()
    refused: tuple[str, ...] = ()
    left_out: int = 0


def decode(decoder: msgspec.json.Decoder[T], body: bytes, form: str) -> T:
    """The body as its form has it. Raises ``Unreadable``, which quotes the place and never the body."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Unreadable(f"this is not {form}: {error}", fix=f"send {form}, as its sender makes it") from None
    except RecursionError:
        raise Unreadable("the JSON is nested too deep", fix=f"send {form}", status=400) from None
    except (msgspec.DecodeError, ValueError, OverflowError):
        raise Unreadable(
            "the body is no JSON", fix=f"send {form}, as application/json in UTF-8", status=400
        ) from None


def collect(items: Sequence[T], one: Callable[[T], Alert], *, left_out: int = 0) -> Reading:
    """Each item read by itself, at most ``MAX_ALERTS``."""
    alerts: list[Alert] = []
    refused: list[str] = []
    for index, item in enumerate(items[:MAX_ALERTS]):
        try:
            alerts.append(one(item))
        except TooMuch as error:
            refused.append(f"alert {index + 1}: {error.problem}; {error.fix}")
    if (more := len(items) - MAX_ALERTS) > 0:
        refused.append(
            f"the {more} alerts after the first {MAX_ALERTS}; set max_alerts, or group them in more groups"
        )
    return Reading(alerts=tuple(alerts), refused=tuple(refused), left_out=min(left_out, MOST_LEFT_OUT))


def cut(text: str) -> str:
    """A text, no longer than ``MAX_TEXT``."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def texts(values: Mapping[str, str] | None, what: str) -> dict[str, str]:
    """Labels or annotations, bounded. Raises ``TooMuch``."""
    if not values:
        return {}
    if len(values) > MAX_LABELS:
        raise TooMuch(f"it has {len(values)} {what}", fix=f"send at most {MAX_LABELS}")
    return {cut(name): cut(value) for name, value in values.items()}


def moment(value: datetime | None, otherwise: float) -> float:
    """Epoch seconds; ``otherwise`` for none, and for the year 1, as Go writes no time."""
    if value is None or value.year <= 1:
        return otherwise
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def end(value: datetime | None, status: Status, now: float) -> float | None:
    """When it ended: None while it fires, even where a sender says until when it is sure to."""
    return None if status == "firing" else moment(value, now)


def identity(given: str, labels: Mapping[str, str]) -> str:
    """The sender's fingerprint, or Alertmanager's for these labels; bounded."""
    if not given:
        return fingerprint(labels)
    return given if len(given) <= MAX_IDENTITY else _sha(given)


def fingerprint(labels: Mapping[str, str]) -> str:
    """What Alertmanager calls these labels: FNV-1a of names and values, sorted by name, each ended by 255.

    Source: ``LabelSet.Fingerprint`` of github.com/prometheus/common, model.
    """
    whole = b"".join(
        part.encode("utf-8", "surrogatepass") + b"\xff" for pair in sorted(labels.items()) for part in pair
    )
    if len(whole) > _MAX_FNV:
        return hashlib.sha256(whole).hexdigest()[:16]
    value = _FNV_OFFSET
    for byte in whole:
        value = ((value ^ byte) * _FNV_PRIME) & _64_BITS
    return f"{value:016x}"


def url(*candidates: str | None) -> str:
    """The first address that is one of the web's; empty for none."""
    return next(filter(None, map(_web, candidates)), "")


def named(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Those of the pairs that say something, as texts."""
    return {name: str(value) for name, value in pairs if value not in (None, "")}


def _web(candidate: str | None) -> str:
    if not candidate or len(candidate) > MAX_URL or not candidate.isprintable() or " " in candidate:
        return ""
    return candidate if candidate.lower().startswith(("http://", "https://")) else ""


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
