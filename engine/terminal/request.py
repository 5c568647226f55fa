"""A change that waits for a yes, in lines for people: what, why, what it will do, how old its evidence is.

Not here: the box of a plan on a live display (``engine.terminal.boxes``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine import text
from engine.pending import Waiting
from engine.record import Asked, Judged
from engine.values import Decision, Plan


def lines(waiting: Waiting, now: float) -> Iterator[str]:
    """The whole request; ``now`` in epoch seconds."""
    asked, plan = waiting.requested, waiting.planned.plan
    on = f" on {waiting.run.head.target}" if waiting.run.head.target else ""
    yield f"{plan.remediation}{on}, risk {plan.risk}  (run {waiting.run.head.id})"
    yield from (f"  {line}" for line in _plan(plan))
    if asked.cause:
        yield f"  cause: {asked.cause}"
    if asked.lease_s is not None:
        yield f"  temporary: undone by itself after {text.span(asked.lease_s)}"
    yield from (f"  asks: {one.because}" for one in asking(waiting))
    age = text.span(max(0.0, now - asked.evidence_at))
    yield f"  evidence: {age} old; looked at again before the change"
    use = text.span(asked.use_within)
    yield f"  until {text.day_and_time(asked.decide_by)}; a yes counts for {use}"
    yield f"  plan {asked.digest[:16]}"


def asking(waiting: Waiting) -> Sequence[Decision]:
    """The guards that asked for a yes."""
    step = waiting.requested.step
    judged = [one for one in waiting.run.events if isinstance(one, Judged) and one.step == step]
    before = [one for one in judged if one.at <= waiting.requested.at]
    return [one for one in before[-1].decisions if one.answer == "ask"] if before else []


def _plan(plan: Plan) -> Iterator[str]:
    for change in plan.changes:
        yield f"{change.before_text} → {change.after_text}  ({change.where or change.knob.name})"
        yield f"why: {change.why}"
        yield from (f"    {line}" for line in change.detail.splitlines())
    for one in plan.predictions:
        unit = one.unit or text.unit_of(one.measure)
        before = "" if one.before is None else f"{text.measure(one.before, unit)} → "
        bound = "at most " if one.at_most and one.after else ""
        yield f"predicts {one.measure}: {before}{bound}{text.measure(one.after, unit)}"
    yield from (f"loses: {lost}" for lost in plan.loses)
    yield from (f"mind: {warning}" for warning in plan.warnings)


def question(asked: Asked) -> str:
    """A runbook's own question in a line."""
    return f"asks{f' {asked.who}' if asked.who else ''}: {asked.question}"
