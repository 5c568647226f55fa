"""What a run came to: its outcome and the sentence that tells it.

One promise: ``fixed`` and ``mitigated`` are said only of a goal measured and held; everything
else says what is known and what a human has to do.

Not here: measuring (``engine.running.goal``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.errors import Interrupted
from engine.record import Outcome, Returned
from engine.running.scene import Scene
from engine.text import measure, span, typed, unit_of
from engine.values import Scalar

End = tuple[Outcome, str]
#: A called run that ended so has left its trouble to people.
_BAD = frozenset({"unfixed", "refused", "failed", "waiting"})


def stop_if_asked(scene: Scene) -> None:
    """Raises ``Interrupted`` when somebody asked the run to stop."""
    if scene.tools.cancel:
        raise Interrupted(
            interrupted(scene), fix=f"runbook resume {scene.head.id}, or runbook undo {scene.head.id}"
        )


def conclude(scene: Scene) -> End:
    """The outcome as of now, by the last measurement of the goal and how each change ended."""
    if scene.tools.cancel:
        return "interrupted", interrupted(scene)
    if scene.head.dry_run and not _holds(scene):
        return _rehearsed(scene)
    standing = [(step.remediation, turned) for step, turned in scene.turned if turned.stands]
    names = _listed(name for name, _ in standing)
    if scene.runbook.goal is None:
        return _without_goal(scene, names)
    if _holds(scene):
        return _holding(scene, names, any(turned.result == "leased" for _, turned in standing))
    return _held_back(scene) or ("unfixed", _unfixed(scene, names))


def _without_goal(scene: Scene, names: str) -> End:
    """Nothing is measured at the end: what was called, what was changed is the outcome."""
    called = scene.returned
    if called is not None:
        if called.outcome == "healthy" and (held := _held_back(scene)):
            return held
        own = _listed(
            step.remediation for step, turned in scene.turned if turned.stands and _own(step.id, scene)
        )
        changed = f" Changed as well: {own}." if own else ""
        outcome: Outcome = "mitigated" if own and called.outcome == "healthy" else called.outcome
        return outcome, f"{called.runbook}: {called.sentence}{changed}"
    if not names:
        return _held_back(scene) or ("healthy", "Every step was carried out; nothing was changed.")
    return "mitigated", f"Changed {names}; the runbook has no goal that would measure whether it helped."


def waits(scene: Scene) -> End:
    """The last change needs a yes: whatever else came of the run, that is open."""
    step, turned = scene.turned[-1]
    names = _listed(one.remediation for one, how in scene.turned if how.stands)
    parts = [f"{step.remediation} needs a yes: {turned.because}."]
    if names:
        parts.append(f"In force because it helped: {names}.")
    parts += [f"{one.runbook} ended as {one.outcome}: {one.sentence}" for one in _last_returns(scene)]
    return "waiting", f"{' '.join(parts)}{_cause(scene)}"


def withdrawn(scene: Scene, because: str) -> End:
    """What it waited for was taken back, and the goal does not hold."""
    names = _listed(one.remediation for one, how in scene.turned if how.stands)
    left = f"In force because it helped: {names}." if names else "Nothing was changed."
    state = f"{_goal_state(scene)}. " if scene.runbook.goal else ""
    return "refused", f"It waits no more: {because}. {state}{left}{_cause(scene)}"


def failed(scene: Scene, problem: str) -> End:
    """The engine or the target broke."""
    standing = _listed(step.remediation for step, turned in scene.turned if turned.stands)
    left = f" Still in force: {standing}." if standing else f" {_rest(scene)}" if scene.touched else ""
    return "failed", f"The run broke off: {problem.rstrip('.')}.{left}"


def refused(scene: Scene, problem: str) -> End:
    """A change that is called for can't be made here."""
    standing = _listed(step.remediation for step, turned in scene.turned if turned.stands)
    left = f"In force because it helped: {standing}." if standing else _rest(scene)
    return "refused", f"{problem.rstrip('.')}. {left}{_cause(scene)}"


def interrupted(scene: Scene) -> str:
    """The sentence of a run that was stopped from outside."""
    standing = _listed(step.remediation for step, turned in scene.turned if turned.stands)
    if standing:
        return f"Stopped from outside. Proven and kept: {standing}."
    return f"Stopped from outside. {_rest(scene)}"


def _rest(scene: Scene) -> str:
    """How the machine was left, where nothing proven stands."""
    if not scene.touched:
        return "Nothing was changed."
    attempts = scene.log.journal.attempts(scene.head.id)
    left = _listed(one.remediation for one in attempts if one.state in {"left", "failed"})
    return f"Left for a human: {left}." if left else "What was not proven was undone."


def _holds(scene: Scene) -> bool:
    return bool(scene.goal and scene.goal.holds)


