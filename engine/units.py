"""Durations, bytes, rates and shares: from how people write them to base units.

``10s`` is 10.0 seconds, ``64MiB`` is 67108864 bytes, ``100k/s`` is 100000.0 events a
second, ``30%`` is 0.3. A number without a unit is already in base units. ``MB`` is a
million bytes, ``MiB`` 1048576; a bare ``M`` is refused, since tools disagree about it.

Not here: the way back (``engine.text``), the unit that one agent writes its own setting in
(``values.Knob.unit``).
"""

from __future__ import annotations

import math
import re
from typing import Literal

from engine.errors import UsageError

Dimension = Literal["duration", "bytes", "rate", "share", "number"]

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0}
_SECONDS |= {"h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_PER = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}

_NUMBER = r"[0-9](?:_?[0-9])*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_PART = re.compile(rf"({_NUMBER})\s*([^\d\s_.]*)\s*")
_RATE = re.compile(rf"({_NUMBER})\s*([kKMG]?)(?:\s*events?)?\s*/\s*(s|sec|min|m|h)")
_LONGEST = 64  # characters; no quantity needs more
#: The longest duration, in seconds: ten years. What lasts longer is no date any more, or a slip.
LONGEST_S = 3660 * 86400.0
#: So much more time a lease is given at once, at most, in seconds.
YEAR_S = 366 * 86400.0

#: How to write each dimension, for messages.
EXAMPLES: dict[str, str] = {
    "duration": "500ms, 10s, 5m, 2h, 1h30m",
    "bytes": "512B, 256KiB, 64MiB, 10MB",
    "rate": "100/s, 100k/s, 6000/min",
    "share": "0.3 or 30%",
    "number": "3, 0.5, 100_000",
}


def seconds(value: object) -> float:
    """A duration in seconds; numbers are seconds already.

    Raises:
        UsageError: It is no duration, or longer than ten years.
    """
    found = _quantity(value, "duration")
    if found > LONGEST_S:
        raise UsageError(f"{_short(value)} is longer than ten years", fix="write at most 3660d")
    return found


def size(value: object) -> int:
    """A size in whole bytes; numbers are bytes already.

    Raises:
        UsageError: It is no size.
    """
    return round(_quantity(value, "bytes"))


def rate(value: object) -> float:
    """A rate in events per second; numbers are per second already."""
    return _quantity(value, "rate")


def share(value: object) -> float:
    """A share from 0.0 to 1.0; ``30%`` is 0.3. Above 1 is refused."""
    found = _quantity(value, "share")
    if found > 1:
        raise UsageError(f"{value!r} is more than the whole", fix="write a share as 0.3 or 30%")
    return found


def number(value: object) -> float:
    """A plain number: ``3``, ``0.5``, ``100_000``."""
    return _quantity(value, "number")


def parse(text: str) -> tuple[float | int, Dimension] | None:
    """A text that is wholly one quantity with a unit: its base value and dimension, else None.

    A number without a unit gives None: it is for the reader to say what it counts.
    """
    text = text.strip()
    if not text or len(text) > _LONGEST or not text[0].isdigit():
        return None
    if text.endswith("%"):
        number = _number(text[:-1].strip())
        return None if number is None else (number / 100, "share")
    if match := _RATE.fullmatch(text):
        return _finite(float(match[1]) * _COUNTS[match[2]] / _PER[match[3]], "rate")
    return _parts(text)


def _parts(text: str) -> tuple[float | int, Dimension] | None:
    """``1h30m`` or ``64MiB``: all parts of one dimension, each with a unit."""
    at, total, dimensions = 0, 0.0, set[Dimension]()
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            return None
        number, unit = float(match[1]), match[2]
        if unit in _SECONDS:
            total += number * _SECONDS[unit]
            dimensions.add("duration")
        elif unit in _BYTES and not dimensions:
            total = number * _BYTES[unit]
            dimensions.add("bytes")
        else:
            return None
        at = match.end()
    if len(dimensions) != 1:
        return None
    return _finite(total, dimensions.pop())


def _finite(value: float, dimension: Dimension) -> tuple[float | int, Dimension] | None:
    if not math.isfinite(value):
        return None
    return (round(value) if dimension == "bytes" else value), dimension


def _number(text: str) -> float | None:
    if not re.fullmatch(rf"-?{_NUMBER}", text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _quantity(value: object, wanted: Dimension) -> float:
    """The base value of ``value`` in the dimension ``wanted``; never negative."""
    found: float | None = None
    if isinstance(value, str):
        parsed = parse(value) if len(value) <= _LONGEST else None
        if parsed is not None and parsed[1] == wanted:
            found = float(parsed[0])
        elif parsed is None:
            found = _number(value.strip()) if len(value) <= _LONGEST else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    if found is None or not math.isfinite(found) or found < 0:
        what = "a size in bytes" if wanted == "bytes" else f"a {wanted}"
        raise UsageError(f"{_short(value)} is not {what}", fix=f"write it as {EXAMPLES[wanted]}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
