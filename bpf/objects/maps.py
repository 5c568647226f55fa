"""Counting, reading and deleting the elements of anybody's maps, in batches.

Counting asks the best rung there is: the kernel's own count of a hash map (6.6: microseconds at
any size), else a batched walk (5.6: 0.2 µs per element), else key by key (0.7 µs). A walk over a map
that changes meanwhile may miss or repeat elements; it never harms the agent.

Deleting is here for the hands of later runbooks' probes; nothing in this room calls it on an
agent's map. Not here: which elements are stale (diagnoses decide).
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterable, Iterator
from ctypes import byref, c_uint32, c_uint64
from pathlib import Path
from typing import NamedTuple

import msgspec

from bpf.libbpf import BpfError, check, failure, library
from bpf.objects.iterators import possible_cpus
from bpf.objects.names import MAP_TYPES
from bpf.syscall import MapInfo, ask, opened

#: Per-CPU types: a value is one part per possible CPU, each rounded up to 8 bytes.
PER_CPU = frozenset(("percpu_hash", "percpu_array", "lru_percpu_hash"))
#: Types whose number of elements is their size.
ARRAYS = frozenset(
    ("array", "percpu_array", "prog_array", "perf_event_array", "cgroup_array", "array_of_maps")
)
#: Types that are slots, most of them empty: only a lookup of each tells.
SLOTS = frozenset(("sockmap", "devmap", "cpumap"))
_BATCH = 65536  # elements a call; small ones cost system calls, big ones memory
_BATCH_BYTES = 8 << 20  # and no more than this, whatever a value takes
_ENOTSUPP = 524


class _Options(ctypes.Structure):
    """``struct bpf_map_batch_opts``."""

    _fields_ = (("sz", ctypes.c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64))


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many elements a map holds.

    Attributes:
        entries: Elements.
        source: The rung that served: ``element count``, ``batched walk``, ``key walk``, ``lookups`` or
            ``size``.
    """

    entries: int
    source: str


def count(map_id: int, element_count: int | None = None) -> Counted:
    """The number of elements in a map.

    Args:
        map_id: Anybody's map.
        element_count: ``BpfMap.entries`` of an inventory, when one is at hand: the cheapest rung.

    Raises:
        BpfError: It is gone, not ours to see, or of a kind that has no elements to walk.
    """
    if element_count is not None:
        return Counted(entries=element_count, source="element count")
    with opened("map", map_id) as fd:
        info = ask(fd, MapInfo())
        if MAP_TYPES.get(info.type) in ARRAYS:
            return Counted(entries=info.max_entries, source="size")
        if MAP_TYPES.get(info.type) in SLOTS:
            return Counted(entries=_slots_in_use(fd, info), source="lookups")
        try:
            walked = sum(batch.found for batch in batches(fd, info))
        except BpfError as error:
            if error.number not in (errno.EINVAL, errno.EOPNOTSUPP, _ENOTSUPP):
                raise
            return Counted(entries=sum(1 for _ in keys(fd, info)), source="key walk")
        return Counted(entries=walked, source="batched walk")


def lookup_batch(map_id: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values side by side, as whole batches: ``(n keys, n values)`` joined bytes.

    Slice by ``key_size`` and ``value_bytes``; ``struct.iter_unpack`` reads both fast. Kernel 5.6
    (per-CPU arrays 5.13).
    """
    with opened("map", map_id) as fd:
        info = ask(fd, MapInfo())
        for batch in batches(fd, info):
            yield (
                batch.keys.raw[: batch.found * info.key_size],
                batch.values.raw[: batch.found * value_bytes(info)],
            )


def delete_batch(map_id: int, keys: Iterable[bytes]) -> int:
    """Delete these keys; those that are gone already are passed over. Gives how many went.

    4 ms for 25,000 keys. Kernel 5.6.
    """
    left = list(keys)
    gone = 0
    with opened("map", map_id) as fd:
        while left:
            part = left[:_BATCH]
            done = c_uint32(len(part))
            options = _Options(ctypes.sizeof(_Options), 0, 0)
            result = library().bpf_map_delete_batch(fd, b"".join(part), byref(done), byref(options))
            if result < 0 and -result != errno.ENOENT:
                raise failure(f"elements of map {map_id} could not be deleted", -result)
            gone += done.value
            left = left[done.value + 1 :] if result < 0 else left[len(part) :]
    return gone


def value_bytes(info: MapInfo) -> int:
    """Bytes one value takes in a read: for per-CPU maps a part for each possible CPU."""
    if MAP_TYPES.get(info.type) not in PER_CPU:
        return int(info.value_size)
    return (int(info.value_size) + 7 & ~7) * possible_cpus()


def read_array(map_id: int, index: int = 0) -> bytes:
    """One value of an array (all CPUs' parts, for a per-CPU one). One call, 1 µs."""
    with opened("map", map_id) as fd:
        value = ctypes.create_string_buffer(value_bytes(ask(fd, MapInfo())))
        result = library().bpf_map_lookup_elem(fd, byref(c_uint32(index)), value)
        check(result, f"element {index} of map {map_id} could not be read")
        return bytes(value)


def sum_percpu(map_id: int, index: int = 0) -> int:
    """The sum over all CPUs of a per-CPU array's number (up to 8 bytes, unsigned)."""
    with opened("map", map_id) as fd:
        size = ask(fd, MapInfo()).value_size
    if size > 8:
        raise BpfError(
            f"values of map {map_id} are {size} bytes, no single number", fix="read_array gives them"
        )
    raw, step = read_array(map_id, index), 8
    return sum(int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), step))


