"""Stacks of a target, taken at each tick of a clock on every CPU, counted in the kernel.

Its promise: every sample that is counted is told, with its thread and both its stacks, or as lost;
nothing is written by the kernel in between, so a window costs the same however it is read.

1 to 4 µs a tick, on each CPU; at most 22 MB of memory for a long window on many CPUs.
Not here: names of addresses (``bpf.stacks.naming``), what the stacks say (``bpf.stacks.folding``).
Source: ``perf_event_open(2)``; ``bpf_get_stackid`` in bpf-helpers(7), kernel 4.9.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bpf.libbpf import BpfObject, Link, library
from bpf.objects import maps
from bpf.objects.loaded import Loaded
from bpf.objects.names import text
from bpf.stacks.programs import Code

_OBJECT = Path(__file__).parents[1] / "probes" / "cpu_profile.bpf.o"
_PLACE = struct.Struct("=IIii")  # struct place
_SEEN = struct.Struct("=Q16s")  # struct seen
_FRAMES = 127
_FURTHER = 1 << 24  # in the number of a stack: it lies in the second map
_STACK = struct.Struct(f"={_FRAMES}Q")
_ONLINE = Path("/sys/devices/system/cpu/online")
#: Room for different stacks: each takes 1 KB. Beyond it samples are lost, and said to be.
_LEAST_STACKS, _MOST_STACKS = 1024, 16384


class Sample(NamedTuple):
    """Equal samples of one thread.

    Attributes:
        pid: 0 for a process that is not the target, caught in one of the target's BPF programs.
        comm: The thread's name.
        user, kernel: Addresses, innermost first; empty where it was not there.
    """

    pid: int
    tid: int
    comm: str
    samples: int
    user: tuple[int, ...]
    kernel: tuple[int, ...]


class Sampler(Loaded):
    """Our program, loaded; ``start`` lets the clocks tick, ``read`` gives what they saw.

    Args:
        pids: Processes of the target.
        programs: Code of the target's BPF programs; without it none of their samples in other
            processes can be told.
        expected: About so many samples are to be expected at most.
    """

    def __init__(self, pids: Iterable[int], programs: Iterable[Code], expected: int) -> None:
        super().__init__(_OBJECT)
        self._clocks: list[Link] = []
        with self._set_up() as ours:
            _load(ours, list(programs), expected)
            for pid in pids:
                self._target(pid)

    def start(self, hz: int) -> None:
        """Let a clock tick on each CPU. 30 µs a CPU."""
        for cpu in online_cpus():
            self._clocks.append(self._object.attach_clock("on_tick", cpu, hz))

    def stop(self) -> None:
        """Stop the clocks; what was counted stays."""
        for clock in self._clocks:
            clock.close()

    @property
    def taken(self) -> int:
        """Samples so far."""
        return self._number("taken")

    @property
    def lost(self) -> int:
        """Samples that found no room."""
        return self._number("without_room")

    @property
    def bpf_s(self) -> float:
        """Seconds that our ticks have taken so far, over all CPUs."""
        return self._number("spent_ns") / 1e9

    def read(self) -> list[Sample]:
        """All samples. 5 µs for each different stack."""
        return [
            Sample(pid, tid, text(comm), samples, self._frames(user), self._frames(kernel))
            for pid, tid, user, kernel, samples, comm in self._places()
        ]

    def _number(self, name: str) -> int:
        return int.from_bytes(self._object.get_global(name), "little")

    def _places(self) -> Iterable[tuple[int, int, int, int, int, bytes]]:
        for keys, values in maps.lookup_batch(self._id("places")):
            for place, seen in zip(_PLACE.iter_unpack(keys), _SEEN.iter_unpack(values), strict=True):
                yield (*place, *seen)

    def _frames(self, stack: int) -> tuple[int, ...]:
        if stack < 0:
            return ()
        room = bytearray(_STACK.size)
        held = self._object.map("further_stacks" if stack & _FURTHER else "stacks").fd
        address = (ctypes.c_char * len(room)).from_buffer(room)
        if library().bpf_map_lookup_elem(held, struct.pack("=I", stack & ~_FURTHER), address) < 0:
            return ()
        frames = _STACK.unpack(room)
        return frames[: frames.index(0)] if 0 in frames else frames


def _load(ours: BpfObject, programs: list[Code], expected: int) -> None:
    if programs:
        ours.set_global("programs_from", struct.pack("=Q", min(code.start for code in programs)))
        ours.set_global("programs_to", struct.pack("=Q", max(code.end for code in programs)))
    room = min(max(2 * expected, _LEAST_STACKS), _MOST_STACKS)
    room = 1 << (room - 1).bit_length()
    ours.set_max_entries("stacks", room)
    ours.set_max_entries("further_stacks", room // 4)
    ours.load()


def online_cpus(path: Path = _ONLINE) -> list[int]:
    """The CPUs that run now: ``0-3,6`` → 0, 1, 2, 3, 6."""
    spans = [span.partition("-") for span in path.read_text("ascii").strip().split(",")]
    return [cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1)]
