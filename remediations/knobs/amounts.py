"""What a knob's setting amounts to on a machine, what the agent makes of it, and how to write an amount.

One promise: what ``written`` gives back amounts, on that machine and as the agent reads it, to exactly
what it says, keeps the knob's bounds, and is never the value that means "no limit".

Units and styles alone: ``units``. Here also presets, doublings, rounding, buffers per CPU.

Not here: where a setting stands (the backends), which amount is right (the remediations).
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path
from typing import Literal

from engine.values import Host, Knob, Setting
from remediations.knobs import units

Toward = Literal["up", "down"]
#: Knobs whose amounts are bytes or seconds whatever unit they are written in.
_BYTES, _SECONDS = ("ring-buffer-size", "memory-limit"), ("poll-interval",)
#: Durations are written in whole microseconds, cores in thousandths: what may be cut off, relatively.
_CUT, _EXACT = 1e-6, 1e-12
#: What fits, in words.
FITS = {
    "page": "a whole number of pages",
    "power-of-two": "a power of two",
    "power-of-two-pages": "a power of two of pages",
}


@cache
def here() -> Host:
    """This machine, as far as amounts depend on it."""
    try:
        last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-")
    except OSError:
        last = ""
    online = os.cpu_count() or 1
    number = last.rpartition("-")[2]
    possible = int(number) + 1 if number.isdigit() else online
    return Host(
        cpus=online, possible_cpus=possible, online_cpus=online, page_bytes=os.sysconf("SC_PAGE_SIZE")
    )


def of_the_knob(knob: Knob) -> bool:
    """Whether a value's amount hangs on more of the knob, or the machine, than the value and its unit."""
    return knob.unit in ("preset", "doublings", "pages") or knob.per == "cpu-share"


def unlimited(value: Setting, knob: Knob) -> bool:
    """Whether a value means "no limit"."""
    return knob.unbounded is not None and value is not None and str(value) == str(knob.unbounded)


def amount(value: Setting, knob: Knob, host: Host) -> Setting:
    """A value in base units as it is written, before the agent rounds it; infinity for "no limit".

    Raises:
        ValueError: It can't be read in the knob's unit.
    """
    return math.inf if unlimited(value, knob) else _amount(value, knob, host)


def _amount(value: Setting, knob: Knob, host: Host) -> Setting:
    if value is None:
        return None
    if knob.unit == "preset":
        return _preset(value, knob)
    if knob.unit == "doublings":
        number = units.effective(value, "count")
        return _whole((knob.base or 1.0) * 2.0 ** float(str(number)))
    found = units.effective(value, knob.unit, page_bytes=host.page_bytes)
    if knob.per == "cpu-share" and _is_number(found):
        return _whole(float(str(found)) * host.possible_cpus)
    return found


def made(value: Setting, knob: Knob, host: Host) -> Setting:
    """What the agent makes of a value: its amount, up to what fits.

    Raises:
        ValueError: It can't be read in the knob's unit.
    """
    found = amount(value, knob, host)
    return rounded(float(str(found)), knob, host) if _is_number(found) else found


def fits(value: Setting, knob: Knob, host: Host) -> bool:
    """Whether the agent takes a value as it is."""
    return amount(value, knob, host) == made(value, knob, host)


def rounded(size: float, knob: Knob, host: Host, *, down: bool = False) -> float | int:
    """The next amount that fits, up or down; never less than the least that fits. 0 stays 0."""
    if knob.rounding == "none" or knob.unit in ("preset", "doublings") or size <= 0 or math.isinf(size):
        return _whole(size)
    page = host.page_bytes
    step = units.one(knob.unit, page_bytes=page) * (host.possible_cpus if knob.per == "cpu-share" else 1)
    if knob.rounding != "power-of-two":
        if knob.rounding == "page" and knob.misfit == "refused":
            page = math.lcm(page, int(step))  # whole pages that can be written, too
        return units.round_size(size, knob.rounding, page_bytes=page, down=down)
    count = max(1, math.floor(size / step) if down else math.ceil(size / step))
    count = 1 << (count.bit_length() - 1) if down else 1 << (count - 1).bit_length()
    return _whole(count * step)