def _holding(scene: Scene, names: str, leased: bool) -> End:
    goal = scene.goal
    seen = f"{goal.means or goal.condition}, held for {span(goal.held_s)}" if goal else ""
    bad = [one for one in _last_returns(scene) if one.outcome in _BAD]
    if bad:
        left = " ".join(f"{one.runbook} ended as {one.outcome}: {one.sentence}" for one in bad)
        if names:
            return "mitigated", f"Mitigated for now by {names}: {seen}. Yet {left}"
        return "unfixed", f"The goal holds: {seen}. Yet {left}"
    if not names:
        why = "nothing that was tried is in force" if scene.touched else "nothing was changed"
        return "healthy", f"The goal holds: {seen}; {why}.{_explained(scene)}"
    if leased:
        return "mitigated", f"Mitigated for a time by {names}: {seen}.{_cause(scene)}"
    return "fixed", f"Fixed by {names}: {seen}.{_cause(scene)}"


def _explained(scene: Scene) -> str:
    """What the runbook's diagnosis says of a goal that holds."""
    said = [verdict.sentence for verdict in scene.verdicts.values() if verdict.sentence]
    return f" {said[-1]}" if said else ""


def _last_returns(scene: Scene) -> Iterable[Returned]:
    """How each call ended last."""
    return {one.step: one for one in scene.returns.values()}.values()


def _own(step: str, scene: Scene) -> bool:
    """Whether a change is of the run itself, not of one that it called."""
    return not step.startswith(f"{scene.head.id}.")


def _held_back(scene: Scene) -> End | None:
    """Refused: when a change was held back and none was tried."""
    held = [(step, turned) for step, turned in scene.turned if turned.result == "refused"]
    if not held or any(turned.result in {"kept", "leased", "undone", "failed"} for _, turned in scene.turned):
        return None
    step, turned = held[0]
    return "refused", f"{step.remediation} was held back: {turned.because}.{_cause(scene)}"


def _unfixed(scene: Scene, names: str) -> str:
    """The cause first, then how far off the goal is, then what was done."""
    undone = _listed(step.remediation for step, turned in scene.turned if turned.result == "undone")
    parts = [f"{_cause(scene)} {_goal_state(scene)}.".strip()]
    if undone:
        parts.append(f"Tried and undone: {undone}.")
    if names:
        parts.append(f"In force because it helped: {names}.")
    if scene.returned is not None:
        parts.append(f"{scene.returned.runbook} ended as {scene.returned.outcome}.")
    if not undone and not names:
        parts.append("Nothing was changed.")
    idle = _listed(step.remediation for step, turned in scene.turned if turned.result in _IDLE)
    if idle:
        parts.append(f"Not made (the report says why): {idle}.")
    return " ".join(parts)


def _goal_state(scene: Scene) -> str:
    """How far off the goal is."""
    goal = scene.goal
    if goal is None or goal.holds is None:
        return "Whether the goal holds could not be measured"
    known = {
        name: value for name, value in goal.values.items() if not (goal.means and name.startswith("inputs."))
    }
    told = (
        f"Wanted and not reached: {goal.means}" if goal.means else f"The goal does not hold: {goal.condition}"
    )
    return f"{told}{_values(known, scene)}"


#: Results of change steps with which nothing was written.
_IDLE = frozenset({"nothing", "blocked", "refused"})


def _reasons(scene: Scene) -> str:
    """Why nothing was done, each reason once with the remediations that gave it."""
    given: dict[str, list[str]] = {}
    for step, turned in scene.turned:
        if turned.because:
            given.setdefault(turned.because, []).append(step.remediation)
    reasons = [f"{_listed(names)}: {because}" for because, names in given.items()]
    return f" ({'; '.join(reasons)})" if reasons else ""


def _rehearsed(scene: Scene) -> End:
    called = scene.returned
    if called is not None and not scene.turned:
        outcome: Outcome = "refused" if called.outcome == "refused" else "rehearsed"
        return outcome, f"{called.runbook}: {called.sentence}"
    would = _listed(step.remediation for step, turned in scene.turned if turned.result == "would")
    if would:
        return "rehearsed", f"Rehearsed: would change {would}; nothing was changed.{_cause(scene)}"
    if held := _held_back(scene):
        return held
    return "rehearsed", f"Rehearsed: there is nothing it would change{_reasons(scene)}.{_cause(scene)}"


def _cause(scene: Scene) -> str:
    for verdict in reversed(scene.verdicts.values()):
        if verdict.causes:
            return f" Cause: {verdict.causes[0].sentence.rstrip('.')}."
    return ""


def _values(values: Mapping[str, Scalar], scene: Scene) -> str:
    shown = ", ".join(f"{name} is {_shown(name, value, scene)}" for name, value in values.items())
    return f" ({shown})" if shown else ""


def _shown(name: str, value: Scalar, scene: Scene) -> str:
    """A value of a condition with its unit: an input's by its type, a reading's by its probe or its name."""
    source, _, field = name.partition(".")
    if source == "inputs" and field in scene.runbook.inputs:
        return typed(value, scene.runbook.inputs[field].type)
    seen = scene.evidence.get(source)
    reading = seen.readings.get(field) if seen else None
    return measure(value, (reading.unit if reading else "") or unit_of(name))


def _listed(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return ", ".join(found[:-1]) + (" and " if len(found) > 1 else "") + found[-1] if found else ""
