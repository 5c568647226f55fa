"""Losses that the kernel counts itself, for agents that do not count or do not tell.

Two places: a perf buffer's lost records (kernel 6.0, exact), and failed reserves of ring buffers
(traceable to 6.12, exact). Neither asks anything of the agent.

Not here: the agent's own counters, which come first (``bpf.flow.sources``).
"""

from __future__ import annotations

from bpf.flow.sources import Source
from bpf.objects.drops import FailedReserves
from bpf.objects.perfbuf import PerfWatch
from bpf.system.procfs import PERF_EVENT_ARRAY, RINGBUF, held_maps
from engine.errors import RunbookError
from engine.values import Target


class PerfLosses:
    """Records lost in all perf buffers of a process. 50 to 200 µs a read."""

    label = "kernel perf buffer losses"
    cheap = False

    def __init__(self, pid: int) -> None:
        self._watch = PerfWatch(pid)

    def read(self) -> float | None:
        """Lost so far; None where the process has no such buffer or the kernel keeps no count."""
        lost = [ring.lost for ring in self._watch.read() if ring.lost is not None]
        return float(sum(lost)) if lost else None

    def close(self) -> None:
        """Unload."""
        self._watch.close()


class ReserveLosses:
    """Failed reserves of some ring buffers since this was made. One batched read."""

    label = "kernel failed reserves"
    cheap = False

    def __init__(self, map_ids: frozenset[int]) -> None:
        self._failures = FailedReserves()
        self._map_ids = map_ids

    def read(self) -> float | None:
        """Failed so far; none failed is a count too."""
        return float(sum(count for ring, count in self._failures.read().items() if ring in self._map_ids))

    def close(self) -> None:
        """Detach."""
        self._failures.close()


def source_for(target: Target) -> tuple[Source | None, str]:
    """What the kernel can count of a target's losses, opened; else None and the reason."""
    held = {map_id: kind for process in target.processes for map_id, kind in held_maps(process.pid).items()}
    rings = frozenset(map_id for map_id, kind in held.items() if kind == RINGBUF)
    try:
        if rings:
            return ReserveLosses(rings), ""
        if PERF_EVENT_ARRAY in held.values():
            return _perf(target.pid)
    except RunbookError as error:
        return None, error.problem.splitlines()[0]
    return None, "it holds no ring and no perf buffer"


def _perf(pid: int) -> tuple[Source | None, str]:
    losses = PerfLosses(pid)
    if losses.read() is None:
        losses.close()
        return None, "this kernel keeps no count of lost perf records (6.0)"
    return losses, ""
