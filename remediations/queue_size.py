"""Give the agent's own queue room for the bursts that overflow it.

Between the reader and the exporter an agent keeps a queue of its own. Bursts that find it full are lost
there, though the ring held them. Each burst loses L = lost/s · spacing events, so n' = n + headroom · L holds
the largest of them. Where the events arrive evenly, or nothing is delivered, whoever takes the output is
too slow: a longer queue only delays the loss, and then the plan is empty. A queue without limit is never
planned: it trades lost events for an OOM kill.

Touches: one setting, and a reload. Memory: the further entries, of the agent's own heap.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from engine.values import Plan, Prediction
from remediations.knob_change import KnobChange
from remediations.knobs.units import say_bytes, say_seconds
from remediations.options import says
from remediations.planning import KnobPlanner, Question, change, nothing, plan

#: Of what is read; below it the exporter has all but stopped.
STALLED = 0.1


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float, says("count", "The most entries the queue may have.")] = 500_000
    headroom: Annotated[float, says("factor", "How many times what a burst loses must fit besides.")] = 3.0


class QueueSizePlanner(KnobPlanner[Options]):
    """Decides on a length from what each burst loses."""

    name = "queue-size"
    summary = "Give the agent's own queue room for the bursts that overflow it."
    knob = "queue-size"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """From the loss of one burst to the next length; refused where a longer queue would not help."""
        lost = _lost(asked)
        in_force = asked.knob.default if asked.now.value is None else asked.now.value
        if in_force is not None and in_force == asked.knob.unbounded:
            nothing("the queue has no limit: it is not what loses events, and it may fill the memory")
        _refuse_slow(asked, lost)
        now, spacing = asked.current_number(), asked.need("flow.burst_spacing_s")
        burst = lost * spacing
        most = min(asked.options.at_most, asked.bounds[1])
        wanted = max(2 * now, now + math.ceil(asked.options.headroom * burst))
        after, length = asked.fit(min(wanted, most), "up" if wanted <= most else "down")
        if length <= now:
            nothing(
                f"the queue holds {now:,.0f} and would need {wanted:,.0f}; at most {most:,.0f} is allowed"
            )
        record = asked.number("flow.record_bytes") or 0.0
        added = int((length - now) * record)
        left = asked.number("process.memory_left_bytes")
        if left is not None and added > left:
            nothing(
                f"{length:,.0f} entries take about {say_bytes(added)} more, and the agent's memory limit"
                f" leaves {say_bytes(left)}"
            )
        why = (
            f"each burst ({say_seconds(spacing)} apart) loses {burst:,.0f} events in a queue for {now:,.0f};"
            f" {length:,.0f} hold it"
        )
        arithmetic = (
            f"{lost:,.0f}/s · {spacing:.3g} s = {burst:,.0f}; {now:,.0f} + {asked.options.headroom:g} · that"
        )
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"queue {now:,.0f} → {length:,.0f}: {why}",
            (
                Prediction(
                    measure="flow.dropped_behind_per_s",
                    before=lost,
                    after=0.0 if length - now >= burst else lost * (1 - (length - now) / burst),
                    unit="events/s",
                    at_most=True,
                    arithmetic=arithmetic,
                ),
            ),
            memory_bytes=added,
            memory_limit=f"the agent's own memory: about {say_bytes(length * record)} when the queue is full"
            if record
            else "the agent's own memory; the size of an entry is not known",
        )


class QueueSize(KnobChange):
    """Remediation ``queue-size``."""

    planner = QueueSizePlanner()


def _lost(asked: Question[Options]) -> float:
    """Events lost a second in the queue, where that is told apart; else behind the ring."""
    behind, queue = asked.need("flow.dropped_behind_per_s"), asked.number("flow.dropped_queue_per_s")
    if not behind:
        nothing("nothing is lost behind the ring")
    if queue == 0:
        nothing("its own queue loses nothing; the exporter does")
    return behind if queue is None else queue


def _refuse_slow(asked: Question[Options], lost: float) -> None:
    """Where no queue is long enough."""
    taken = asked.number("flow.out_per_s")
    if taken and taken - lost < STALLED * taken:
        nothing(
            f"of {taken:,.0f} events/s that are read {max(0.0, taken - lost):,.0f}/s are delivered:"
            " whoever takes the output has all but stopped, and a longer queue only delays the loss"
        )
    pattern = asked.case.text("flow.pattern")
    if pattern != "bursts":
        told = {"steady": "the events arrive evenly", "sustained": "the overload is sustained"}
        why = told.get(pattern or "", "in this window the events came in no bursts")
        nothing(f"{why}, and {lost:,.0f}/s are lost in the queue: a longer one only delays the loss")
