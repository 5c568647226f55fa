"""The guards of the engine, one small rule each.

One promise: a rule decides from the plan and the situation alone and says what it compared.
Where a number it needs is unknown it says so; it never takes unknown for "too much" or "enough".

Not here: joining rules (``engine.guarding.guards``), choosing them (``engine.guarding.policy``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from engine.guarding.amounts import WORDS, in_base_units
from engine.guarding.guards import Answer, Rule, Situation
from engine.text import count, several, size, span
from engine.values import Change, Decision, Knob, Plan, Risk, Setting

Otherwise = Literal["ask", "deny"]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class ByRisk(Rule):
    """Allow, ask or deny by how risky the change is."""

    answers: Mapping[Risk, Answer]
    name = "risk"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """The policy's answer for this risk."""
        del plan
        risk = situation.risk
        because = {"allow": "is made without asking", "ask": "needs a yes", "deny": "is never made"}
        return self.says(
            self.answers[risk], f"a change of {risk} risk {because[self.answers[risk]]}", risk=risk
        )


@dataclass(frozen=True)
class Bounds(Rule):
    """Keep every value within the knob's own bounds and the policy's."""

    limits: Mapping[str, tuple[float | None, float | None]]
    name = "bounds"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Deny what lies outside."""
        for change in plan.changes:
            page = situation.host.page_bytes
            least, most = self._limits(change.knob, page)
            if least is None and most is None:
                continue
            after = in_base_units(change.after, change.knob, page)
            values = {"after": after, "at_least": least, "at_most": most}
            if after is None:
                because = (
                    f"{change.after_text} can't be read in {change.knob.unit} and compared with its bounds"
                )
                return self.says("ask", because, **values)
            if least is not None and after < least:
                return self.says("deny", f"{change.after_text} is below the least allowed", **values)
            if most is not None and after > most:
                return self.says("deny", f"{change.after_text} is above the most allowed", **values)
        return self.says("allow", "all values lie within their bounds")

    def _limits(self, knob: Knob, page_bytes: int) -> tuple[float | None, float | None]:
        """The narrower of the knob's own bounds and the policy's, in base units; None: no bound."""
        least, most = self.limits.get(knob.name, (None, None))
        own = (in_base_units(bound, knob, page_bytes) for bound in (knob.minimum, knob.maximum))
        own_least, own_most = own
        return (
            max((one for one in (least, own_least) if one is not None), default=None),
            min((one for one in (most, own_most) if one is not None), default=None),
        )


@dataclass(frozen=True)
class StepFactor(Rule):
    """Ask before a value grows or shrinks by more than a factor at once."""

    most: float
    otherwise: Otherwise = "ask"
    name = "step"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Compare before and after, where both are numbers above zero; ask where one can't be read."""
        page = situation.host.page_bytes
        for change in plan.changes:
            for value in (_before(change), change.after):
                amount = in_base_units(value, change.knob, page)
                unread = value is not None and (amount is None or math.isinf(amount))
                if unread and change.knob.unit not in WORDS:
                    why = "means no limit" if amount else f"can't be read in {change.knob.unit}"
                    because = f"{value!r} {why}: how large the step is, is unknown"
                    return self.says("ask", because, at_most=self.most)
        factors = [factor for change in plan.changes if (factor := _factor(change, page)) is not None]
        if not factors:
            return self.says("allow", "no step to compare", at_most=self.most)
        largest = max(factors)
        values = {"factor": round(largest, 3), "at_most": self.most}
        if largest > self.most:
            return self.says(
                self.otherwise,
                f"×{count(largest)} in one step; the policy says at most ×{count(self.most)}",
                **values,
            )
        return self.says("allow", f"×{count(largest)} in one step", **values)


@dataclass(frozen=True)
class Cooldown(Rule):
    """Hold a change back that was made on the same target a short while ago."""

    seconds: float
    otherwise: Otherwise = "ask"
    name = "cooldown"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Look for the last change by the same remediation on the same target."""
        made = [
            past.at
            for past in situation.recent
            if (past.target_ref, past.remediation) == (situation.target.ref, plan.remediation)
            and past.run != (situation.run or None)
        ]
        ago = situation.now - max(made) if made else None
        if ago is None or ago >= self.seconds:
            return self.says("allow", "not made here lately", cooldown_s=self.seconds, ago_s=ago)
        return self.says(
            self.otherwise,
            f"{plan.remediation} was changed here {span(ago)} ago; the policy waits {span(self.seconds)}",
            cooldown_s=self.seconds,
            ago_s=round(ago, 1),
        )


@dataclass(frozen=True)
class Budget(Rule):
    """Hold back when this target or this machine has had many changes lately."""

    seconds: float
    per_target: int
    per_host: int
    otherwise: Otherwise = "ask"
    name = "budget"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Count the changes in the span, this plan's included."""
        since = situation.now - self.seconds
        recent = [past for past in situation.recent if past.at > since]
        host = len(recent) + len(plan.changes)
        target = sum(past.target_ref == situation.target.ref for past in recent) + len(plan.changes)
        values = {"target": target, "per_target": self.per_target, "host": host, "per_host": self.per_host}
        over = "this target" if target > self.per_target else "this machine" if host > self.per_host else ""
        if over:
            number = target if over == "this target" else host
            allowed = self.per_target if over == "this target" else self.per_host
            counted = f"{several(number, 'change')} on {over} within {span(self.seconds)}"
            because = f"it would make {counted}; the policy says at most {allowed}"
            return self.says(self.otherwise, because, **values)
        return self.says("allow", f"{several(target, 'change')} here within {span(self.seconds)}", **values)


