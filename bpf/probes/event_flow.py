"""How events flow through an agent's ring buffer: in, out, lost, and how full it ran.

Its promise: it works from outside on any agent, says which source served each number, and an
agent that reloads or dies in the window is noticed, not averaged over.

Rungs for losses: the agent's BPF counter → its BPF map → its metric → its log line → the kernel's
own count, where it keeps one (``bpf.flow.kernel_losses``) → the time for which the ring was full.
Rings are seen from kernel 5.8 on; of perf buffers only the losses.

Not here: what the samples mean (``bpf.flow``), why events are lost (``bpf.diagnoses.event_loss``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpf.flow.fields import FIELDS
from bpf.library import usable
from bpf.probes.asked import named
from bpf.system.procfs import PERF_EVENT_ARRAY, RINGBUF, held_maps
from engine.contracts import Window
from engine.values import Evidence, Field, Support, Target


class EventFlow:
    """The probe ``event-flow``."""

    name = "event-flow"
    short = "flow"
    summary = "events in, out and lost per second, and how full the ring buffer runs"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {"sample_every": "time between two looks at the ring, 2ms by default"}
    needs_target = True
    cpu_ceiling = 0.15

    def supported(self, target: Target | None) -> Support:
        """Needs root, and a ring buffer or a counter to look at."""
        support = usable()
        if support.answer != "yes" or target is None:
            return support
        if target.rings or target.map_ids or target.counters or _holds_buffers(target):
            return Support(answer="yes", why="ring buffer positions can be mapped, or the agent counts")
        return Support(
            answer="no",
            why=f"{target.name} holds no BPF maps and its profile names no counters",
            fix="see runbook targets; name its rings and counters in an agent profile",
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch the rings for one window."""
        target = named(target, self.name)
        from bpf.flow.watch import watch  # noqa: PLC0415 - 30 ms that a check does not need

        return watch(target, window)


def _holds_buffers(target: Target) -> bool:
    """Whether its processes hold a ring or perf buffer, whatever the profile knows."""
    kinds = (kind for process in target.processes for kind in held_maps(process.pid).values())
    return any(kind in (RINGBUF, PERF_EVENT_ARRAY) for kind in kinds)