def bounds(knob: Knob, host: Host) -> tuple[float, float]:
    """The knob's least and greatest amount; 0 and infinity where there is none.

    Raises:
        ValueError: A bound can't be read in the knob's unit.
    """
    if knob.unit == "preset":
        amounts = [float(size) for _, size in _presets(knob)]
        return (min(amounts), max(amounts)) if amounts else (0.0, 0.0)
    low = _amount(knob.minimum, knob, host) if knob.minimum is not None else 0.0
    high = _amount(knob.maximum, knob, host) if knob.maximum is not None else math.inf
    return float(str(low)), float(str(high))


def written(
    size: float, knob: Knob, host: Host, *, like: Setting = None, toward: Toward = "up"
) -> tuple[Setting, float]:
    """A value for ``size`` (base units) in the style of ``like``, and what the agent makes of it.

    Args:
        size: What is wanted.
        knob: Whose.
        host: The machine it runs on.
        like: What stands there now or the default.
        toward: ``up``: at least ``size``, or the most that is allowed. ``down``: at most ``size``.

    Raises:
        ValueError: Nothing that fits is within the knob's bounds, or so small.
    """
    if knob.unit == "preset":
        value, result = _nearest_preset(size, knob, like, toward)
    elif knob.unit == "doublings":
        value, result = _doublings(size, knob, like, toward)
    else:
        value, result = _sized(size, knob, host, like, toward)
    if toward == "down" and result > size * (1 + _slack(knob)):
        raise ValueError(f"{say_amount(result, knob)} is the least that {knob.name} can be set to")
    return value, result


def buffers(knob: Knob, host: Host) -> int:
    """How many buffers of the knob's size the agent has: one, or one for each (group of) CPU."""
    if knob.per in ("total", "cpu-share") or knob.cpus_each == 0:
        return 1
    online = host.online_cpus or host.cpus
    return math.ceil((online if knob.per == "online-cpu" else host.possible_cpus) / knob.cpus_each)


def say_buffers(knob: Knob, host: Host) -> str:
    """`` × 8 CPUs``, `` × 4 (each for 2 of 8 CPUs)``; empty for a single one."""
    count = buffers(knob, host)
    if count == 1:
        return ""
    cpus = (host.online_cpus or host.cpus) if knob.per == "online-cpu" else host.possible_cpus
    return (
        f" × {count} CPUs"
        if knob.cpus_each == 1
        else f" × {count} (each for {knob.cpus_each} of {cpus} CPUs)"
    )


def say(value: Setting, knob: Knob, host: Host) -> str:
    """A setting for people, with what the agent makes of it where that is not plain: ``4 (8 MiB)``."""
    if unlimited(value, knob):
        return f"{value} (no limit)"
    text = str(value) if knob.unit in ("preset", "doublings") else units.say(value, knob.unit)
    try:
        plain = knob.unit not in ("preset", "doublings", "pages") and fits(value, knob, host)
        result = made(value, knob, host)
    except ValueError:
        return text
    if value is None or plain or not _is_number(result):
        return text
    return f"{text} ({say_amount(float(str(result)), knob)})"


def say_amount(size: float, knob: Knob) -> str:
    """An amount of a knob in base units, for people."""
    if knob.name in _BYTES or knob.unit in ("bytes", "KiB", "MiB", "GiB", "pages"):
        return units.say_bytes(size)
    if knob.name in _SECONDS or knob.unit in ("s", "ms", "us", "ns"):
        return units.say_seconds(size)
    return f"{size:,.10g}"


# ── presets and doublings ───────────────────────────────────────────────────────


def _preset(value: Setting, knob: Knob) -> float | int:
    key = f"{value:g}" if isinstance(value, float) else str(value).strip()
    if key not in knob.presets:
        raise ValueError(f"{value!r} is none of the presets {', '.join(knob.presets)}")
    return _whole(knob.presets[key])


