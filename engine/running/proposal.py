"""From a change step to a judged proposal: read, plan, ask the guards. Nothing here can write.

One promise: it is handed a ``Planner``, the half of a remediation that only reads, so a dry-run
that ends with a proposal has had no hands at any moment.

Not here: the yes that it needs (``engine.running.permission``), making the change
(``engine.running.remedy``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from engine.contracts import Planner
from engine.errors import Refused, RunbookError
from engine.guarding.guards import Answer, Past, Situation, greatest_risk, strictest
from engine.language.model import Change
from engine.record import Planned, Would
from engine.running.scene import Scene, Turned
from engine.values import Decision, KnobValue, Plan

#: How far back guards may look.
DAY_S = 86400.0


class Proposal(NamedTuple):
    """A plan with the guards' answers.

    Attributes:
        answer: The strictest of the decisions.
        lease_s: How long the change will last when it is temporary; else None.
        knobs: What was read for it, without the text around the values.
    """

    plan: Plan
    decisions: tuple[Decision, ...]
    answer: Answer
    lease_s: float | None
    knobs: Mapping[str, KnobValue]


def propose(planner: Planner, step: Change, scene: Scene, rung: int = 0) -> Proposal | Turned:
    """Read the knobs, plan, and ask every guard; or say why there is nothing to do.

    Raises:
        RunbookError: The knobs can't be read, or the plan can't be made.
    """
    if scene.target is None:
        raise Refused(f"{step.remediation} needs a target", fix="name one with --target")
    options = {key: value for key, value in scene.options(step.options).items() if key in planner.options}
    case = msgspec.structs.replace(
        scene.case(options), knobs=planner.read(scene.target), repeats=_repeats(planner.name, scene)
    )
    plan = planner.plan(case)
    plan = msgspec.structs.replace(plan, risk=greatest_risk(plan.risk, planner.risk, step.risk))
    knobs = _bare(case.knobs)
    scene.record(Planned(at=scene.now, step=step.id, plan=plan, rung=rung, knobs=knobs))
    if not plan.changes:
        return Turned("blocked" if plan.blocked else "nothing", plan.reason or "there is nothing to change")
    lease_s = None if step.lease is None else scene.tools.policy.lease.bounded(scene.seconds(step.lease))
    decisions = scene.tools.guard().decisions(plan, situation(plan, scene, lease_s))
    return Proposal(plan, decisions, strictest(decisions).answer, lease_s, knobs)


def _bare(knobs: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """Values for the record: no texts, which may be whole files."""
    return {name: KnobValue(value=one.value, missing=one.missing) for name, one in knobs.items()}


def _repeats(remediation: str, scene: Scene) -> tuple[float, ...]:
    """How long ago it was applied to this target, in seconds."""
    ref = scene.case().target.ref
    return tuple(
        max(0.0, scene.now - one.intended_at)
        for one in scene.log.journal.attempts(since=scene.now - DAY_S)
        if (one.target_ref, one.remediation) == (ref, remediation) and one.state != "not-made"
    )


def situation(plan: Plan, scene: Scene, lease_s: float | None) -> Situation:
    """What guards judge a plan by, as of now."""
    attempts = scene.log.journal.attempts(since=scene.now - DAY_S)
    target = scene.case().target
    return Situation(
        now=scene.now,
        target=target,
        run=scene.head.id,
        risk=plan.risk,
        host=scene.tools.host,
        evidence=dict(scene.evidence),
        recent=tuple(
            Past(at=one.intended_at, run=one.run, target_ref=one.target_ref, remediation=one.remediation)
            for one in attempts
            if one.state != "not-made"
        ),
        lease_s=lease_s,
        has_goal=scene.runbook.goal is not None,
        available_bytes=scene.tools.available_memory(),
    )


def because(decisions: tuple[Decision, ...], answer: Answer) -> str:
    """What the guards that gave this answer say."""
    return "; ".join(one.because for one in decisions if one.answer == answer)


class OnlyPlanner:
    """A planner without the rest of the remediation: what a dry-run is handed."""

    def __init__(self, planner: Planner) -> None:
        self.name = planner.name
        self.summary = planner.summary
        self.knob = planner.knob
        self.options = planner.options
        self.risk = planner.risk
        self.read = planner.read
        self.plan = planner.plan


class Rehearsal:
    """The hands of a dry-run: planners only, by type and in fact."""

    def turn(self, step: Change, scene: Scene, rung: int = 0, remediation: Planner | None = None) -> Turned:
        """Record what would be done."""
        planner = OnlyPlanner(remediation or scene.tools.parts.remediation(step.remediation))
        try:
            found = propose(planner, step, scene, rung)
        except RunbookError as error:
            scene.warn(f"{step.remediation}: {error.problem}", step=step.id, fix=error.fix)
            return Turned("failed", error.problem)
        if isinstance(found, Turned):
            return found
        scene.record(
            Would(at=scene.now, step=step.id, plan=found.plan, decisions=found.decisions, answer=found.answer)
        )
        if found.answer == "deny":
            return Turned("refused", because(found.decisions, "deny"))
        return Turned("would", found.plan.reason)
