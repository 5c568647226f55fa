"""Which of all maps of a target is full first, by what they grew in the window.

Its promise: a map that evicts is never one of them, and neither is one whose growth is a few entries.

Not here: watching one map closely (``bpf.mapping.watching``).
"""

from __future__ import annotations

from collections.abc import Iterable

from bpf.mapping import memory
from bpf.mapping.readings import Row
from bpf.objects.names import text
from engine.values import Reading

#: Entries that a map must gain in the window, and share of those it has, to be called growing.
_ENTRIES, _SHARE = 32, 0.005
_HERE = "count of each map's entries at both ends of the window"
_NAMES = ("soonest_map", "soonest_id", "soonest_growth_per_s")
#: Stands for "longer than anybody plans": none grows.
FOR_GOOD_S = 10 * 365 * 86_400.0


def readings(rows: Iterable[Row]) -> dict[str, Reading]:
    """The map that is full first, its growth and the time until then; ten years when none grows."""
    growing = [found for row in rows if (found := _full_in(row)) is not None]
    if not growing:
        none = "no map that refuses what does not fit grows"
        said = {name: Reading(missing=none) for name in _NAMES}
        return said | {"soonest_full_in_s": Reading(value=FOR_GOOD_S, unit="s", source=none)}
    in_s, growth, row = min(growing, key=lambda one: one[0])
    return {
        "soonest_map": Reading(value=text(row.info.name), source=_HERE),
        "soonest_id": Reading(value=row.info.id, source=_HERE),
        "soonest_growth_per_s": Reading(value=growth, unit="entries/s", source=_HERE),
        "soonest_full_in_s": Reading(value=in_s, unit="s", source="the room left / growth"),
    }


def _full_in(row: Row) -> tuple[float, float, Row] | None:
    """Seconds until a map is full, its growth, and the map; None when it does not grow."""
    now, then = row.last.number, row.first.number
    if now is None or then is None or row.seconds <= 0 or memory.evicts(row.info):
        return None
    if now - then < max(_ENTRIES, _SHARE * now):
        return None
    growth = (now - then) / row.seconds
    return max(0, row.info.max_entries - now) / growth, growth, row
