"""A target's system calls, waits and sleeps, and ticks with its rings empty: counted in the kernel.

Its promise: counts of the window alone; the target's rings are asked how full they are, never read.

Not here: what the counts mean (``bpf.stacks.spinning``, ``bpf.probes.reader_work``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bpf.libbpf import BpfObject
from bpf.objects import maps
from bpf.objects.iterators import possible_cpus
from bpf.objects.loaded import Loaded
from bpf.objects.names import text
from bpf.stacks.sampler import online_cpus
from bpf.stacks.spinning import ThreadWork
from bpf.syscall import ProgramInfo, ask
from bpf.system import syscall_names

_OBJECT = Path(__file__).parents[1] / "probes" / "reader_work.bpf.o"
_TRACEPOINTS = {
    "on_switch": "sched_switch",
    "on_wakeup": "sched_wakeup",
    "on_enter": "sys_enter",
    "on_exit": "sys_exit",
}
_CALL = struct.Struct("=3Q")  # struct call
_THREAD = struct.Struct("=4I15Q16s")  # struct thread
_CALLS = 1024
#: Calls that wait for something to do, and how one tells that there was nothing: WAIT_… of the C.
_POLL, _SLEEP, _FUTEX = 1, 2, 3
_WAITS = {
    **dict.fromkeys(
        ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"), _POLL
    ),
    **dict.fromkeys(("nanosleep", "clock_nanosleep"), _SLEEP),
    "futex": _FUTEX,
}
MOST_RINGS = 4


class Call(NamedTuple):
    """One system call's use by the target: made, waits that ended, of these with nothing to do."""

    name: str
    made: int
    waited: int
    empty: int


class Watcher(Loaded):
    """Our programs, loaded and attached; ``start`` names the processes that they count.

    Args:
        rings: Ids of the target's ring buffers; more than ``MOST_RINGS`` are left out.
        hz: Ticks a second of each CPU's clock.
    """

    def __init__(self, rings: Sequence[int], hz: int) -> None:
        super().__init__(_OBJECT)
        with self._set_up() as ours:
            _load(ours, rings[:MOST_RINGS])
            self._links = [ours.attach_raw_tracepoint(*one) for one in _TRACEPOINTS.items()]
            self._links += [ours.attach_clock("on_tick", cpu, hz) for cpu in online_cpus()]

    def start(self, pids: Iterable[int]) -> None:
        """Count what these processes do from now on."""
        for pid in pids:
            self._target(pid)

    def stop(self) -> None:
        """Stop counting; the counts stay."""
        for link in self._links:
            link.close()

    @property
    def bpf_s(self) -> float:
        """Seconds that our programs ran, where somebody had run statistics on; else 0."""
        infos = (ask(self._object.program_fd(name), ProgramInfo()) for name in (*_TRACEPOINTS, "on_tick"))
        return sum(int(info.run_time_ns) for info in infos) / 1e9

    def calls(self) -> list[Call]:
        """The system calls that were made, most first; a number without a name is told by its number."""
        each = _CALL.size * possible_cpus()
        found = []
        for keys, values in maps.lookup_batch(self._id("calls")):
            for place, (number,) in enumerate(struct.iter_unpack("=I", keys)):
                parts = zip(*_CALL.iter_unpack(values[place * each : (place + 1) * each]), strict=True)
                found.append(Call(syscall_names.name_of(number), *(sum(part) for part in parts)))
        return sorted(found, key=lambda call: -call.made)

    def threads(self) -> list[ThreadWork]:
        """The threads that ran."""
        found = []
        for keys, values in maps.lookup_batch(self._id("threads")):
            for (tid,), row in zip(struct.iter_unpack("=I", keys), _THREAD.iter_unpack(values), strict=True):
                read, sleeps, asked, ran, ticks, awake, empty, comm = row[12:]
                found.append(
                    ThreadWork(tid, text(comm), read, sleeps, asked / 1e9, ran / 1e9, ticks, awake, empty)
                )
        return found


def _load(ours: BpfObject, rings: Sequence[int]) -> None:
    ours.set_global("rings", struct.pack("=I", len(rings)))
    numbers = {name: number for number, name in syscall_names.table().items()}
    kinds = bytearray(_CALLS)
    for name, kind in _WAITS.items():
        if numbers.get(name, _CALLS) < _CALLS:
            kinds[numbers[name]] = kind
    ours.set_global("waits", bytes(kinds))
    for place, ring in enumerate(rings):
        ours.reuse_map(f"ring_{place}", ring)
    ours.load()
