"""What an entry of a map takes in memory, by the kernel's own structures.

Sources: kernel/bpf/hashtab.c (``struct htab_elem``, ``struct bucket``), kernel/bpf/memalloc.c (slab
sizes), kernel/bpf/lpm_trie.c. Right for 64-bit kernels; checked against what the kernel accounts.

Not here: what the kernel says the whole map takes (``bpf.objects.maps.memory_bytes``).
"""

from __future__ import annotations

from bpf.objects.names import MAP_TYPES
from bpf.syscall import MapInfo

NO_PREALLOC, OWN_LISTS = 1 << 0, 1 << 1  # BPF_F_NO_PREALLOC, BPF_F_NO_COMMON_LRU
_HEAD = 48  # struct htab_elem before the key
_SLABS = (16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)  # bpf_mem_alloc, kernel 6.1
_LINK = 8  # struct llist_node before each object of bpf_mem_alloc
_TRIE_NODE = 40  # struct lpm_trie_node before its data
_TABLES = ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "hash_of_maps")


def kind(info: MapInfo) -> str:
    """Its name: ``hash``, ``lru_hash``, or ``type-99`` when this kernel is newer than we are."""
    return MAP_TYPES.get(info.type) or f"type-{info.type}"


def preallocated(info: MapInfo) -> bool:
    """Whether all entries are allocated when the map is made."""
    name = kind(info)
    if name.startswith("lru_"):
        return True
    return not info.map_flags & NO_PREALLOC and name != "lpm_trie"


def evicts(info: MapInfo) -> bool:
    """Whether a full map drops an old entry for a new one."""
    return kind(info).startswith("lru_")


def entry_bytes(info: MapInfo, cpus: int) -> int | None:
    """What one more entry takes; None for kinds whose entries are not allocated one by one."""
    name = kind(info)
    if name == "lpm_trie":
        return _slab(_TRIE_NODE + info.key_size - 4 + info.value_size)
    if name not in _TABLES:
        return None
    value = _eight(info.value_size)
    apart = "percpu" in name
    element = _HEAD + _eight(info.key_size) + (8 if apart else value)
    if not preallocated(info):
        element = _slab(element)
    return element + (value * cpus if apart else 0)


def _eight(size: int) -> int:
    return size + 7 & ~7


def _slab(size: int) -> int:
    return next((slab for slab in _SLABS if slab >= size + _LINK), size + _LINK)
