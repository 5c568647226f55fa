"""Let more threads work on the events, where cores are idle and the quota allows them.

W' = W · λ / (0.7·μ), at most one more per idle core. More threads on a machine without
idle cores only fight over them, so then the plan is empty.

Touches: one setting, and a reload where the agent needs one.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from engine.values import Plan
from remediations.knob_change import KnobChange
from remediations.options import says
from remediations.overload import losses, overload, service
from remediations.planning import KnobPlanner, Question, change, nothing, plan

BUSY = 0.7  # of a core: below this the reader waits for something else than CPU


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float, says("count", "The most workers.")] = 64
    factor: Annotated[float | None, says("factor", "The most one application multiplies them by.")] = None


class WorkersPlanner(KnobPlanner[Options]):
    """Decides on a number from the load and the idle cores."""

    name = "workers"
    summary = "Let more threads work on the events, where cores are idle."
    knob = "workers"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """As many as the load asks for, the idle cores feed, and the bounds allow."""
        seen = overload(asked)
        busiest = asked.number("process.busiest_thread_cores")
        if busiest is not None and busiest < BUSY:
            nothing(f"the busiest thread uses {busiest:.2f} of a core: it waits, more of them would wait too")
        now = asked.current_number()
        idle = _idle(asked)
        most = min(asked.options.at_most, asked.bounds[1], now * (asked.options.factor or math.inf))
        wanted = math.ceil(now * seen.short_by)
        after, count = asked.fit(min(wanted, now + math.ceil(idle - 0.5), most), "down")
        if count <= now:
            nothing(
                f"{now:g} workers, {wanted} would be needed; {idle:.2f} cores are idle, {most:g} are allowed"
            )
        managed = seen.managed * count / now
        arithmetic = f"{seen.managed:,.0f} · {count:g} / {now:g}"
        why = f"{seen.arithmetic} times the workers are needed, and {idle:.2f} cores are idle"
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"{now:g} → {count:g} workers: {why}",
            (losses(asked, seen, seen.arriving, managed), service(asked, managed, arithmetic)),
            warnings=(f"up to {count - now:g} more cores are used", "events may be handled out of order"),
        )


class Workers(KnobChange):
    """Remediation ``workers``."""

    planner = WorkersPlanner()


def _idle(asked: Question[Options]) -> float:
    """Cores that the target could still use: idle ones, within its quota."""
    known = [asked.number("process.host_idle_cores"), asked.number("process.cpu_quota_left")]
    limits = [cores for cores in known if cores is not None]
    if not limits:
        nothing("whether cores are idle is unknown: process.host_idle_cores was not measured")
    idle = min(limits)
    if idle < 0.5:
        nothing(f"only {idle:.2f} cores are left to the agent: more workers would fight over them")
    return idle
