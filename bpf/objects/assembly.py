"""From the kernel's records to values: joined with holders and pins, and named.

Its promise: cheap to do again. A record that is byte for byte the same as in the read before gives
the very same value; most objects of a machine never change.

Not here: reading (``bpf.objects.iterators``), choosing the rung (``bpf.objects.inventory``).
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec

from bpf.objects import fallback
from bpf.objects.iterators import (
    FILE,
    HOLDS_LINK,
    HOLDS_MAP,
    HOLDS_PROGRAM,
    LINK,
    MAP,
    PROGRAM,
    Iterators,
    Record,
)
from bpf.objects.names import (
    LINK_TYPES,
    MAP_TYPES,
    PERF_EVENT,
    PROGRAM_TYPES,
    RAW_TRACEPOINT,
    TRACING_KINDS,
    named,
    perf_place,
    text,
)
from bpf.objects.pins import Pins
from bpf.objects.ringbuf import MAP_TYPE_RINGBUF
from bpf.syscall import program_info
from engine.values import BpfLink, BpfMap, BpfProgram, Inventory

_PERF_ATTACHED = frozenset(("kprobe", "tracepoint", "perf_event"))
_TRACING = frozenset(("tracing", "lsm"))
Owners = dict[int, dict[int, tuple[int, ...]]]
Value = TypeVar("Value", BpfLink, BpfMap, BpfProgram)


class Assembly:
    """Joins and names the kernel's records.

    A record that is byte for byte the same as in the read before gives the very same value again:
    making values is the dearest part, and most objects of a machine never change. All is forgotten
    when the holders, pins or links change, which other values are made from.
    """

    def __init__(self, kernel: Iterators) -> None:
        self.kernel = kernel
        self.booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.context: tuple[object, ...] = ()
        self.made: dict[str, dict[bytes, object]] = {}
        self.whole: dict[str, tuple[bytes, tuple[object, ...]]] = {}
        self.perf_unseen = False

    def inventory(self, pinned: Pins) -> Inventory:
        """Everything there is now."""
        kernel, taken_at = self.kernel, time.time()
        files = kernel.read("files")
        links = kernel.read("links") if kernel.has_links else fallback.links()
        if self.context != (files, links, pinned):
            self.context, self.pinned = (files, links, pinned), pinned
            self.made.clear()
            self.whole.clear()
            self.owners, self.comms = _owners(files, kernel)
            self.linked = _places(links) if isinstance(links, bytes) else _places_of_values(links)
        self.perf_places: dict[int, list[str]] | None = None
        self.fleeting: set[bytes] = set()
        return Inventory(
            taken_at=taken_at,
            source="iterators",
            programs=self._values("programs", kernel.read("programs"), PROGRAM.size, self._program),
            maps=self._values("maps", kernel.read("maps"), MAP.size, self._map),
            links=(
                self._values("links", links, LINK.size, self._link)
                if isinstance(links, bytes)
                else tuple(self._held(link) for link in links if link.id not in kernel.own_links)
            ),
            comms=self.comms,
            notes=self._notes(),
        )

    def _values(
        self, kind: str, raw: bytes, size: int, make: Callable[[bytes], Value | None]
    ) -> tuple[Value, ...]:
        """One value per record, our own objects left out; none made anew when the kernel tells the same."""
        whole, same = self.whole.get(kind, (b"", ()))
        if whole == raw:
            return cast("tuple[Value, ...]", same)
        before = cast("dict[bytes, Value | None]", self.made.get(kind, {}))
        records = [raw[at : at + size] for at in range(0, len(raw), size)]
        values = [before.get(record) or make(record) for record in records]
        self.made[kind] = dict(zip(records, values, strict=True))
        for record in self.fleeting:
            self.made[kind].pop(record, None)
        found = tuple(filter(None, values))
        self.whole[kind] = (b"", ()) if self.fleeting else (raw, found)
        return found

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if not self.kernel.has_links:
            notes.append("links were listed one by one: this kernel has no link iterator (5.19)")
        if self.perf_unseen:
            notes.append("programs attached through perf events without a link show no place")
        return tuple(notes)

    def _link(self, record: bytes) -> BpfLink | None:
        link_id, kind, program_id, *_ = fields = LINK.unpack(record)
        if link_id in self.kernel.own_links:
            return None
        kind_name = named(LINK_TYPES, kind)
        return self._held(
            BpfLink(id=link_id, type=kind_name, program_id=program_id, attached_to=_place(fields))
        )

    def _held(self, link: BpfLink) -> BpfLink:
        """With its holders and pins."""
        return msgspec.structs.replace(
            link,
            owners=self.owners[HOLDS_LINK].get(link.id, ()),
            pinned=self.pinned.get(("link", link.id), ()),
        )

    def _map(self, record: bytes) -> BpfMap | None:
        (map_id, kind, key_size, value_size, max_entries, flags, btf_id, frozen, *rest) = MAP.unpack(record)
        entries, producer, consumer, name = rest
        if map_id in self.kernel.own_maps:
            return None
        return BpfMap(
            id=map_id,
            name=text(name),
            type=named(MAP_TYPES, kind),
            key_size=key_size,
            value_size=value_size,
            max_entries=max_entries,
            flags=flags,
            btf_id=btf_id,
            entries=entries if entries >= 0 else None,
            fill_bytes=producer - consumer if kind == MAP_TYPE_RINGBUF else None,
            frozen=bool(frozen),
            owners=self.owners[HOLDS_MAP].get(map_id, ()),
            pinned=self.pinned.get(("map", map_id), ()),
        )

    def _program(self, record: bytes) -> BpfProgram | None:
        program_id, kind, attach_type, _, verified, pages, btf_id, _, *rest = PROGRAM.unpack(record)
        load_time, runs, run_ns, misses, name, place = rest
        if program_id in self.kernel.own_programs:
            return None
        if not self.kernel.has_run_times:
            self.fleeting.add(record)
            info = program_info(program_id)
            runs, run_ns, misses = info.run_cnt, info.run_time_ns, info.recursion_misses
        type_name = named(PROGRAM_TYPES, kind)
        if type_name in _TRACING:
            where = f"{named(TRACING_KINDS, attach_type)} {text(place)}"
        else:
            where = ", ".join(self._places_of(program_id, type_name, record))
        return BpfProgram(
            id=program_id,
            name=text(name),
            type=type_name,
            run_ns=run_ns,
            run_count=runs,
            recursion_misses=misses,
            verified_insns=verified,
            loaded_at=self.booted_at + load_time / 1e9,
            memory_bytes=pages * mmap.PAGESIZE,
            btf_id=btf_id,
            attached_to=where,
            owners=self.owners[HOLDS_PROGRAM].get(program_id, ()),
            pinned=self.pinned.get(("prog", program_id), ()),
        )

    def _places_of(self, program_id: int, type_name: str, record: bytes) -> list[str]:
        """Where it is attached: by links, else through perf events, which are read once if need be."""
        if program_id in self.linked or type_name not in _PERF_ATTACHED:
            return self.linked.get(program_id, [])
        self.fleeting.add(record)  # may be attached and detached without a trace in what we compare
        if self.perf_places is None:
            records = self.kernel.perf_files()
            self.perf_unseen = records is None
            self.perf_places = _places(records or b"")
        return self.perf_places.get(program_id, [])


def _place(fields: Record) -> str:
    """Where one link (or perf event) record says its program is attached; empty if it can't."""
    _, kind, _, perf_type, perf_config, group, place = fields
    if kind == RAW_TRACEPOINT:
        return f"raw_tp {text(place)}"
    return perf_place(perf_type, perf_config, text(group), text(place)) if kind == PERF_EVENT else ""


