"""How many entries each of some maps holds, again and again, at a bounded price.

The kernel's own counts of all hash maps of the machine come in one read (6.6, with BTF: 5 µs each at any
size). Without them a part of each map is walked and the rest is reckoned from the share of its buckets.
Arrays are always full, and not counted.

Not here: what the entries are (``bpf.mapping.elements``).
"""

from __future__ import annotations

from typing import NamedTuple

from bpf.mapping import elements
from bpf.mapping.memory import kind
from bpf.objects import maps
from bpf.objects.iterators import MAP, IfIterators
from bpf.syscall import MapInfo

#: Kinds with keys of their own, whose number is worth knowing.
COUNTED = frozenset(
    (
        *("hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "hash_of_maps", "lpm_trie", "stack_trace"),
        *("sockhash", "devmap_hash", *maps.SLOTS),
    )
)


class Entries(NamedTuple):
    """How many, and which rung told it; None with the reason in ``source``."""

    number: int | None
    source: str


class Filling(IfIterators):
    """Counts; keeps the kernel's iterators loaded until ``close``."""

    @property
    def note(self) -> str:
        """Why the kernel's own counts are not there; empty when they are."""
        return f"the kernel can't count entries: {self.why_not}" if self.why_not else ""

    @property
    def own_maps(self) -> frozenset[int]:
        """Maps of ours, which nobody wants to see."""
        return self._iterators.own_maps if self._iterators else frozenset()

    def by_kernel(self) -> dict[int, int]:
        """The kernel's own count of every hash map of the machine, by id."""
        if self._iterators is None:
            return {}
        records = MAP.iter_unpack(self._iterators.read("maps"))
        return {record[0]: record[8] for record in records if record[8] >= 0}


def entries(info: MapInfo, by_kernel: dict[int, int], at_most: int) -> Entries:
    """How many entries one map holds, by the best rung there is.

    Args:
        info: The map's facts.
        by_kernel: As ``Filling.by_kernel`` gave it.
        at_most: So many entries are walked; those of a larger map are reckoned, or unknown.

    Raises:
        BpfError: It is gone.
    """
    if info.id in by_kernel:
        return Entries(by_kernel[info.id], "the kernel's element count")
    name = kind(info)
    if name not in COUNTED:
        return Entries(None, f"a map of kind {name} has no entries to count")
    if name in maps.SLOTS:
        if info.max_entries > at_most:
            return Entries(None, f"{info.max_entries:,} slots are too many to look into")
        return Entries(maps.count(info.id).entries, "lookups")
    seen = elements.look(info.id, at_most)
    count = seen.entries()
    if count is None:
        return Entries(None, f"more than {len(seen.elements):,}: too many to walk")
    walked = "batched walk" if seen.batched else "key walk"
    return Entries(count, walked if seen.whole else f"{walked} of {seen.share:.0%} of its buckets")
