"""One change, from plan to proof: plan → guards → intent → apply → verify → keep or undo.

One promise: whatever happens between the intent and the proof (an error, a signal, a full disk),
the setting ends as it was before or with the goal measured; where neither can be had, it is
left for a human with the way to take it back by hand.

Not here: planning and guards (``engine.running.proposal``), the yes that it needs
(``engine.running.permission``), a fresh process that finishes what a killed
one began (``engine.running.resume``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from engine.contracts import Remediation
from engine.errors import ChangedSince, ChangeFailed, JournalUnavailable, RunbookError, TargetGone, UsageError
from engine.language.model import Change as ChangeStep
from engine.record import Applied, ChangeState, GoalMeasured, Intended, Settled
from engine.running import goal
from engine.running.permission import nothing_left, permission
from engine.running.proposal import Proposal, propose
from engine.running.scene import Scene, Turned
from engine.values import Change, Plan, Setting, Target


class Made(NamedTuple):
    """A change that was announced, with all that its undo needs."""

    attempt: int
    remediation: Remediation
    change: Change
    captured: Mapping[str, Setting]
    step: str
    undo_by_hand: str = ""


class Hands:
    """Makes changes. Who holds no ``Hands`` can change nothing."""

    def turn(
        self, step: ChangeStep, scene: Scene, rung: int = 0, remediation: Remediation | None = None
    ) -> Turned:
        """Carry one change step out and say how it ended; ``remediation``: the installed one by default.

        Raises:
            JournalUnavailable: It can't be written down, so nothing is (or stays) changed.
            TargetGone: The target ended; what was not proven is undone.
            ChangeFailed: It could not be undone; a human is needed.
        """
        remediation = remediation or scene.tools.parts.remediation(step.remediation)
        try:
            found = propose(remediation, step, scene, rung)
        except (JournalUnavailable, TargetGone, UsageError):
            raise
        except RunbookError as error:
            scene.warn(f"{step.remediation}: {error.problem}", step=step.id, fix=error.fix)
            return Turned("failed", error.problem)
        if isinstance(found, Turned):
            nothing_left(step, found.because, scene)
            return found
        found = permission(found, step, scene)
        if isinstance(found, Turned):
            return found
        before = goal.distance(_condition(scene), scene.names())
        made: list[Made] = []
        try:
            failure = _make(found, step, scene, remediation, made)
            if failure:
                return _take_back(made, scene, f"it could not be made: {failure}", result="failed")
            return _prove(found, step, scene, made, before)
        except BaseException as error:
            _undo_at_any_price(made, scene, error)
            raise


def _make(
    proposal: Proposal, step: ChangeStep, scene: Scene, remediation: Remediation, made: list[Made]
) -> str:
    """Announce, write and read back each change of a plan; gives why it failed, or nothing."""
    plan, tools = proposal.plan, scene.tools
    for change in plan.changes:
        if tools.cancel:
            return "the run was stopped"
        target = _target(scene)
        try:
            captured = remediation.capture(change, target)
        except Exception as error:  # noqa: BLE001 - a remediation may be a stranger's
            return _words(error)
        attempt = scene.log.next_attempt()
        scene.record(
            Intended(
                at=scene.now,
                step=step.id,
                attempt=attempt,
                remediation=plan.remediation,
                change=change,
                captured=dict(captured),
                lease_until=None if proposal.lease_s is None else scene.now + proposal.lease_s,
            )
        )
        made.append(Made(attempt, remediation, change, captured, step.id, plan.undo_by_hand))
        scene.touched = scene.void = True
        try:
            remediation.apply(change, target, captured)
            scene.find_again()
            if remediation.state(change, _target(scene), captured) != "after":
                return f"{change.where or change.knob.name} does not read {change.after_text} after the write"
        except TargetGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever went wrong, it is taken back
            return _words(error)
        scene.record(Applied(at=scene.now, step=step.id, attempt=attempt))
    return ""


def _prove(
    proposal: Proposal, step: ChangeStep, scene: Scene, made: list[Made], before: float | None
) -> Turned:
    """Measure the goal with the change in force; keep what helped, take back what did not."""
    plan = proposal.plan
    limit = scene.tools.clock.monotonic() + scene.seconds(step.timeout) if step.timeout else None
    measured, after, harm = _measure_after(plan, step, scene, limit)
    holds = bool(measured and measured.holds)
    if scene.tools.cancel and not holds:
        return _take_back(made, scene, "the run was stopped before it was proven")
    better = goal.is_better(before, after)
    keep = step.keep == "always" or (step.keep == "if-better" and (holds or better))
    if not all(_holds(one, _target(scene), "after") for one in made):
        return _take_back(made, scene, "the setting is no longer what was written")
    if harm and step.keep != "always":
        return _take_back(made, scene, f"it did harm: {harm}")
    if not keep:
        why = "it was a trial" if step.keep == "never" else _no_help(measured)
        return _take_back(made, scene, why)
    state: ChangeState = "kept" if proposal.lease_s is None else "leased"
    because = "the goal holds with it" if holds else "it helped" if better else "the runbook keeps it always"
    for one in made:
        scene.record(Settled(at=scene.now, step=step.id, attempt=one.attempt, state=state, because=because))
    made.clear()
    return Turned(state, because, holds)


def _measure_after(
    plan: Plan, step: ChangeStep, scene: Scene, limit: float | None
) -> tuple[GoalMeasured | None, float | None, str]:
    """The goal after a change, held; how far it was from holding; and what harm the change did.

    A reload disturbs the flow for a moment: when the first window is unknown, or better and not
    yet good, or shows harm, a second one decides.
    """
    if scene.runbook.goal is None:
        return None, None, ""
    condition = _condition(scene)
    predicted = {one.measure.partition(".")[0] for one in plan.predictions}
    also = goal.requests_of(scene, scene.looks, predicted) if predicted else []
    start = goal.distance(condition, scene.names())
    measured = goal.measure(scene, "after", also=also)
    after = goal.distance(condition, scene.names())
    unclear = measured.holds is None or (measured.holds is False and goal.is_better(start, after))
    if (unclear or goal.harm(scene, plan)) and not scene.tools.cancel:
        measured = goal.measure(scene, "after", also=also)
        after = goal.distance(condition, scene.names())
    goal.compare(scene, plan, step.id)
    harm = "" if scene.tools.cancel else goal.harm(scene, plan)
    return (measured if harm else goal.hold(scene, measured, limit)), after, harm


def _take_back(made: list[Made], scene: Scene, why: str, *, result: str = "undone") -> Turned:
    """Undo what was announced, newest first.

    Raises:
        ChangeFailed: Something could not be put back; the rest was.
    """
    failed: list[RunbookError] = []
    scene.goal = None
    while made:
        one = made[-1]
        state, because, by_hand = put_back(one, _target(scene), why)
        scene.record(
            Settled(
                at=scene.now,
                step=one.step,
                attempt=one.attempt,
                state=state,
                because=because,
                undo_by_hand=by_hand,
            )
        )
        made.pop()
        if state in {"left", "failed"}:
            failed.append(ChangeFailed(because, fix=by_hand))
    if failed:
        raise failed[0]
    scene.find_again()
    return Turned(result, why)


def put_back(one: Made, target: Target, why: str) -> tuple[ChangeState, str, str]:
    """Undo one change; gives how it then stands, why, and how a human takes it back if it does not.

    A setting that is as it was is undone too: an undo that was killed may have put it back and
    not come to its reload. Never raises: whatever a remediation throws is told as ``failed``.
    """
    if one.change.final:
        return "undone", f"{why}; nothing was to be taken back: {one.change.final}", ""
    was_before = _holds(one, target, "before")
    try:
        note = one.remediation.undo(one.change, target, one.captured)
    except ChangedSince as error:
        return "left", error.problem, error.fix
    except Exception as error:  # noqa: BLE001 - a remediation may be a stranger's
        return _after_failed_undo(one, target, why, error)
    if _holds(one, target, "before"):
        if was_before:
            return "not-made", f"{why}; {note or 'the setting is as it was'}", ""
        return "undone", f"{why}; {note}" if note else why, ""
    return "failed", f"it was undone and does not hold {one.change.before_text}", by_hand(one)


def _after_failed_undo(one: Made, target: Target, why: str, error: Exception) -> tuple[ChangeState, str, str]:
    """An undo that raised may still have put the setting back: a target that is gone takes no reload."""
    if _holds(one, target, "before"):
        return "undone", f"{why}; the setting is as it was, but: {_words(error)}", ""
    fix = error.fix if isinstance(error, RunbookError) else ""
    return "failed", f"it could not be undone: {_words(error)}", fix or by_hand(one)


def _holds(one: Made, target: Target, what: Literal["before", "after"]) -> bool:
    try:
        return one.remediation.state(one.change, target, one.captured) == what
    except Exception:  # noqa: BLE001 - what can't be read back is not proven
        return False


def by_hand(one: Made) -> str:
    """How a human takes a change back."""
    change = one.change
    return one.undo_by_hand or f"set {change.where or change.knob.name} back to {change.before_text}"


def _undo_at_any_price(made: list[Made], scene: Scene, error: BaseException) -> None:
    """Something unforeseen: put back what is not proven, and write that down if it can be written."""
    why = f"the run broke off: {_words(error)}"
    while made:
        one = made.pop()
        state, because, hand = put_back(one, _target(scene), why)
        try:
            scene.record(
                Settled(
                    at=scene.now,
                    step=one.step,
                    attempt=one.attempt,
                    state=state,
                    because=because,
                    undo_by_hand=hand,
                )
            )
        except JournalUnavailable:
            continue  # the intent is on disk: a fresh process finds the setting as it was


def _condition(scene: Scene) -> str:
    return scene.runbook.goal.until if scene.runbook.goal else ""


def _target(scene: Scene) -> Target:
    return scene.case().target


def _no_help(measured: GoalMeasured | None) -> str:
    if measured is None:
        return "nothing measures whether it helped"
    if measured.holds is None:
        return "whether it helped could not be measured"
    return "it did not help enough"


def _words(error: BaseException) -> str:
    return error.problem if isinstance(error, RunbookError) else f"{type(error).__name__}: {error}"
