"""Events lost for want of room in a ring buffer, counted in the kernel, for any agent.

The kernel keeps no such count. Up to 6.12 a small program of ours sees every reserve that fails and
counts it by map id: exact, equal to an agent's own counter. From 6.13 on the helpers can't be traced;
``supported`` then says so and other sources must serve (the agent's counters, "full for N ms").

Costs about 20 ns per event of the whole machine while it is open.
Not here: other sources of loss (the ``event-flow`` probe).
"""

from __future__ import annotations

import struct
from pathlib import Path

from bpf.closing import Closing
from bpf.libbpf import BpfError, BpfObject, usable
from bpf.objects import maps
from bpf.syscall import MapInfo, ask
from engine.values import Support

_OBJECT = Path(__file__).parents[1] / "probes" / "ringbuf_drops.bpf.o"
_PROGRAMS = ("on_reserve", "on_output", "on_reserve_dynptr")
#: Programs that kernels lack, newest helper first: each is tried with less.
_LACKING = ((), ("on_reserve_dynptr",))


class FailedReserves(Closing):
    """Counts from the moment it is made until ``close``."""

    def __init__(self) -> None:
        self._object = _attached()
        self._map_id = ask(self._object.map("failures").fd, MapInfo()).id

    def close(self) -> None:
        """Detach."""
        self._object.close()

    def read(self) -> dict[int, int]:
        """Failed reserves so far by ring's map id; a ring that lost nothing is not in it."""
        seen = {}
        for keys, values in maps.lookup_batch(self._map_id):
            ids, counts = struct.iter_unpack("=I", keys), struct.iter_unpack("=Q", values)
            seen.update({map_id: count for (map_id,), (count,) in zip(ids, counts, strict=True)})
        return seen


def supported() -> Support:
    """Whether this kernel lets failed reserves be counted. Tries it: 20 ms."""
    here = usable(loading=True)
    if here.answer != "yes":
        return here
    try:
        FailedReserves().close()
    except BpfError as error:
        return Support(
            answer="no",
            why=f"this kernel does not let ring buffer reserves be traced ({error.problem.splitlines()[0]})",
            fix="none: the helper is traceable to 6.12 only; use the agent's own drop counter",
        )
    return Support(answer="yes", why="failed reserves can be counted in the kernel")


def _attached() -> BpfObject:
    """The object with as many of its programs as the kernel takes; the last try's error if none."""
    for lacking in _LACKING[:-1]:
        try:
            return _attach_without(lacking)
        except BpfError:
            continue
    return _attach_without(_LACKING[-1])


def _attach_without(lacking: tuple[str, ...]) -> BpfObject:
    ours = BpfObject.open(_OBJECT)
    try:
        for program in lacking:
            ours.skip(program)
        ours.load()
        for program in _PROGRAMS:
            if program not in lacking:
                ours.attach(program)
    except BaseException:
        ours.close()
        raise
    return ours