@dataclass(frozen=True)
class Freeze(Rule):
    """No changes in a window of the week.

    Attributes:
        days: On which it begins, as ``mon`` …; all when empty.
        begins, ends: Minutes since midnight; an end at or before the beginning is on the next day.
        zone: IANA time zone.
    """

    days: tuple[str, ...]
    begins: int
    ends: int
    zone: str = "UTC"
    because: str = ""
    name = "freeze"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Deny within the window."""
        del plan
        weekday, minute = _local(situation.now, self.zone)
        over_midnight = self.ends <= self.begins
        today = self._on(weekday) and minute >= self.begins and (over_midnight or minute < self.ends)
        yesterday = self._on(weekday - 1) and over_midnight and minute < self.ends
        values = {"local": f"{DAYS[weekday]} {minute // 60:02}:{minute % 60:02} {self.zone}"}
        if today or yesterday:
            return self.says("deny", f"no changes now: {self.because or 'a freeze window'}", **values)
        return self.says("allow", "outside the freeze window", **values)

    def _on(self, weekday: int) -> bool:
        return not self.days or DAYS[weekday] in self.days


@dataclass(frozen=True)
class Fresh(Rule):
    """The evidence a plan rests on must not be old."""

    seconds: float
    name = "freshness"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Deny when the oldest evidence is older than allowed; ask when there is none."""
        del plan
        if not situation.evidence:
            return self.says("ask", "nothing was measured before this change")
        age = situation.now - min(seen.ended_at for seen in situation.evidence.values())
        values = {"age_s": round(age, 1), "at_most_s": self.seconds}
        if age > self.seconds:
            return self.says("deny", f"the evidence is {span(age)} old: look again", **values)
        return self.says("allow", f"the evidence is {span(max(0.0, age))} old", **values)


@dataclass(frozen=True)
class Protected(Rule):
    """Targets that nobody may change through us."""

    patterns: tuple[str, ...]
    name = "protected"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Deny when name, profile or ref match."""
        del plan
        target = situation.target
        for pattern in self.patterns:
            if any(fnmatchcase(word, pattern) for word in (target.name, target.profile, target.ref)):
                return self.says("deny", f"{target.name} is protected by the policy", pattern=pattern)
        return self.says("allow", f"{target.name} is not protected")


@dataclass(frozen=True)
class MemoryRoom(Rule):
    """A change must leave memory for everybody else."""

    most_share: float
    name = "memory"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Deny when it takes more than its share of what is left, of the machine or of the cgroup."""
        if plan.memory_bytes <= 0:
            return self.says("allow", "it takes no further memory")
        left = situation.number("process.memory_left_bytes")
        rooms = [room for room in (situation.available_bytes, left) if room is not None]
        if not rooms:
            return self.says("ask", f"it takes {size(plan.memory_bytes)}; how much is left is unknown")
        room = min(rooms)
        values = {"takes_bytes": plan.memory_bytes, "left_bytes": room, "at_most_share": self.most_share}
        if plan.memory_bytes > room * self.most_share:
            limit = f" ({plan.memory_limit})" if plan.memory_limit else ""
            because = f"it takes {size(plan.memory_bytes)} of the {size(room)} left{limit}"
            return self.says("deny", because, **values)
        return self.says("allow", f"it takes {size(plan.memory_bytes)} of {size(room)} left", **values)


@dataclass(frozen=True)
class Provable(Rule):
    """Ask where nothing would show that the change helped, or that it ends."""

    name = "proof"

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Ask for a change without a goal, of an untested knob, or temporary without an end."""
        untested = [change.knob.name for change in plan.changes if not change.knob.verified]
        if not situation.has_goal:
            return self.says("ask", "the runbook has no goal: nothing measures whether it helps")
        if untested:
            return self.says(
                "ask", f"the effect of {', '.join(untested)} was never seen to work on this agent"
            )
        if plan.temporary and situation.lease_s is None:
            return self.says("ask", "it hides or loses events on purpose and has no lease that ends it")
        return self.says("allow", "the goal is measured after it")


def _before(change: Change) -> Setting:
    """What stands there; where nothing does, the agent's default."""
    return change.knob.default if change.before is None else change.before


def _factor(change: Change, page_bytes: int) -> float | None:
    """By how much a value grows or shrinks; None where that can't be said."""
    pair = [in_base_units(value, change.knob, page_bytes) for value in (_before(change), change.after)]
    numbers = [value for value in pair if value is not None and value > 0]
    return max(numbers) / min(numbers) if len(numbers) == 2 else None


def _local(now: float, zone: str) -> tuple[int, int]:
    """Weekday (0 is Monday) and minute of the day in a time zone."""
    if zone == "UTC":
        moment = time.gmtime(now)
        return moment.tm_wday, moment.tm_hour * 60 + moment.tm_min
    from datetime import datetime  # noqa: PLC0415 - only policies with another zone need it
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    return local.weekday(), local.hour * 60 + local.minute
