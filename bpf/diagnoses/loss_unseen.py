"""Causes of lost events where the positions of the buffer can't be seen: old kernels, or no BTF.

Its promise: what is told follows from the counts and from the CPU of the process alone, says so, and has
less confidence than what positions show. With too little to go by there is no cause.

Not here: a reader that does nothing at all (``loss_rhythm.stuck``), buffers whose positions can be seen.
Reasoning: ``docs/event-loss.md``.
"""

from __future__ import annotations

from bpf.diagnoses.loss_facts import LITTLE, STARVED, WHOLE_CORE, Facts
from bpf.diagnoses.wording import cores, count, kept, share
from engine.values import Cause

UNSEEN = "the reader's position can't be seen: this follows from its CPU and its counts alone"


def unseen(f: Facts) -> Cause | None:
    """What limits the reader of a buffer that loses, by what its process does."""
    if f.ring is not None or f.moved is not None or not f.dropped_ring or f.idle_in_loss:
        return None
    limit = _limit(f, f.dropped_ring)
    if limit is None:
        return None
    name, while_, confidence = limit
    return Cause(
        name=name,
        sentence=f"its buffer loses events while {while_}",
        confidence=confidence,
        explains=f.ring_share,
        speaks_for=kept(
            f"{count(f.dropped_ring)} events/s are lost at its buffer",
            f"its busiest thread used {cores(f.thread)}" if f.thread is not None else "",
            f"{count(f.taken)} events/s were read" if f.taken else "",
            "nothing is throttled" if f.throttled is not None and f.throttled < LITTLE else "",
        ),
        speaks_against=(UNSEEN,),
        settles="a CPU profile of the reader; a longer window shows whether the loss comes in bursts",
    )


def _limit(f: Facts, lost: float) -> tuple[str, str, float] | None:
    """Cause, in what state its reader is, and how well that fits."""
    waiting = f.waiting or 0.0
    if f.squeezed:
        held = share(f.throttled or 0.0)
        return "reader-throttled", f"the cgroup's quota holds the reader back in {held} of the periods", 0.7
    if waiting >= STARVED:
        return "reader-starved", f"the reader gets no CPU for {share(waiting)} of the time", 0.6
    if f.thread is not None and f.thread + waiting >= WHOLE_CORE:
        busy = f"its busiest thread uses {cores(f.thread)}"
        return "reader-cpu-bound", f"{busy}: its CPU is the limit", 0.75
    if f.thread is not None and f.taken and lost < f.taken:
        spare = "its reader has CPU to spare"
        return "burst-exceeds-buffer", f"{spare}: for moments they come faster than it lasts", 0.6
    return None
