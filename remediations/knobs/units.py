"""What a setting amounts to, and how to write it the way it is written there.

``effective`` turns ``"256KiB"``, ``64`` pages or ``"100ms"`` into base units (bytes,
seconds, cores, a count); ``render`` goes back in the unit and style that was found, so
text stays text and a number stays a number; ``say`` is for people.

Suffixes: ``KiB`` ``Ki`` ``K`` ``k`` are 1024, ``KB`` ``kB`` are 1000 (and so on to ``T``).
A lone letter is 1024 as with systemd, Docker and Tetragon; Kubernetes' 1000 is not meant.

Not here: where a setting stands (the backends), presets, rounding by knob, CPUs (``amounts``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal

from engine.values import Setting

PAGE_BYTES = 4096

_SIZES = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TIMES = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_COUNTS = ("count", "one-in-n")
_SIZE_TEXT = re.compile(r"^(\d+(?:\.\d+)?)(\s*)([kKMGT]?)(iB|i|B)?$")
_TIME_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(h|ms|m|s|us|µs|ns)")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LETTERS = "KMGT"


def effective(value: Setting, unit: str, *, page_bytes: int = PAGE_BYTES) -> Setting:
    """The value in base units: bytes, seconds, cores or a count; text, bool, list as they are.

    Raises:
        ValueError: It can't be read in that unit.
    """
    if value is None or unit in ("text", "bool", "list"):
        return value
    if isinstance(value, (list, dict)):
        raise ValueError(f"expected one value in {unit}, found {value!r}")  # noqa: TRY004 - a value from outside
    if unit in _SIZES or unit == "pages":
        factor = page_bytes if unit == "pages" else _SIZES[unit]
        return _size(value, factor)
    if unit in ("s", "ms", "us", "ns"):
        return _seconds(value, _TIMES[unit])
    number = _number(value)
    return int(number) if unit in _COUNTS and number.is_integer() else number


def render(
    amount: float,
    unit: str,
    like: Setting = None,
    *,
    toward: Literal["up", "down"] = "up",
    page_bytes: int = PAGE_BYTES,
) -> Setting:
    """Write ``amount`` (base units) in the knob's unit, in the style of ``like``.

    Args:
        amount: In bytes, seconds, cores or a count.
        unit: The knob's unit.
        like: What stands there now or the default; None means a plain number.
        toward: Which way to round where the unit is coarser than the amount. Never to zero.
        page_bytes: Size of a page, for unit ``pages``.
    """
    whole = math.ceil if toward == "up" else math.floor
    if isinstance(like, str) and not _is_number(like):
        return _size_text(whole(amount), like) if unit in _SIZES else _time_text(amount, whole)
    if unit == "cores":
        number: int | float = round(amount, 3)
    else:
        scaled = round(amount / one(unit, page_bytes=page_bytes), 9)
        fractional = isinstance(like, float) or unit == "share" or (unit == "s" and like is None)
        number = scaled if fractional and not scaled.is_integer() else max(1, whole(scaled))
    return str(number) if isinstance(like, str) else number


def one(unit: str, *, page_bytes: int = PAGE_BYTES) -> float:
    """What 1 in a unit is in base units: ``pages`` 4096, ``ms`` 0.001, ``count`` 1."""
    return page_bytes if unit == "pages" else _SIZES.get(unit) or _TIMES.get(unit, 1)


def round_size(size_bytes: float, rounding: str, *, page_bytes: int = PAGE_BYTES, down: bool = False) -> int:
    """The size an agent makes of ``size_bytes``: up (or down) to a page or a power of two of pages."""
    if rounding == "none":
        return math.floor(size_bytes) if down else math.ceil(size_bytes)
    pages = size_bytes / page_bytes
    count = max(1, math.floor(pages) if down else math.ceil(pages))
    if rounding == "power-of-two-pages":
        count = 1 << (count.bit_length() - 1) if down else 1 << (count - 1).bit_length()
    return count * page_bytes


def say(value: Setting, unit: str) -> str:
    """A setting in its own unit, for people: ``256KiB``, ``1 in 10`` (``none`` for all), ``20 ms``."""
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    if unit == "one-in-n":
        return "none" if str(value) in {"1", "1.0"} else f"1 in {value}"
    if unit == "bytes" and isinstance(value, int) and not isinstance(value, bool):
        return say_bytes(value)
    if isinstance(value, (str, bool, dict)) or unit == "count":
        return str(value)
    return f"{value:g} {unit}"


def say_bytes(size_bytes: float) -> str:
    """``262144`` as ``256 KiB``; exact where it divides evenly, else with one decimal."""
    for name, factor in reversed(_SIZES.items()):
        if abs(size_bytes) >= factor:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + f" {name}"
    return f"{size_bytes:g} bytes"


def say_seconds(seconds: float) -> str:
    """``0.02`` as ``20 ms``; from two hours on in hours."""
    if seconds >= 7200:
        return f"{seconds / 3600:.3g} h"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) is not None


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
        return float(value)
    if isinstance(value, str) and _is_number(value):
        return float(value)
    raise ValueError(f"expected a number, found {value!r}")


def _size(value: object, factor: int) -> int:
    if not isinstance(value, str) or _is_number(value):
        return int(_number(value) * factor)
    match = _SIZE_TEXT.match(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size such as 256KiB")
    number, _, letter, ending = match.groups()
    base = 1000 if ending == "B" and letter else 1024
    return int(float(number) * base ** _POWERS[letter.upper()])


def _seconds(value: object, factor: float) -> float:
    if not isinstance(value, str) or _is_number(value):
        return _number(value) * factor
    text = value.strip()
    if not text or _TIME_TEXT.sub("", text).strip():
        raise ValueError(f"{value!r} is not a duration such as 100ms")
    return sum(float(number) * _TIMES[unit] for number, unit in _TIME_TEXT.findall(text))


def _size_text(size_bytes: int, like: str) -> str:
    """The size with the largest suffix of the family in ``like`` that divides it evenly."""
    match = _SIZE_TEXT.match(like.strip())
    gap, letter, ending = (match[2], match[3], match[4] or "") if match else ("", "K", "iB")
    if not letter:  # "4096B": the smallest family there is
        return f"{size_bytes}{gap}{ending}"
    base = 1000 if ending == "B" else 1024
    power = 0
    while power < len(_LETTERS) and size_bytes and size_bytes % base ** (power + 1) == 0:
        power += 1
    if power == 0:
        return f"{size_bytes}{gap}{'B' if 'B' in ending else ''}"
    wanted = _LETTERS[power - 1]
    small = letter == "k" and power == 1
    return f"{size_bytes // base**power}{gap}{'k' if small else wanted}{ending}"


def _time_text(seconds: float, whole: Callable[[float], int]) -> str:
    """The duration in the largest of s, ms, us that gives a whole number."""
    micros = max(1, whole(round(seconds * 1e6, 3)))
    for unit, size in (("s", 1_000_000), ("ms", 1_000)):
        if micros % size == 0:
            return f"{micros // size}{unit}"
    return f"{micros}us"
