"""A bounded look at the elements of a map that others are changing: the same part of it each time.

Its promise: two looks can be compared exactly, however large the map. A hash table is read bucket by
bucket from the first one on, and a look remembers how far it came: what lies below that place in both
looks has come, gone or stayed; nothing is taken for new because an earlier look stopped short of it.

One element costs about 1 µs: 0.2 µs in the kernel, the rest to tell its value's digest. Values are not
kept. Kernel 5.6; below that, and for maps that are no hash tables, looks that did not reach the end
can't be compared, and say so.

Not here: counting by the kernel (``bpf.objects.maps``), whose the elements are (``bpf.mapping.owners``).
"""

from __future__ import annotations

import errno
import math
import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from bpf.libbpf import BpfError
from bpf.objects import maps
from bpf.objects.names import MAP_TYPES
from bpf.syscall import MapInfo, ask, opened

#: Kinds whose place in a batched walk is a bucket number.
TABLES = frozenset(("hash", "percpu_hash", "lru_hash", "lru_percpu_hash"))
_AT_ONCE = 4096  # elements a batch: small, so that looks that stop short of the end stop near each other
_CLOCK = struct.Struct("=Q")


class Element(NamedTuple):
    """What is kept of one element: its value's digest, and the moment that stands in the value, if any."""

    digest: int
    time_ns: int


class Look(NamedTuple):
    """The elements that one look saw, in the order of the walk.

    Attributes:
        elements: By key.
        stops: After how many elements all buckets below which one had been read.
        whole: It came to the end of the map.
        share: Share of the map's buckets that it read; 1 when whole; None when that can't be told.
        batched: Read in batches, not key by key.
    """

    elements: dict[bytes, Element]
    stops: tuple[tuple[int, float], ...]
    whole: bool
    share: float | None
    batched: bool = True

    @property
    def reach(self) -> float:
        """All buckets below this one were read."""
        return self.stops[-1][1] if self.stops else 0.0

    def below(self, bucket: float) -> Mapping[bytes, Element]:
        """The elements that surely lie below a bucket; all but a batch of those that do."""
        if bucket >= self.reach:
            return self.elements
        count = max((count for count, stop in self.stops if stop <= bucket), default=0)
        return dict(islice(self.elements.items(), count))

    def entries(self) -> int | None:
        """How many elements the map holds, by what was seen of it."""
        return round(len(self.elements) / self.share) if self.share else None


def look(map_id: int, at_most: int, time_at: int | None = None) -> Look:
    """Read up to about so many elements.

    Args:
        map_id: Anybody's map.
        at_most: Elements after which the walk stops, at the end of a batch.
        time_at: Where in a value a 64-bit moment stands, if one does.

    Raises:
        BpfError: It is gone, or its elements can't be read at all.
    """
    with opened("map", map_id) as fd:
        info = ask(fd, MapInfo())
        try:
            return _by_batches(fd, info, at_most, time_at)
        except BpfError as error:
            if error.number not in (errno.EINVAL, errno.EOPNOTSUPP, 524):  # ENOTSUPP
                raise
            return _by_keys(fd, info, at_most, time_at)


def sample(map_id: int, at_most: int = 512) -> list[tuple[bytes, bytes]]:
    """Some keys with their values, as they come; values that can't be looked up are empty."""
    with opened("map", map_id) as fd:
        info = ask(fd, MapInfo())
        return [(key, maps.lookup(fd, info, key) or b"") for key in islice(maps.keys(fd, info), at_most)]


def buckets(info: MapInfo) -> int:
    """How many buckets a hash table has: max_entries up to a power of two (kernel/bpf/hashtab.c)."""
    return 1 << int(max(0, info.max_entries - 1)).bit_length()


def _by_batches(fd: int, info: MapInfo, at_most: int, time_at: int | None) -> Look:
    table = MAP_TYPES.get(info.type) in TABLES
    elements: dict[bytes, Element] = {}
    stops: list[tuple[int, float]] = []
    whole = True
    for batch in maps.batches(fd, info, _AT_ONCE):
        elements.update(_taken(batch, info, time_at))
        stops.append((len(elements), math.inf if batch.bucket is None else batch.bucket if table else 0))
        if len(elements) >= at_most and batch.bucket is not None:
            whole = False
            break
    if whole:
        return Look(elements, (*stops, (len(elements), math.inf)), True, 1.0)
    return Look(elements, tuple(stops), False, stops[-1][1] / buckets(info) if table else None)


def _taken(batch: maps.Batch, info: MapInfo, time_at: int | None) -> Iterator[tuple[bytes, Element]]:
    width = maps.value_bytes(info)
    keys = memoryview(batch.keys.raw)[: batch.found * info.key_size]
    values = batch.values.raw
    read = _CLOCK.unpack_from if time_at is not None and time_at + 8 <= width else None
    for number, (key,) in enumerate(struct.iter_unpack(f"{info.key_size}s", keys)):
        start = number * width
        moment = read(values, start + time_at)[0] if read and time_at is not None else 0
        yield key, Element(hash(values[start : start + width]), moment)


def _by_keys(fd: int, info: MapInfo, at_most: int, time_at: int | None) -> Look:
    elements: dict[bytes, Element] = {}
    whole = True
    for key in maps.keys(fd, info):
        if len(elements) >= at_most:
            whole = False
            break
        value = maps.lookup(fd, info, key)
        if value is None:
            elements[key] = Element(0, 0)
            continue
        timed = time_at is not None and time_at + 8 <= len(value)
        moment = _CLOCK.unpack_from(value, time_at)[0] if timed and time_at is not None else 0
        elements[key] = Element(hash(value), moment)
    stops = ((len(elements), math.inf if whole else 0.0),)
    return Look(elements, stops, whole, 1.0 if whole else None, batched=False)
