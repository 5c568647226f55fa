"""Reasons to hold back, joined with ``&`` and ``|``.

One promise: every guard is asked, always, and each answer carries the numbers it compared; the
strictest answer counts (deny before ask before allow). ``a & b`` asks both; ``a | b`` is
content with the milder of the two.

Not here: the guards themselves (``engine.guarding.rules``), reading a policy (``engine.guarding.policy``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal

import msgspec

from engine.values import Decision, Evidence, Host, Plan, Risk, Scalar, Target

Answer = Literal["allow", "ask", "deny"]

_STRICTNESS: dict[Answer, int] = {"allow": 0, "ask": 1, "deny": 2}
_RISKS: dict[Risk, int] = {"low": 0, "medium": 1, "high": 2}


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was made before on this machine, by any run.

    Attributes:
        at: Epoch seconds.
    """

    at: float
    run: str
    target_ref: str
    remediation: str


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that guards judge a plan by: nothing is read while they judge.

    Attributes:
        now: Epoch seconds.
        run: The run that wants it; its own earlier changes are steps of one remedy, not repeats.
        risk: The greatest of what the remediation, the plan and the runbook say.
        evidence: What the plan was decided from, by short name.
        recent: Changes of the last day on this machine, oldest first.
        lease_s: How long a temporary change will last; None for a lasting one.
        has_goal: Whether anything measures that the change helped.
        available_bytes: Memory the machine could still give; None when unknown.
    """

    now: float
    target: Target
    run: str = ""
    risk: Risk = "low"
    host: Host = Host()
    evidence: dict[str, Evidence] = {}
    recent: tuple[Past, ...] = ()
    lease_s: float | None = None
    has_goal: bool = True
    available_bytes: int | None = None

    def number(self, path: str) -> float | None:
        """``process.memory_left_bytes`` as a number, or None when unknown."""
        short, _, name = path.partition(".")
        seen = self.evidence.get(short)
        return seen.number(name) if seen is not None else None


class Rule(ABC):
    """Base of our guards: a name, a judgement, and joining. Strangers' need not inherit it."""

    name = "rule"

    @abstractmethod
    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """Allow, ask or deny; with the numbers compared."""

    def decisions(self, plan: Plan, situation: Situation) -> tuple[Decision, ...]:
        """The single answers behind the judgement."""
        return (self.judge(plan, situation),)

    def __and__(self, other: Rule) -> Rule:
        return AllOf(self, other)

    def __or__(self, other: Rule) -> Rule:
        return AnyOf(self, other)

    def says(self, answer: Answer, because: str, **values: Scalar) -> Decision:
        """A decision in this guard's name."""
        return Decision(answer=answer, guard=self.name, because=because, values=values)


class AllOf(Rule):
    """All guards must allow: the strictest answer counts."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.name = " & ".join(rule.name for rule in rules)

    def decisions(self, plan: Plan, situation: Situation) -> tuple[Decision, ...]:
        """Every guard's answer, in order."""
        return tuple(one for rule in self.rules for one in rule.decisions(plan, situation))

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """The strictest of all answers."""
        return strictest(self.decisions(plan, situation))


class AnyOf(Rule):
    """One guard that allows is enough: the mildest answer counts."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.name = " | ".join(rule.name for rule in rules)

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """The mildest of all answers, in the name of all."""
        answers = [rule.judge(plan, situation) for rule in self.rules]
        mildest = min(answers, key=lambda one: _STRICTNESS[one.answer])
        return msgspec.structs.replace(mildest, guard=self.name)


class Foreign(Rule):
    """A stranger's guard, found through its entry point; one that breaks denies."""

    def __init__(self, guard: object) -> None:
        self._guard = guard
        self.name = str(getattr(guard, "name", type(guard).__name__))

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        """What it says, or a denial that says how it broke."""
        try:
            answer = self._guard.judge(plan, situation)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - held back rather than let through
            return self.says("deny", f"the guard broke: {type(error).__name__}: {error}")
        if isinstance(answer, Decision):
            return answer
        return self.says("deny", f"the guard gave {type(answer).__name__} where a Decision is due")


def strictest(decisions: Iterable[Decision]) -> Decision:
    """The answer that counts; the first of equals. Without any guard: allow."""
    none = Decision(answer="allow", guard="none", because="no guard has anything against it")
    return max(decisions, key=lambda one: _STRICTNESS[one.answer], default=none)


def greatest_risk(*risks: Risk | None) -> Risk:
    """The greatest of several; low when none is given."""
    return max((risk for risk in risks if risk), key=lambda one: _RISKS[one], default="low")
