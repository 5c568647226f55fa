"""Events at a place in the kernel, counted by process and system call with a small program of ours.

Its promise: every event is counted, or told as one that found no room; nobody's program is touched.

Not here: which places (``bpf.probes.event_sources``), what the counts mean (``bpf.flow.source_readings``).
Cost: 30 to 60 ns an event; up to 16 MiB of memory a place.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from bpf.libbpf import BpfObject
from bpf.objects import maps
from bpf.objects.attach_points import Place
from bpf.objects.iterators import possible_cpus
from bpf.objects.loaded import Loaded
from bpf.objects.names import text

_OBJECT = Path(__file__).parents[1] / "probes" / "event_sources.bpf.o"
_KEY = struct.Struct("=II")  # struct source
_TALLY = struct.Struct("=QI16sI")  # struct tally, one per possible CPU
_POINTS = {"sys_enter": 1, "sys_exit": 2}
_WANTED_WORDS = 16
#: Sources counted at one place, and what their table may take on a machine with many CPUs.
_MOST_SOURCES, _MOST_BYTES = 16384, 16 << 20
#: In the place of a system call's number: the event is none.
NO_CALL = 0xFFFFFFFF


class Seen(NamedTuple):
    """One process's use of one system call (or none) so far."""

    events: int
    uid: int
    comm: str


Tallies = dict[tuple[int, int], Seen]


class Counter(Loaded):
    """Our program at one place, and what it has counted."""

    def __init__(self, place: Place) -> None:
        super().__init__(_OBJECT)
        self.place = place
        with self._set_up() as ours:
            self._attach(ours, place)

    def _attach(self, ours: BpfObject, place: Place) -> None:
        ours.set_global("point", struct.pack("=I", _POINTS.get(place.tracepoint, 0)))
        if place.calls:
            words = [0] * _WANTED_WORDS
            for call in place.calls:
                words[call // 64] |= 1 << call % 64
            ours.set_global("wanted", struct.pack(f"={_WANTED_WORDS}Q", *words))
            ours.set_global("only_wanted", struct.pack("=I", 1))
        room = _MOST_BYTES // (_TALLY.size * possible_cpus())
        ours.set_max_entries("tallies", min(_MOST_SOURCES, room))
        ours.skip("on_function" if place.tracepoint else "on_event")
        ours.load()
        self._map_id = self._id("tallies")
        if place.tracepoint:
            ours.attach_raw_tracepoint("on_event", place.tracepoint)
        else:
            ours.attach_kprobe("on_function", place.function)

    def read(self) -> Tallies:
        """Counts so far, all CPUs together."""
        seen: Tallies = {}
        for keys, values in maps.lookup_batch(self._map_id):
            step = len(values) // (len(keys) // _KEY.size)
            for at, key in enumerate(_KEY.iter_unpack(keys)):
                parts = [part for part in _TALLY.iter_unpack(values[at * step : (at + 1) * step]) if part[0]]
                if parts:
                    seen[key] = Seen(sum(part[0] for part in parts), parts[0][1], text(parts[0][2]))
        return seen

    def not_counted(self) -> int:
        """Events of processes that found no room in the table."""
        return int.from_bytes(self._object.get_global("not_counted"), "little")


def since(before: Tallies, after: Tallies) -> Tallies:
    """What came in between."""
    rows = {}
    for key, now in after.items():
        events = now.events - (before[key].events if key in before else 0)
        if events > 0:
            rows[key] = now._replace(events=events)
    return rows
