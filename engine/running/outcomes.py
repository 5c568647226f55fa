"""What a run came to: its outcome and the sentence that tells it.

One promise: ``fixed`` and ``mitigated`` are said only of a goal measured and held; everything
else says what is known and what a human has to do.

Not here: measuring (``engine.running.goal``).
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import Interrupted
from engine.record import Outcome
from engine.running.scene import Scene
from engine.text import measure, span
from engine.values import Scalar

End = tuple[Outcome, str]


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
        return "rehearsed", _rehearsed(scene)
    standing = [(step.remediation, turned) for step, turned in scene.turned if turned.stands]
    names = _listed(name for name, _ in standing)
    if scene.runbook.goal is None:
        return _without_goal(scene, names)
    if _holds(scene):
        return _holding(scene, names, any(turned.result == "leased" for _, turned in standing))
    return _held_back(scene) or ("unfixed", _unfixed(scene, names))


def _without_goal(scene: Scene, names: str) -> End:
    """Nothing is measured at the end: what was called, else what was changed, is the outcome."""
    if scene.returned is not None:
        return scene.returned.outcome, f"{scene.returned.runbook}: {scene.returned.sentence}"
    if not names:
        return _held_back(scene) or ("healthy", "Every step was carried out; nothing was changed.")
    return "mitigated", f"Changed {names}; the runbook has no goal that would measure whether it helped."


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
    seen = f"{goal.condition}, held for {span(goal.held_s)}" if goal else ""
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


def _held_back(scene: Scene) -> End | None:
    """Waiting or refused: when a change was held back and none was tried."""
    held = [(step, turned) for step, turned in scene.turned if turned.result in {"waiting", "refused"}]
    if not held or any(turned.result in {"kept", "leased", "undone", "failed"} for _, turned in scene.turned):
        return None
    waiting = [(step, turned) for step, turned in held if turned.result == "waiting"]
    step, turned = (waiting or held)[0]
    if waiting:
        return "waiting", f"{step.remediation} needs a yes: {turned.because}.{_cause(scene)}"
    return "refused", f"{step.remediation} was held back: {turned.because}.{_cause(scene)}"


def _unfixed(scene: Scene, names: str) -> str:
    goal = scene.goal
    if goal is None or goal.holds is None:
        state = "Whether the goal holds could not be measured"
    else:
        state = f"The goal does not hold: {goal.condition}{_values(goal.values)}"
    undone = _listed(step.remediation for step, turned in scene.turned if turned.result == "undone")
    parts = [f"{state}.{_cause(scene)}"]
    if undone:
        parts.append(f"Tried and undone: {undone}.")
    if names:
        parts.append(f"In force because it helped: {names}.")
    if scene.returned is not None:
        parts.append(f"{scene.returned.runbook} ended as {scene.returned.outcome}.")
    if not undone and not names:
        parts.append(f"Nothing was changed{_reasons(scene)}.")
    return " ".join(parts)


def _reasons(scene: Scene) -> str:
    """Why nothing was done, each reason once with the remediations that gave it."""
    given: dict[str, list[str]] = {}
    for step, turned in scene.turned:
        if turned.because:
            given.setdefault(turned.because, []).append(step.remediation)
    reasons = [f"{_listed(names)}: {because}" for because, names in given.items()]
    return f" ({'; '.join(reasons)})" if reasons else ""


def _rehearsed(scene: Scene) -> str:
    if scene.returned is not None and not scene.turned:
        return f"{scene.returned.runbook}: {scene.returned.sentence}"
    would = _listed(step.remediation for step, turned in scene.turned if turned.result == "would")
    if would:
        return f"Rehearsed: would change {would}; nothing was changed.{_cause(scene)}"
    return f"Rehearsed: there is nothing it would change{_reasons(scene)}.{_cause(scene)}"


def _cause(scene: Scene) -> str:
    for verdict in reversed(scene.verdicts.values()):
        if verdict.causes:
            return f" Cause: {verdict.causes[0].sentence.rstrip('.')}."
    return ""


def _values(values: dict[str, Scalar]) -> str:
    shown = ", ".join(f"{name} is {measure(value)}" for name, value in values.items())
    return f" ({shown})" if shown else ""


def _listed(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return ", ".join(found[:-1]) + (" and " if len(found) > 1 else "") + found[-1] if found else ""
