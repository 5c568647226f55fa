"""Numbers, sizes, spans and moments as people read them.

One promise: the same value looks the same on the terminal, in a report and in an audit, and
no text that came from outside (an alert, an agent, a log line) can steer the terminal.

Not here: layout (``engine.terminal.live``, ``engine.reports``), parsing what people write
(``engine.units``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

UNKNOWN = "unknown"

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"))


def count(value: float) -> str:
    """A number with thousands marked and no more digits than matter: ``18,400``, ``0.35``."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def compact(value: float) -> str:
    """A number short enough for an axis: ``18.4k``, ``1.2M``."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def size(octets: float) -> str:
    """Bytes in binary units: ``256 KiB``, ``1.5 MiB``."""
    value, unit = float(octets), 0
    if not math.isfinite(value):
        return f"{value} B"
    while abs(value) >= 1024 and unit < len(_SIZES) - 1:
        value, unit = value / 1024, unit + 1
    figure = f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
    return f"{figure} {_SIZES[unit]}"


def span(seconds: float) -> str:
    """A stretch of time: ``12 ms``, ``4.2 s``, ``1 min 30 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds == 0 or not math.isfinite(seconds):
        return f"{seconds:g} s"
    for limit, factor, unit in _SPANS:
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 10 and seconds != int(seconds) else f"{seconds:.0f} s"
    whole = round(seconds)
    for large, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {names[0]}" + (f" {rest} {names[1]}" if rest else "")
    return f"{whole} s"


def share(value: float) -> str:
    """A share of one as per cent: ``0.9987`` → ``99.9 %``; never rounded up to 100 % or down to 0 %."""
    percent = value * 100
    if 0 < abs(percent) < 0.01:
        return "< 0.01 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent == round(percent) or abs(percent) >= 100 else f"{percent:.3g} %"


def measure(value: object, unit: str = "") -> str:
    """A measured value with its unit: ``18,400/s``, ``256 KiB``, ``93 %``, ``0.4 cores``."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return plain(str(value))
    if unit in _UNITS:
        return _UNITS[unit](value)
    return f"{count(value)}/s" if unit.endswith("/s") else f"{count(value)} {unit}".rstrip()


def _cores(value: float) -> str:
    return f"{count(round(value, 3))} {'core' if value == 1 else 'cores'}"


_UNITS: dict[str, Callable[[float], str]] = {
    "bytes": size,
    "bytes/s": lambda value: f"{size(value)}/s",
    "share": share,
    "%": lambda value: f"{count(value)} %",
    "s": span,
    "ns": lambda value: span(value / 1e9),
    "cores": _cores,
    "count": count,
    "id": lambda value: str(int(value)),
    "moment": lambda value: _date(value, "%H:%M:%S"),
}


def typed(value: object, kind: str) -> str:
    """An input's value by its type in the runbook: ``10 s`` for a duration, ``64 MiB`` for bytes."""
    units = {"duration": "s", "bytes": "bytes", "share": "share", "rate": "events/s"}
    return setting(value) if isinstance(value, list | dict) else measure(value, units.get(kind, ""))


def unit_of(name: str) -> str:
    """The unit that a reading's name tells: ``flow.dropped_per_s`` → ``events/s``; else empty."""
    last = name.rpartition(".")[2]
    if last.startswith("fill_"):
        return "share"
    if last == "at":
        return "moment"
    if last in _IDS or last.endswith(("_id", "_pid")):
        return "id"
    return next((unit for ending, unit in _ENDINGS if f"_{last}".endswith(ending)), "")


_IDS = frozenset({"id", "pid", "tid", "uid", "map"})
_ENDINGS = (
    ("bytes_in_per_s", "bytes/s"),
    ("bytes_out_per_s", "bytes/s"),
    ("_s_per_s", "s/s"),
    ("_per_s", "events/s"),
    ("_bytes", "bytes"),
    ("_share", "share"),
    ("_cores", "cores"),
    ("_ns_per_run", "ns"),
    ("_s", "s"),
)


def setting(value: object) -> str:
    """A setting, input or captured value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(key))}: {setting(item)}" for key, item in value.items()) or "-"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(setting(item) for item in value) or "-"
    return "not set" if value is None else measure(value)


def moment(epoch: float | None) -> str | None:
    """ISO-8601 in UTC to the second, ``2026-11-22T03:01:12Z``; None stays None."""
    return None if epoch is None else _date(epoch, "%Y-%m-%dT%H:%M:%SZ")


def day_and_time(epoch: float) -> str:
    """A moment for people: ``2026-11-22 03:01:12 UTC``."""
    return _date(epoch, "%Y-%m-%d %H:%M:%S UTC")


def _date(epoch: float, form: str) -> str:
    """A moment in UTC. What is no date is shown as it is: a journal that holds such can still be read."""
    try:
        return time.strftime(form, time.gmtime(epoch))
    except (OverflowError, ValueError, OSError):
        return f"no date ({epoch:g})"


def since(start: float, at: float) -> str:
    """A moment within a run, from its start: ``+0:07``, ``+1:02:33``."""
    passed = at - start
    if not math.isfinite(passed):
        return UNKNOWN
    minutes, seconds = divmod(max(0, int(passed)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"+{hours}:{minutes:02}:{seconds:02}" if hours else f"+{minutes}:{seconds:02}"


def plain(words: str) -> str:
    r"""Text from outside without control characters, so that it can't steer a terminal.

    Newlines and tabs become spaces; escape, bell, backspace, C1 controls and the marks that
    turn the direction of writing become visible ``\x1b`` forms.
    """
    if words.isprintable():
        return words
    return "".join(
        mark if mark.isprintable() else " " if mark in "\n\r\t\u2028\u2029" else ascii(mark)[1:-1]
        for mark in words
    )


def several(number: int, one: str, many: str = "") -> str:
    """``1 change``, ``2 changes``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