def memory_bytes(map_id: int) -> int | None:
    """What the kernel says the map takes (fdinfo's memlock); None where it does not say.

    From 6.4 it is real use; before, a figure made from the map's size alone.
    """
    with opened("map", map_id) as fd:
        facts = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii", "replace")
    for line in facts.splitlines():
        if line.startswith("memlock:"):
            return int(line.split()[1])
    return None


class Batch(NamedTuple):
    """Elements side by side; the buffers are used again for the next one.

    Attributes:
        found: Elements in it.
        bucket: For hash tables: all buckets below this one have been read; None at the end.
    """

    keys: ctypes.Array[ctypes.c_char]
    values: ctypes.Array[ctypes.c_char]
    found: int
    bucket: int | None


def batches(fd: int, info: MapInfo, at_once: int = _BATCH) -> Iterator[Batch]:
    """Keys, values and how many, batch after batch. Kernel 5.6.

    Args:
        fd: Of the map.
        info: Its facts.
        at_once: Elements in a batch at most; more where one bucket of a hash table holds more.

    Raises:
        BpfError: The map is of a kind that can't be read in batches, or is gone.
    """
    room = max(64, _BATCH_BYTES // max(info.key_size + value_bytes(info), 1))
    size = min(at_once, room, max(info.max_entries, 1))
    lib, options = library(), _Options(ctypes.sizeof(_Options), 0, 0)
    place = ctypes.create_string_buffer(max(info.key_size, 8))
    start = None
    while True:
        found_keys = ctypes.create_string_buffer(size * info.key_size)
        values = ctypes.create_string_buffer(size * value_bytes(info))
        while True:
            found = c_uint32(size)
            result = lib.bpf_map_lookup_batch(
                fd, start, place, found_keys, values, byref(found), byref(options)
            )
            if result < 0 and -result != errno.ENOENT:  # ENOENT: the end
                break
            bucket = None if result < 0 else int.from_bytes(place.raw[:4], sys.byteorder)
            if found.value:
                yield Batch(found_keys, values, found.value, bucket)
            if result < 0:
                return
            start = place
        if -result != errno.ENOSPC or size >= info.max_entries:
            raise failure(f"map {info.id} could not be read in batches", -result)
        size = min(2 * size, info.max_entries)  # one bucket holds more than a batch


def keys(fd: int, info: MapInfo) -> Iterator[bytes]:
    """Key after key; the slow rung.

    Raises:
        BpfError: The map is of a kind without keys to walk over, or is gone.
    """
    step = library().bpf_map_get_next_key
    key = ctypes.create_string_buffer(info.key_size)
    result = step(fd, None, key)
    while result == 0:
        yield key.raw
        result = step(fd, key, key)
    if -result != errno.ENOENT:
        raise failure(f"map {info.id} could not be walked", -result)


def lookup(fd: int, info: MapInfo, key: bytes) -> bytes | None:
    """The value of a key; None where there is none, or where this kind of map does not tell it."""
    value = ctypes.create_string_buffer(value_bytes(info))
    return value.raw if library().bpf_map_lookup_elem(fd, key, value) == 0 else None


def _slots_in_use(fd: int, info: MapInfo) -> int:
    if MAP_TYPES.get(info.type) == "sockmap" and info.value_size != 8:
        raise BpfError(
            f"sockets in map {info.id} can't be looked up: its values are {info.value_size} bytes",
            fix="only a sockmap with values of 8 bytes tells which of its slots are in use",
        )
    return sum(lookup(fd, info, key) is not None for key in keys(fd, info))
