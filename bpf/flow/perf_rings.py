"""Positions and losses of a process's perf buffers, sampled as those of ring buffers are.

Its promise: one look serves all CPUs' rings, and is taken at most every ``EVERY_S``: it costs 0.1 to
0.2 ms, where a look at a mapped ring buffer costs a thousandth of that.

Not here: following the perf events in the kernel (``bpf.objects.perfbuf``).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable
from typing import Protocol

from bpf.flow.sampling import RingSamples
from bpf.flow.trace import Trace
from bpf.libbpf import BpfError
from bpf.objects.perfbuf import PerfRing, PerfWatch
from bpf.syscall import map_info

EVERY_S = 0.01
#: Fewer looks at a record than this do not tell a size.
ENOUGH_RECORDS = 3


class Eye(Protocol):
    """What sees the rings; ``PerfWatch`` does."""

    def read(self) -> tuple[PerfRing, ...]:
        """Every ring now."""

    def close(self) -> None:
        """Let go of it."""


class PerfPositions:
    """The rings of one process, looked at for all of their samplers together."""

    def __init__(self, watch: Eye) -> None:
        self._watch: Eye | None = watch
        self._moment = float("-inf")
        self.rings: dict[int, PerfRing] = {}
        self.size = 0

    def look(self, moment: float) -> dict[int, PerfRing]:
        """The rings by descriptor, as of ``EVERY_S`` ago at most."""
        if self._watch and moment - self._moment >= EVERY_S:
            self.rings = {ring.fd: ring for ring in self._watch.read()}
            self._moment = moment
        return self.rings

    def positions(self) -> tuple[int, int]:
        """Of no single ring; each sampler takes its own."""
        return 0, 0

    def close(self) -> None:
        """Unload. Each of the samplers may ask for it."""
        if self._watch:
            self._watch.close()
        self._watch = None


class PerfSamples(RingSamples):
    """The samples of one CPU's ring of a perf buffer, with what the kernel says that it lost."""

    def __init__(self, name: str, map_id: int, shared: PerfPositions, ring: PerfRing) -> None:
        super().__init__(f"{name}, CPU {ring.cpu}", map_id, shared)
        self._shared, self._fd = shared, ring.fd
        self.size = ring.size
        self.lost = array("d")
        self._records: list[int] = []
        self._seen: PerfRing | None = None

    def take(self, moment: float) -> None:
        """One sample, when there is a new one."""
        ring = self._shared.look(moment).get(self._fd)
        if ring is None or ring is self._seen:
            return
        self._seen = ring
        self.times.append(moment)
        self.consumer.append(ring.tail)
        self.producer.append(ring.head)
        if ring.lost is not None:
            self.lost.append(ring.lost)
        if ring.next_bytes:
            self._records.append(ring.next_bytes)

    @property
    def record_bytes(self) -> tuple[int, ...]:
        """Sizes of records seen, one a look at most; empty where these were too few."""
        return tuple(self._records) if len(self._records) >= ENOUGH_RECORDS else ()

    def trace(self) -> Trace:
        """What was seen, with the kernel's count where it keeps one."""
        counted = [float(lost - self.lost[0]) for lost in self.lost]
        return Trace(
            size=self.size,
            times=self.times,
            consumer=self.consumer,
            producer=self.producer,
            lost=counted if len(counted) == len(self.times) else (),
        )


def opened(pid: int, map_id: int) -> tuple[PerfSamples, ...]:
    """Samplers of all CPUs' rings of a process, under the name of one of its perf event arrays.

    Raises:
        BpfError: This kernel shows no perf buffers (before 5.8, or without BTF), or these are read in
            overwrite mode: their readers leave no trace.
    """
    shared = PerfPositions(PerfWatch(pid))
    try:
        name = map_info(map_id).name.decode(errors="replace")
        rings = _followed(shared.look(time.monotonic()).values())
    except BaseException:
        shared.close()
        raise
    if not rings:
        shared.close()
    return tuple(PerfSamples(name, map_id, shared, ring) for ring in rings)


def _followed(rings: Iterable[PerfRing]) -> list[PerfRing]:
    """Those whose reader can be followed.

    Raises:
        BpfError: They are read in overwrite mode.
    """
    found = [ring for ring in rings if ring.size]
    if any(ring.head - ring.tail > ring.size for ring in found):
        raise BpfError("it is read in overwrite mode", fix="the agent's own counts tell what it loses")
    return found
