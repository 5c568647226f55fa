"""The numbers that ``map-pressure`` decides from, taken from the case, and what follows from them.

Its promise: a number that was not measured is None here, so a rule has to say what it does without it.

Not here: the rules (``map_rules``).
"""

from __future__ import annotations

import msgspec

from engine.values import Case

#: From this fill on a map is in trouble; and when it will be full within so many seconds.
NEAR, SOON_S = 0.7, 86_400.0
#: An entry is in use when its value changed in the window; of a map in use, at least this share does.
IN_USE, HARDLY_USED = 0.5, 0.2
#: From this share of gone owners on a leak is worth naming.
STALE = 0.1
#: Keys never seen before, as a share of the entries, from which on keys are ever new.
EVER_NEW = 0.01
#: How far an owner that was found in this way is believed.
BELIEVED = {"profile": 1.0, "types": 0.97, "sampled": 0.7}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one map; rates per second, shares 0 to 1, sizes in bytes."""

    window_s: float
    name: str
    kind: str
    entries: float
    most: float
    fill: float
    growth: float | None
    full_in_s: float | None
    stale: float | None
    stale_low: float | None
    stale_entries: float | None
    checked: float | None
    key_kind: str
    key_source: str
    key_words: str
    owners: float | None
    live_owners: float | None
    per_owner: float | None
    came: float | None
    went: float | None
    first_seen: float | None
    used: float | None
    used_per_s: float | None
    unused_s: float | None
    refused: float | None
    evicts: bool
    bytes: float | None

    @property
    def troubled(self) -> bool:
        """Near full, or soon."""
        soon = self.full_in_s is not None and self.full_in_s <= SOON_S
        return self.fill >= NEAR or soon

    @property
    def full(self) -> bool:
        """No room is left; a map with room for each CPU apart refuses a little earlier."""
        return self.fill >= 0.99

    @property
    def live(self) -> float | None:
        """Share of the checked entries whose owner is alive."""
        return None if self.stale is None else 1.0 - self.stale

    @property
    def lifetime_s(self) -> float | None:
        """How long an entry stays, on average: entries / removals."""
        return self.entries / self.went if self.went else None

    @property
    def ever_new(self) -> bool | None:
        """Keys that the window had not seen before keep coming; None where that can't be told."""
        if self.first_seen is None:
            return None
        return self.first_seen * self.window_s >= max(2.0, EVER_NEW * self.entries)

    @property
    def never_removed(self) -> bool:
        """Next to nothing disappears, compared with what comes; or nothing at all."""
        return self.went is not None and self.went <= 0.02 * (self.came or 0.0)


def facts_of(case: Case) -> Facts | None:
    """Take the numbers from the evidence; None when no map was counted."""
    seen = case.evidence.get("maps")
    entries, most, fill = (case.number(f"maps.{name}") for name in ("entries", "max_entries", "fill_share"))
    if seen is None or entries is None or most is None or fill is None:
        return None
    kind = seen.readings.get("key_kind")
    return Facts(
        window_s=seen.ended_at - seen.started_at,
        name=case.text("maps.name") or "",
        kind=case.text("maps.type") or "",
        entries=entries,
        most=most,
        fill=fill,
        growth=case.number("maps.growth_per_s"),
        full_in_s=case.number("maps.full_in_s"),
        stale=case.number("maps.stale_share"),
        stale_low=case.number("maps.stale_low"),
        stale_entries=case.number("maps.stale_entries"),
        checked=case.number("maps.checked_entries"),
        key_kind=case.text("maps.key_kind") or "unknown",
        key_source=case.text("maps.key_source") or "",
        key_words=kind.source if kind is not None else "",
        owners=case.number("maps.owners"),
        live_owners=case.number("maps.live_owners"),
        per_owner=case.number("maps.entries_per_owner"),
        came=case.number("maps.new_keys_per_s"),
        went=case.number("maps.gone_keys_per_s"),
        first_seen=case.number("maps.distinct_growth"),
        used=case.number("maps.used_share"),
        used_per_s=case.number("maps.used_per_s"),
        unused_s=case.number("maps.unused_s"),
        refused=case.number("maps.refused_per_s"),
        evicts=bool(case.number("maps.evicts")),
        bytes=case.number("maps.bytes"),
    )
