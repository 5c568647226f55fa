"""Give a throttled reader as much CPU as its events need.

Q' = Q · λ / (0.7·μ), at most what the machine has. Only where the kernel says that the
quota held the agent back in this window.

Touches: the quota of the agent's cgroup, in force at once. A container runtime or systemd
that owns the cgroup may set it back; then make it permanent there.
Source: Linux Documentation/scheduler/sched-bwc.rst.
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


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float | None, says("cores", "The most cores; all of the machine's by default.")] = None
    factor: Annotated[float | None, says("factor", "The most one application multiplies the quota by.")] = (
        None
    )


class CpuQuotaPlanner(KnobPlanner[Options]):
    """Decides on a quota from the load."""

    name = "cpu-quota"
    summary = "Give a throttled reader as much CPU as its events need."
    knob = "cpu-quota"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """The quota scaled by the overload, within the machine."""
        now = asked.now.value
        if not isinstance(now, (int, float)) or isinstance(now, bool):
            nothing("the agent has no CPU quota: nothing holds it back")
        throttled = asked.need("process.throttled_share")
        if throttled <= 0:
            nothing(f"the quota of {now:g} cores did not hold the agent back in this window")
        seen = overload(asked)
        host = asked.number("process.host_cpus") or float(asked.case.host.cpus)
        most = min(
            asked.options.at_most or host, host, asked.bounds[1], now * (asked.options.factor or math.inf)
        )
        wanted = math.ceil(now * seen.short_by * 100) / 100
        after, quota = asked.fit(min(wanted, most), "up")
        if quota <= now:
            nothing(f"the quota is {now:g} cores, {wanted:g} would be needed and {most:g} are allowed")
        managed = seen.managed * quota / now
        why = f"throttled in {throttled:.0%} of the periods; {seen.arithmetic} times the quota is needed"
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"quota {now:g} → {quota:g} cores: {why}",
            (
                losses(asked, seen, seen.arriving, managed),
                service(asked, managed, f"{seen.managed:,.0f} · {quota:g} / {now:g}"),
            ),
            risk="medium",
            warnings=_warnings(quota, now, host),
        )


class CpuQuota(KnobChange):
    """Remediation ``cpu-quota``."""

    planner = CpuQuotaPlanner()


def _warnings(quota: float, now: float, host: float) -> tuple[str, ...]:
    said = [f"the agent may take up to {quota:g} of {host:g} cores from its neighbours"]
    if quota > 1 >= now:
        said.append("a reader with one thread can't use more than one core")
    said.append("systemd or the container runtime may set the quota back")
    return tuple(said)
