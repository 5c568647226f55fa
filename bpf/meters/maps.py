"""BPF maps of all targets: elements in use, room, memory.

Its promise: elements are counted, never guessed: by the kernel's own count (6.6) at any size, by a walk
only up to ``WALK_AT_MOST`` elements' room. Larger maps of older kernels are left out.

Not here: growth and stale keys (the probe ``map-fill``), ring buffers' fill (``bpf.meters.rings``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bpf.libbpf import BpfError
from bpf.objects import maps
from engine.values import BpfMap, Family, Inventory, Sample, Target

#: Room of the largest map that is walked at every read: 13 ms.
WALK_AT_MOST = 65_536
#: Types of which a count of elements says something.
COUNTED = frozenset(
    ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "lpm_trie", "hash_of_maps", "sockhash", "sockmap")
)
_LABELS = ("map", "type", "id")


class MapMeter:
    """The meter ``maps``."""

    name = "maps"
    families: Mapping[str, Family] = {
        "bpf_map_entries": Family(help="Elements in use.", labels=_LABELS),
        "bpf_map_max_entries": Family(help="Elements that there is room for.", labels=_LABELS),
        "bpf_map_memory_bytes": Family(
            help="Memory of a map; to kernel 6.3 made from its size alone.", labels=_LABELS
        ),
    }

    def __init__(self, *, thorough: bool = False) -> None:
        self._walk_at_most = WALK_AT_MOST * (16 if thorough else 1)

    def read(self, targets: Sequence[Target], inventory: Inventory) -> Iterator[Sample]:
        """All maps of all targets; 10 µs a map, more where it must be walked."""
        known = {one.id: one for one in inventory.maps}
        for target in targets:
            for map_id in target.map_ids:
                if map_id in known:
                    yield from self._of(target.ref, known[map_id])

    def glance(self) -> None:
        """Nothing peaks here."""

    def close(self) -> None:
        """Nothing is open."""

    def _of(self, ref: str, one: BpfMap) -> Iterator[Sample]:
        labels = (one.name, one.type, str(one.id))

        def sample(family: str, value: float) -> Sample:
            return Sample(family=family, value=value, target=ref, labels=labels)

        try:
            if one.type in COUNTED:
                entries = self._entries(one)
                yield sample("bpf_map_max_entries", float(one.max_entries))
                if entries is not None:
                    yield sample("bpf_map_entries", float(entries))
            memory = maps.memory_bytes(one.id)
            if memory is not None:
                yield sample("bpf_map_memory_bytes", float(memory))
        except (BpfError, OSError):  # it has gone since
            return

    def _entries(self, one: BpfMap) -> int | None:
        if one.entries is None and one.max_entries > self._walk_at_most:
            return None
        return maps.count(one.id, one.entries).entries
