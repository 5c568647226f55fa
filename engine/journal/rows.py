"""What stands in the journal's rows: events, heads and attempts, to JSON and back.

One promise: whatever lies on disk can be told about: text that is no UTF-8 is kept readable, and a
row that can't be read (damaged, or of a later release) becomes a note of that, not a crash.

Not here: when rows are written (``engine.journal``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine import redaction
from engine.errors import JournalUnavailable
from engine.record import ChangeState, Event, Intended, RunHead, Told
from engine.values import Change, Setting

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event | Begun | Keyed | Cut] | None = None


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="begun"):
    """The first row of a run in the chain: its head as it was then."""

    head: RunHead


class Keyed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="keyed"):
    """From this row on rows are made with this key; it belongs to no run. ``at``: epoch seconds."""

    at: float
    key: str


class Cut(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cut"):
    """When the journal was opened to go on, rows that its anchor knew were not there; it belongs to no run.

    Attributes:
        at: Epoch seconds.
        first, last: The rows that were missing; other rows bear these numbers now.
        hash: The last one's (hex).
    """

    at: float
    first: int
    last: int
    hash: str


#: Kinds of events that go once a run is old: what was looked at on the way. What somebody may have to answer
#: for stays, so the audit of a run is the same without them.
DETAILS = frozenset({"seen", "step-started", "step-skipped", "probe-missed", "ran", "told", "listed"})


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One change that was announced, and how it stands.

    Attributes:
        number: Within its run, from 1.
        captured: What was there before; written once, before the change.
        sealed: Secrets were taken out of change and captured; ``Journal.whole`` gives them back to an undo.
        lease_until: When it is to be undone by itself; None for a lasting change.
        settled_at: None while nobody has said how it ended.
    """

    run: str
    number: int
    target_ref: str
    remediation: str
    state: ChangeState
    intended_at: float
    settled_at: float | None
    lease_until: float | None
    change: Change
    captured: dict[str, Setting]
    sealed: str = ""


def encode(value: object) -> bytes:
    """A value as JSON, without secrets: the one way into the journal."""
    return redaction.HERE.json(plain(value))


def plain(value: object) -> bytes:
    """A value as JSON, as it is."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # a name from /proc or a log that is no UTF-8
        return _encoder.encode(_clean(msgspec.to_builtins(value)))


def _clean(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def decode(body: bytes) -> Event | Begun | Keyed | Cut:
    """A row's event; one that can't be read (written by a later release) becomes a note of that."""
    global _decoder  # noqa: PLW0603 - built once, and only where the journal is read
    if _decoder is None:
        _decoder = msgspec.json.Decoder(Event | Begun | Keyed | Cut)
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        return Told(at=0.0, sentence=f"an event could not be read: {error}", level="error")


def head_of(text: bytes) -> RunHead:
    """A run's head. Raises ``JournalUnavailable`` when it can't be read."""
    try:
        return msgspec.json.decode(text, type=RunHead)
    except msgspec.DecodeError as error:
        raise JournalUnavailable(
            f"the head of a run can't be read: {error}", fix="runbook audit --verify"
        ) from error


def attempt_of(row: tuple[Any, ...]) -> Attempt:
    """A row of ``tables.ATTEMPTS``. Raises ``JournalUnavailable`` when it can't be read."""
    run, number, target_ref, remediation, state, intended_at, settled_at, lease_until, body = row
    event = decode(body)
    if not isinstance(event, Intended):
        raise JournalUnavailable(
            f"change {number} of run {run} can't be read from the journal", fix="runbook audit --verify"
        )
    return Attempt(
        run=run,
        number=number,
        target_ref=target_ref,
        remediation=remediation,
        state=state,
        intended_at=intended_at,
        settled_at=settled_at,
        lease_until=lease_until,
        change=event.change,
        captured=event.captured,
        sealed=event.sealed,
    )
