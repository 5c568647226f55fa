"""How fast an agent's memory grows, and how much is still to come: the arithmetic of limits.

Not here: which limit (``memory_limit``), what is left around it (``knobs.memory_groups``).
"""

from __future__ import annotations

import math
from typing import Any

from remediations.knobs.units import say_seconds
from remediations.planning import Question


def growth_of(asked: Question[Any], *, needed: bool = True) -> float:
    """Bytes a second that the group grows by; 0 when it does not.

    The group's own figure counts where the agent is alone in it; else its memory and its maps'. Where its
    allocations, watched afterwards, keep more, that counts: growth follows the load.
    """
    parts = [asked.number(f"memory.{part}slope_bytes_per_s") for part in ("", "map_")]
    own, maps = parts
    known = [part for part in parts if part is not None]
    whole = asked.number("memory.cgroup_slope_bytes_per_s")
    if whole is None or asked.number("memory.cgroup_others"):
        if not known and needed:
            asked.need("memory.slope_bytes_per_s")
        whole = sum(known)
    later = asked.number("alloc.net_bytes_per_s")
    if later is not None and own is not None:
        whole = max(whole, later + (maps or 0.0))
    return max(0.0, whole)


def until_full(asked: Question[Any]) -> float:
    """What is still to come where only one map grows, which ends when it is full; else without end."""
    name, each = asked.case.text("maps.name"), asked.number("maps.entry_bytes")
    most, entries = asked.number("maps.max_entries"), asked.number("maps.entries")
    alone = asked.number("memory.growing") == 0 and asked.number("memory.map_growing") == 1
    top = asked.case.text("memory.top_map") or ""
    if not alone or not name or not each or most is None or entries is None or not top.startswith(name):
        return math.inf
    return max(0.0, most - entries) * each


def lasting(left: float, growth: float) -> str:
    """How long so many bytes last at so many a second."""
    return say_long(max(0.0, left) / growth) if growth > 0 else "for good: nothing grows"


def say_long(seconds: float) -> str:
    """As people say it: ``24 h``, ``12.5 min``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return say_seconds(seconds)