def _presets(knob: Knob) -> list[tuple[str, float]]:
    """The presets that may be written, by amount."""
    low = -math.inf if knob.minimum is None else knob.minimum
    high = math.inf if knob.maximum is None else knob.maximum
    allowed = [
        (key, size)
        for key, size in knob.presets.items()
        if not unlimited(key, knob) and math.isfinite(size) and _between(low, key, high)
    ]
    return sorted(allowed, key=lambda one: one[1])


def _between(low: float, key: str, high: float) -> bool:
    try:
        return low <= float(key) <= high
    except ValueError:
        return True  # a word has no bounds


def _nearest_preset(size: float, knob: Knob, like: Setting, toward: Toward) -> tuple[Setting, float]:
    allowed = _presets(knob)
    if not allowed:
        raise ValueError(f"no preset of {knob.name} may be set")
    if toward == "up":
        key, result = next((one for one in allowed if one[1] >= size), allowed[-1])
    else:
        key, result = next((one for one in reversed(allowed) if one[1] <= size), allowed[0])
    number = not isinstance(like, str) and key.lstrip("-").isdigit()
    return (int(key) if number else key), result


def _doublings(size: float, knob: Knob, like: Setting, toward: Toward) -> tuple[Setting, float]:
    base = knob.base or 1.0
    exact = math.log2(max(size, 2.0**-64) / base)
    power = math.ceil(exact - 1e-9) if toward == "up" else math.floor(exact + 1e-9)
    low = -math.inf if knob.minimum is None else math.ceil(knob.minimum)
    high = math.inf if knob.maximum is None else math.floor(knob.maximum)
    if low > high:
        raise ValueError(f"nothing fits between {knob.minimum:g} and {knob.maximum:g}")
    power = int(min(max(power, low), high))
    if unlimited(power, knob):
        power += 1 if power + 1 <= high else -1
    return (str(power) if isinstance(like, str) else power), base * 2.0**power


# ── sizes, times and counts ─────────────────────────────────────────────────────


def _sized(size: float, knob: Knob, host: Host, like: Setting, toward: Toward) -> tuple[Setting, float]:
    low, high = bounds(knob, host)
    least, most = rounded(low, knob, host), rounded(high, knob, host, down=True)
    if most > high or least > most:
        raise ValueError(f"nothing that fits is between {say_amount(low, knob)} and {say_amount(high, knob)}")
    aim = min(max(rounded(size, knob, host, down=toward == "down"), least), most)
    # A unit coarser than the amount is rendered both ways; the agent may round what was cut off back up.
    ways: tuple[Toward, Toward] = ("down", "up")
    slack = _slack(knob)
    found = [
        (value, result)
        for value in (_render(aim, knob, host, like, way) for way in ways)
        for result in (float(str(made(value, knob, host))),)
        if low * (1 - slack) <= result <= high * (1 + slack) and not unlimited(value, knob)
        if knob.misfit == "rounded" or fits(value, knob, host)
    ]
    if not found:
        raise ValueError(f"{say_amount(aim, knob)} can't be written in {knob.unit}")
    if toward == "up":
        enough = [one for one in found if one[1] >= aim * (1 - slack)]
        return min(enough, key=lambda one: one[1]) if enough else max(found, key=lambda one: one[1])
    little = [one for one in found if one[1] <= aim * (1 + slack)]
    return max(little, key=lambda one: one[1]) if little else min(found, key=lambda one: one[1])


def _slack(knob: Knob) -> float:
    """By what share an amount may miss what was asked: sizes and counts only by how floats are summed."""
    return _CUT if knob.unit in ("s", "ms", "us", "ns", "cores", "share") else _EXACT


def _render(size: float, knob: Knob, host: Host, like: Setting, way: Toward) -> Setting:
    share = size / host.possible_cpus if knob.per == "cpu-share" else size
    return units.render(share, knob.unit, like, toward=way, page_bytes=host.page_bytes)


def _is_number(value: Setting) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: float) -> float | int:
    return int(value) if math.isfinite(value) and float(value).is_integer() else value
