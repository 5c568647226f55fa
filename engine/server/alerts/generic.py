"""Any sender's JSON, read by the paths that the settings give it.

One promise: what a path finds is data; numbers and truth values are written as JSON writes them, lists and
objects as their JSON.

Not here: the paths themselves (``engine.server.alerts.paths``).
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from engine.server.alerts import paths, reading
from engine.server.alerts.alert import Alert, Status
from engine.server.alerts.paths import Path
from engine.server.alerts.reading import Reading, TooMuch, Unreadable
from engine.server.settings import Mapping

FORM = "JSON of the form that the settings map"

_decoder = msgspec.json.Decoder()
_EVERY = "*"


class Form:
    """A mapping whose paths were read, once, when the listener starts."""

    def __init__(self, mapping: Mapping) -> None:
        """Raises ``UsageError`` for a path that is none."""
        self._alerts, self._name, self._status, self._fingerprint, self._starts_at, self._url = (
            paths.parse(written) if written else None
            for written in (
                mapping.alerts,
                mapping.name,
                mapping.status,
                mapping.fingerprint,
                mapping.starts_at,
                mapping.url,
            )
        )
        self._labels = [(name, paths.parse(written)) for name, written in mapping.labels.items()]
        self._annotations = [(name, paths.parse(written)) for name, written in mapping.annotations.items()]
        self._states: dict[str, Status] = {
            **{word.casefold(): "firing" for word in mapping.firing},
            **{word.casefold(): "resolved" for word in mapping.resolved},
        }

    def read(self, body: bytes, *, now: float) -> Reading:
        """The alerts of a body. ``now``: for those without a time. Raises ``Unreadable``."""
        whole = reading.decode(_decoder, body, FORM)
        if self._alerts is None:
            return reading.collect([whole], lambda one: self._alert(one, whole, now))
        items = self._alerts.find(whole, whole)
        if not isinstance(items, list):
            raise Unreadable(
                "there is no list of alerts where the settings say",
                fix="correct mapping.alerts of this sender",
            )
        return reading.collect(items, lambda one: self._alert(one, whole, now))

    def _alert(self, item: object, whole: object, now: float) -> Alert:
        def text(path: Path | None) -> str:
            return as_text(path.find(item, whole)) if path else ""

        name = text(self._name)
        if not name:
            raise TooMuch("it has no name where the settings say", fix="correct mapping.name of this sender")
        status = self._read_status(text(self._status))
        began = moment(self._starts_at.find(item, whole) if self._starts_at else None, now)
        labels = reading.texts(found(self._labels, item, whole), "labels")
        return Alert(
            name=reading.cut(name),
            status=status,
            fingerprint=reading.identity(text(self._fingerprint), {"alertname": name, **labels}),
            starts_at=began,
            ends_at=None if status == "firing" else now,
            labels=labels,
            annotations=reading.texts(found(self._annotations, item, whole), "annotations"),
            url=reading.url(text(self._url)),
        )

    def _read_status(self, said: str) -> Status:
        """Without a path to a status it fires."""
        if self._status is None:
            return "firing"
        status = self._states.get(said.casefold())
        if status is None:
            raise TooMuch(
                "its status stands neither under firing nor under resolved",
                fix="add it to the mapping of this sender",
            )
        return status


def found(pairs: list[tuple[str, Path]], item: object, whole: object) -> dict[str, str]:
    """Names and the texts that their paths find; under ``*`` a whole object of them."""
    texts: dict[str, str] = {}
    for name, path in pairs:
        value = path.find(item, whole)
        if name == _EVERY:
            values = value if isinstance(value, dict) else {}
            texts.update({key: as_text(each) for key, each in values.items() if each is not None})
        elif value is not None:
            texts[name] = as_text(value)
    return texts


def as_text(value: object) -> str:
    """A value of a body as a text: a text as it is, everything else as its JSON; nothing for null.

    Raises ``TooMuch``.
    """
    if value is None:
        return ""
    try:
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except RecursionError:
        raise TooMuch("it is nested too deep", fix="map what stands further in") from None


def moment(value: object, now: float) -> float:
    """RFC 3339, or seconds (or milliseconds) since the epoch; ``now`` for nothing. Raises ``TooMuch``."""
    if value is None or value == "":
        return now
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            return reading.moment(msgspec.convert(value, datetime), now)
        number = float(value)  # type: ignore[arg-type]  # anything else is a TypeError
        return datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC).timestamp()
    except (ValueError, TypeError, OverflowError, OSError, msgspec.ValidationError):
        raise TooMuch(
            "its beginning is no time", fix="send RFC 3339 or epoch seconds, or leave mapping.starts_at empty"
        ) from None