def _places(records: bytes) -> dict[int, list[str]]:
    """The places of each program id, each place once."""
    places: dict[int, list[str]] = {}
    for fields in LINK.iter_unpack(records):
        known, where = places.setdefault(fields[2], []), _place(fields)
        if where and where not in known:
            known.append(where)
    return places


def _places_of_values(links: tuple[BpfLink, ...]) -> dict[int, list[str]]:
    """The same from links that were listed one by one."""
    places: dict[int, list[str]] = {}
    for link in links:
        if link.attached_to:
            places.setdefault(link.program_id, []).append(link.attached_to)
    return places


def _owners(files: bytes, kernel: Iterators) -> tuple[Owners, dict[int, str]]:
    """Pids by kind and object id, each once; and the name of each pid. Without the reader itself."""
    own = {HOLDS_MAP: kernel.own_maps, HOLDS_PROGRAM: kernel.own_programs, HOLDS_LINK: kernel.own_links}
    held: Owners = {HOLDS_MAP: {}, HOLDS_PROGRAM: {}, HOLDS_LINK: {}}
    comms: dict[int, str] = {}
    for kind, object_id, pid, _, comm in FILE.iter_unpack(files):
        if object_id in own[kind]:
            continue
        pids = held[kind].get(object_id, ())
        if pid not in pids:
            held[kind][object_id] = (*pids, pid)
        if pid not in comms:
            comms[pid] = text(comm)
    return held, comms
