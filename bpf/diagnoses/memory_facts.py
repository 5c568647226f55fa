"""What follows from the numbers that ``memory-growth`` decides from, before any cause is named.

Its promise: growth counts only when it is certain, and heap and maps are divided by bytes.

Not here: the numbers themselves (``memory_numbers``), the rules (``memory_heap``, ``memory_maps``).
"""

from __future__ import annotations

import math

import msgspec

from bpf.diagnoses.memory_numbers import Group, Heap, Maps, Sites, first, group_of, heap_of, maps_of, sites_of
from engine.values import Case

#: Below this share of its first half's growth, a growth is on its way to a bound.
SLOWS = 0.7
#: The same where allocations are seen to replace older ones, this share of them at least.
BENDS, REPLACES = 0.95, 0.2
#: Bytes kept by the allocations that were watched afterwards, over the growth of the second half: from
#: here on the growth went on as it was. In the allocator's own sizes, and in those asked for, which are less.
WENT_ON, WENT_ON_ASKED = 0.8, 0.65
#: Share of a heap that is free from which its allocator is worth naming, and from how much on.
MUCH_FREE, FREE_BYTES = 0.3, 8 << 20
#: Entries of processes that are gone: share of the map from which they are the trouble.
MUCH_STALE = 0.5
#: A map grows when at most this share of its new keys went again.
FEW_GO = 0.3
#: A map threatens memory when it would take this share of what is left before it is full.
THREATENS = 0.25
#: What an allocator takes from the kernel at once (glibc: M_TOP_PAD).
STEP_BYTES = 132 << 10


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    window_s: float
    events: float | None
    heap: Heap
    sites: Sites
    maps: Maps
    group: Group

    @property
    def heap_grows(self) -> bool:
        """The processes' own memory grows for certain."""
        return bool(self.heap.growing)

    @property
    def slows(self) -> bool:
        """What grew is on its way to a bound, or at it."""
        if self.heap.slowing is None:
            return self.heap.plateau and (self.heap.grown or 0.0) > STEP_BYTES * 4
        slower = self.heap.slowing <= SLOWS or (self.heap.slowing <= BENDS and self.replaced >= REPLACES)
        return slower and not self.went_on

    @property
    def replaced(self) -> float:
        """Of the allocations, the share that comes with a free of something older."""
        s = self.sites
        return min(1.0, (s.older_frees or 0.0) / s.allocations) if s.allocations else 0.0

    @property
    def went_on(self) -> bool:
        """Allocations, watched afterwards, keep what its second half grew by and replace nothing."""
        s, late = self.sites, self.heap.late
        if not late or late <= 0:
            return False
        if s.net is not None:
            return s.net >= WENT_ON * late
        asked = s.per_s if s.growing and s.per_s and self.replaced < REPLACES else 0.0
        return asked >= WENT_ON_ASKED * late

    @property
    def entries_grow(self) -> bool:
        """Keys come to a map that refuses when it is full, and hardly any go; or it is full that way."""
        m = self.maps
        if m.evicts or not m.entries or not m.most:
            return False
        full = m.entries >= 0.98 * m.most and bool(m.refused)
        came = m.new if m.new is not None else m.growth
        if not came or came <= 0:
            return full
        stays = (m.gone or 0.0) <= FEW_GO * came
        enough = (m.growth or 0.0) * self.window_s >= max(32.0, 0.005 * m.entries)
        return stays and (enough or full)

    @property
    def stale(self) -> bool:
        """Most entries belong to processes that are gone; with what 95 % confidence can still be told."""
        least = self.maps.stale_low if self.maps.stale_low is not None else self.maps.stale
        return least is not None and least >= MUCH_STALE and (self.maps.stale_entries or 0.0) >= 100

    @property
    def map_growth(self) -> float:
        """Bytes a second that maps take or fill: of a preallocated one what its new entries fill."""
        filled = (self.maps.growth or 0.0) * (self.maps.entry_bytes or 0.0) if self.entries_grow else 0.0
        taken = (self.maps.slope or 0.0) if self.maps.growing else 0.0
        return max(filled, taken, 0.0)

    @property
    def threatens(self) -> bool:
        """The map that grows will press on memory before it is full; or nothing bounds it that is known."""
        m, (room, _) = self.maps, self.room
        if not m.growing:
            return False
        each = m.entry_bytes or ((m.slope or 0.0) / m.growth if m.growth else 0.0)
        if not self.entries_grow or not each or not m.top.startswith(m.name) or room is None:
            return True
        return ((m.most or 0.0) - (m.entries or 0.0)) * each >= THREATENS * room

    @property
    def heap_growth(self) -> float:
        """Bytes a second that the processes' own memory grows by; 0 when that is not certain."""
        return max(0.0, self.heap.slope or 0.0) if self.heap_grows else 0.0

    def share(self, growth: float) -> float:
        """Of all that grows, the share that one growth makes; 1 when nothing else grows."""
        whole = self.heap_growth + self.map_growth
        return min(1.0, growth / whole) if whole > 0 else 1.0

    @property
    def alone(self) -> bool:
        """The cgroup's figures are the target's."""
        return self.group.bytes is not None and not self.group.others

    @property
    def room(self) -> tuple[float | None, str]:
        """What is left before something ends it, and what that is."""
        known = [
            (left, name)
            for left, name in ((self.group.left, "its limit"), (self.group.host, "the host's memory"))
            if left is not None
        ]
        return min(known, default=(None, ""))

    def bound(self) -> tuple[float, float] | None:
        """Where a growth that slows will end, in bytes, and in how many seconds it is nearly there.

        Of a growth that decays: slopes in the two halves give the time constant.
        """
        early, late, anon = self.heap.early, self.heap.late, self.heap.anon
        if anon is None or not early or not late or not 0 < late < early:
            return None
        constant = (self.window_s / 2) / math.log(early / late)
        at_end = late * math.sqrt(late / early)
        return anon + at_end * constant, 3 * constant


def facts_of(case: Case) -> Facts:
    """Take the numbers from the evidence; what no probe saw is None."""
    seen = case.evidence["memory"]
    return Facts(
        window_s=max(1e-3, seen.ended_at - seen.started_at),
        events=first(case, "flow.in_per_s", "metrics.received_per_s", "work.events_per_s"),
        heap=heap_of(case),
        sites=sites_of(case),
        maps=maps_of(case),
        group=group_of(case),
    )
