"""What a setting amounts to, for comparing: bytes, seconds, cores or a count.

One promise: text is read as the agent reads it, and what can't be read is None, never a guess.

Not here: writing a setting (``remediations.knobs.units``), quantities of our own documents
(``engine.units``).
"""

from __future__ import annotations

import math
import re

from engine import units
from engine.errors import UsageError
from engine.values import Knob, Setting

#: Knob units → base units (bytes, seconds); others count as they are.
_FACTORS: dict[str, float] = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "ns": 1e-9, "us": 1e-6, "ms": 1e-3}
_SIZES, _TIMES = {"bytes", "KiB", "MiB", "GiB", "pages"}, {"s", "ms", "us", "ns"}
#: Settings that are no quantities: nothing about them is more or less.
WORDS = {"text", "bool", "list"}
#: ``64M``, ``2Gi``: powers of 1024, as every agent that we know of reads them.
_LETTER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGT])i?")


def in_base_units(value: Setting, knob: Knob, page_bytes: int = 4096) -> float | None:
    """A setting in bytes, seconds, cores or count; None when it is no number of the knob's unit.

    Text is read as the agent reads it: ``2MiB``, ``360ms``; without a unit it is in the knob's own.
    Infinity for the value that means "no limit".
    """
    if value is None or knob.unit in WORDS:
        return None
    if knob.unbounded is not None and str(value) == str(knob.unbounded):
        return math.inf
    if knob.unit == "preset":
        return knob.presets.get(f"{value:g}" if isinstance(value, float) else str(value).strip())
    if isinstance(value, str):
        return _read(value.strip(), knob, page_bytes)
    return None if isinstance(value, bool | list | dict) else _of_number(value, knob, page_bytes)


def _of_number(value: float, knob: Knob, page_bytes: int) -> float:
    if knob.unit == "doublings":
        return float((knob.base or 1.0) * 2.0**value)
    return value * (page_bytes if knob.unit == "pages" else _FACTORS.get(knob.unit, 1.0))


def lettered(text: str) -> float | None:
    """Bytes of a size with a lone letter, ``64K``; None when it is written otherwise."""
    match = _LETTER.fullmatch(text.strip())
    return float(match[1]) * 1024.0 ** ("KMGT".index(match[2].upper()) + 1) if match else None


def _read(text: str, knob: Knob, page_bytes: int) -> float | None:
    """A setting that is written as text."""
    dimension = "bytes" if knob.unit in _SIZES else "duration" if knob.unit in _TIMES else None
    quantity = units.parse(text)
    if quantity is None and knob.unit == "doublings" and text.removeprefix("-").isdigit():
        return in_base_units(int(text), knob)
    if quantity is not None:
        return float(quantity[0]) if quantity[1] == dimension else None
    if dimension == "bytes" and (size := lettered(text)):
        return size
    try:
        number = units.number(text)
    except UsageError:
        return None
    return in_base_units(number, knob, page_bytes)
