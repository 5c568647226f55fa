"""The rings of a target: found, opened, and followed when the agent replaces them.

Its promise: an agent that makes a new ring (a reload) is noticed within a second; what was seen
of the old ring and of the new one is kept apart.

Not here: what the positions mean (``bpf.flow.trace``).
"""

from __future__ import annotations

from bpf.flow import perf_rings
from bpf.flow.readings import RingSeen
from bpf.flow.sampling import RingSamples
from bpf.flow.trace import Trace
from bpf.objects.ringbuf import RingWatch
from bpf.syscall import map_info
from bpf.system.procfs import PERF_EVENT_ARRAY, RINGBUF, held_maps
from engine.errors import ProbeFailed, RunbookError
from engine.values import Target


class Rings:
    """All rings of a target, mapped.

    Attributes:
        open: Those that are sampled now; replaced as a whole, so that it can be read at any time.
        notes: What could not be opened, what was replaced.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._retired: list[RingSamples] = []
        self.notes: list[str] = []
        held = self._held()
        named = target.rings or tuple(target.map_ids) or tuple(held)
        opened = (self._opened(map_id, asked=map_id in target.rings) for map_id in named)
        rings = tuple(ring for ring in opened if ring)
        perf = next((map_id for map_id in (*named, *held) if held.get(map_id) == PERF_EVENT_ARRAY), None)
        self.open: tuple[RingSamples, ...] = rings or self._perf(perf)
        self._followed = {ring.map_id for ring in self.open} & held.keys()

    def follow(self) -> None:
        """Look whether the target still holds its rings; open those it made in their place."""
        held = self._held()
        lost = self._followed - held.keys()
        if not lost or not held:
            return
        mine = {ring.map_id for ring in self.open}
        fresh = [map_id for map_id, kind in held.items() if kind == RINGBUF and map_id not in mine]
        for old in [ring for ring in self.open if ring.map_id in lost]:
            new = next((ring for map_id in fresh if (ring := self._opened(map_id, named=old.name))), None)
            if new is None:
                continue
            fresh.remove(new.map_id)
            self._retired.append(old)
            self.open = tuple(new if ring is old else ring for ring in self.open)
            self._followed = self._followed - {old.map_id} | {new.map_id}
            self.notes.append(
                f"the agent replaced ring {old.name} in the window (map {old.map_id} by {new.map_id}): "
                "rates are over both, the rest is of the one that was seen longer"
            )

    def seen(self) -> tuple[RingSeen, ...]:
        """What was sampled, old rings first; the tail in which an old one lay idle is cut off."""
        found = []
        for ring in self.open:
            past = [_moving(old.trace()) for old in self._retired if old.name == ring.name]
            traces = tuple(trace for trace in (*past, ring.trace()) if len(trace.times) > 1)
            if traces:
                found.append(RingSeen(ring.name, ring.map_id, traces, ring.record_bytes))
        return tuple(found)

    def close(self) -> None:
        """Let go of all rings."""
        for ring in (*self.open, *self._retired):
            ring.close()

    def _held(self) -> dict[int, int]:
        held: dict[int, int] = {}
        for process in self._target.processes:
            held.update(held_maps(process.pid))
        return held

    def _opened(self, map_id: int, *, asked: bool = False, named: str = "") -> RingSamples | None:
        """The ring ``map_id``; None when it is none, or not of that name."""
        try:
            info = map_info(map_id)
            name = info.name.decode(errors="replace")
            if named and name != named:
                return None
            if info.type == RINGBUF:
                return RingSamples(name, map_id, RingWatch(map_id))
        except ProbeFailed as error:
            if asked:
                self.notes.append(f"ring {map_id}: {error.problem}")
        return None

    def _perf(self, map_id: int | None) -> tuple[RingSamples, ...]:
        """The rings of its perf buffers, for an agent without a ring buffer."""
        if map_id is None:
            return ()
        try:
            return perf_rings.opened(self._target.pid, map_id)
        except RunbookError as error:
            self.notes.append(
                f"map {map_id} is a perf event array: its losses are counted, by the agent or the kernel; "
                f"its fill and rates are not sampled: {error.problem.splitlines()[0]}"
            )
            return ()


def _moving(trace: Trace) -> Trace:
    """A trace up to the last sample at which something moved."""
    end = len(trace.times)
    while end > 1 and (trace.producer[end - 1], trace.consumer[end - 1]) == (
        trace.producer[end - 2],
        trace.consumer[end - 2],
    ):
        end -= 1
    return Trace(
        size=trace.size,
        times=trace.times[:end],
        consumer=trace.consumer[:end],
        producer=trace.producer[:end],
    )
