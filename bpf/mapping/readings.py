"""From a watched map to the readings, the table and the chart of ``map-fill``.

Its promise: every number says where it comes from, and what can't be known is missing with its reason.

Not here: watching (``bpf.mapping.watching``), which map (``bpf.probes.map_fill``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bpf.mapping import memory, owners
from bpf.mapping.filling import Entries
from bpf.mapping.keys import Layout
from bpf.mapping.watching import Watched
from bpf.objects.iterators import possible_cpus
from bpf.objects.names import text
from bpf.syscall import MapInfo
from engine.values import Reading, Scalar

_INFO = "the kernel's facts of the map"
_WALK = "looks at its keys"
_NO_LOOKS = "its keys could not be compared from look to look"


class Row(NamedTuple):
    """One map in the table of all: its facts, its count at both ends, and its memory."""

    info: MapInfo
    first: Entries
    last: Entries
    seconds: float
    memory: int | None

    @property
    def fill(self) -> float | None:
        """Share in use; None where entries can't be counted."""
        return None if self.last.number is None else self.last.number / max(1, self.info.max_entries)

    def columns(self) -> dict[str, Scalar]:
        """As a row of the table."""
        info, now, then = self.info, self.last.number, self.first.number
        grown = None if now is None or then is None or self.seconds <= 0 else (now - then) / self.seconds
        return {
            "id": info.id,
            "name": text(info.name),
            "type": memory.kind(info),
            "entries": now,
            "max_entries": info.max_entries,
            "fill_share": self.fill,
            "growth_per_s": grown,
            "bytes": self.memory,
        }


def readings_of(watched: Watched, row: Row, *, refused: Reading, all_bytes: int | None) -> dict[str, Reading]:
    """All readings of the map that was watched."""
    return {
        **_facts(watched),
        **_filling(watched, row),
        **_owners(watched),
        **_movement(watched),
        "refused_per_s": refused,
        "maps_bytes": _reading(all_bytes, "bytes", "fdinfo of each map", "the kernel does not say"),
    }


def _reading(value: Scalar, unit: str = "", source: str = "", missing: str = "") -> Reading:
    return Reading(value=value, unit=unit, source=source, missing="" if value is not None else missing)


def _facts(watched: Watched) -> dict[str, Reading]:
    info, layout = watched.info, watched.facts.layout
    kind = memory.kind(info)
    return {
        "name": _reading(text(info.name), source=_INFO),
        "id": _reading(info.id, source=_INFO),
        "type": _reading(kind, source=_INFO),
        "max_entries": _reading(info.max_entries, "entries", _INFO),
        "key_bytes": _reading(info.key_size, "bytes", _INFO),
        "value_bytes": _reading(info.value_size, "bytes", _INFO),
        "entry_bytes": _reading(
            memory.entry_bytes(info, possible_cpus()),
            "bytes",
            "the kernel's structures",
            f"entries of a {kind} map are not allocated one by one",
        ),
        "preallocated": _reading(memory.preallocated(info), source=_INFO),
        "per_cpu": _reading("percpu" in kind, source=_INFO),
        "evicts": _reading(memory.evicts(info), source=_INFO),
        "cleanable": _reading(not watched.facts.fixed, source=watched.facts.fixed or _INFO),
        **_layout(layout, watched),
    }


def _layout(layout: Layout, watched: Watched) -> dict[str, Reading]:
    at = layout.at if layout.of_process else None
    no_owner = "its keys hold no process that is known of"
    return {
        "key_kind": _reading(layout.kind, source=layout.words),
        "key_source": _reading(layout.source or None, source=layout.words, missing=watched.unknown),
        "pid_at": _reading(at, "bytes", layout.words, no_owner),
        "pid_size": _reading(None if at is None else layout.size, "bytes", layout.words, no_owner),
        "time_at": _reading(
            watched.facts.time_at, "bytes", "profile or types", "no moment of use is known of in its values"
        ),
    }


def _filling(watched: Watched, row: Row) -> dict[str, Reading]:
    info, counts, last = watched.info, watched.counts, watched.last
    fill, entries = row.fill, last.number
    grown = _growth(counts)
    return {
        "entries": _reading(entries, "entries", last.source, last.source),
        "fill_share": _reading(fill, "share", last.source, last.source),
        "pressure": _reading(0.0 if memory.evicts(info) else fill, "share", last.source, last.source),
        "growth_per_s": _reading(grown, "entries/s", last.source, "it was counted only once"),
        "full_in_s": _full_in(entries, info.max_entries, grown),
        "bytes": _reading(row.memory, "bytes", "fdinfo", "the kernel does not say"),
    }


def _growth(counts: tuple[tuple[float, int], ...]) -> float | None:
    """Entries per second between the first and the last count."""
    if len(counts) < 2 or counts[-1][0] <= counts[0][0]:
        return None
    return (counts[-1][1] - counts[0][1]) / (counts[-1][0] - counts[0][0])


def _full_in(entries: int | None, most: int, grown: float | None) -> Reading:
    if entries is None:
        return _reading(None, missing="its entries can't be counted")
    if entries >= most:
        return _reading(0.0, "s", "it is full")
    if grown is None or grown <= 0:
        return _reading(None, "s", missing="it does not grow")
    return _reading((most - entries) / grown, "s", "the room left / growth")


def _owners(watched: Watched) -> dict[str, Reading]:
    seen, why = watched.staleness, watched.unknown
    names = ("checked_entries", "owners", "live_owners", "entries_per_owner")
    if seen is None or not seen.checked:
        why = why if seen is None else "no entry was there at both looks"
        wanted = ("stale_entries", "stale_share", "stale_low", "stale_high", *names)
        return {name: _reading(None, missing=why) for name in wanted}
    share, (low, high) = seen.stale / seen.checked, owners.confidence(seen.stale, seen.checked)
    if watched.whole:
        low = high = share
    told = f"two looks at {seen.checked:,} entries" + ("" if watched.whole else ", a part of them")
    entries = watched.last.number or seen.checked
    per_owner = seen.of_live / seen.live if seen.live else None
    return {
        "stale_entries": _reading(seen.stale if watched.whole else round(share * entries), "entries", told),
        "stale_share": _reading(share, "share", told),
        "stale_low": _reading(low, "share", told),
        "stale_high": _reading(high, "share", told),
        "checked_entries": _reading(seen.checked, "entries", told),
        "owners": _reading(seen.owners, "", told),
        "live_owners": _reading(seen.live, "", told),
        "entries_per_owner": _reading(per_owner, "entries", told, "no owner is alive"),
    }


def _movement(watched: Watched) -> dict[str, Reading]:
    seen = watched.movement
    churn = None if seen.came is None or seen.went is None else min(seen.came, seen.went)
    told = f"{_WALK}, {seen.looks} of them: at least"
    rates: Mapping[str, float | None] = {
        "new_keys_per_s": seen.came,
        "gone_keys_per_s": seen.went,
        "churn_per_s": churn,
        "distinct_growth": seen.first_seen,
        "used_per_s": seen.used,
    }
    return {
        **{name: _reading(rate, "entries/s", told, _NO_LOOKS) for name, rate in rates.items()},
        "used_share": _reading(seen.used_share, "share", _WALK, _NO_LOOKS),
        "unused_s": _reading(
            watched.unused_s, "s", "the moments in its values", "its values tell no moment of use"
        ),
    }
