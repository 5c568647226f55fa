"""Lost events of the practice agent, end to end: its fault, the probe, the loss it counts itself."""

from __future__ import annotations

from promises import holds

from bpf.lab import lab
from bpf.probes.event_flow import EventFlow
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.values import Evidence


def losses_of_the_practice_agent_are_seen() -> None:
    instance = lab.start("slow-poll")  # of all faults the one that one CPU alone shows as well
    try:
        target = targets.on_this_host().find("lab")
        cancel, probe = Cancel(), EventFlow()
        probe.cpu_ceiling = 1.0  # an emulated CPU is ten times slower
        view = View(target, 4.0, SystemClock(cancel), cancel)
        (seen,) = look([Request(probe, {"sample_every": 0.02})], view)
        if not isinstance(seen, Evidence):
            raise seen.error
        told = {name: seen.number(name) for name in ("dropped_total", "full_share", "accepted_per_s")}
        holds((told["dropped_total"] or 0) > 0, f"no loss was seen: {told}")
        holds((told["full_share"] or 0) > 0, f"a full ring was not seen: {told}")
    finally:
        lab.stop(instance)


PROMISES = (losses_of_the_practice_agent_are_seen,)
