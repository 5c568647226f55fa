"""The steps of a run, one after the other: each kind in a function of its own.

One promise: a step is skipped only with its reason in the record, tried again only while nothing
has been changed, and never begun after somebody asked to stop.

Not here: the run around them (``engine.running.runner``), the way of one change (``engine.running.remedy``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from engine.catalog import Catalog
from engine.errors import (
    ChangeFailed,
    Interrupted,
    JournalUnavailable,
    ProbeFailed,
    Refused,
    RunbookError,
    TargetGone,
)
from engine.language.expressions import names_in
from engine.language.model import (
    Call,
    Change,
    Check,
    Decide,
    Look,
    Runbook,
    Step,
    Stop,
    Tell,
    Try,
    Wait,
    all_steps,
)
from engine.record import Decided, StepSkipped, StepStarted, Told
from engine.running import calling, cases, goal, telling
from engine.running.outcomes import End, conclude, interrupted
from engine.running.scene import Scene, Turned

#: How often one rung is climbed while it helps and the goal does not hold yet.
_CLIMBS = 3
#: How often a ``wait`` without probes of its own looks at its condition, in seconds.
GLANCE_S = 1.0
#: Steps whose beginning is worth a write of its own: they take time, or change something.
_LONG = (Look, Change, Try, Wait, Call)


class Turner(Protocol):
    """Hands, or the empty hands of a rehearsal."""

    def turn(self, step: Change, scene: Scene, rung: int = 0) -> Turned:
        """Carry one change step out, or show what it would do."""


def preflight(runbook: Runbook, parts: Catalog) -> None:
    """Every part that a runbook names must be there before anything begins.

    Raises:
        UnknownName: One is not.
    """
    for step in all_steps(runbook.steps):
        if isinstance(step, Look):
            for name in (*step.probes, *step.fallback):
                parts.probe(name)
        elif isinstance(step, Decide) and not step.cases:
            parts.diagnosis(step.diagnosis)
        elif isinstance(step, Change):
            parts.remediation(step.remediation)
    for name in runbook.goal.probes if runbook.goal else ():
        parts.probe(name)


def stop_if_asked(scene: Scene) -> None:
    """Raises ``Interrupted`` when somebody asked the run to stop."""
    if scene.tools.cancel:
        raise Interrupted(
            interrupted(scene), fix=f"runbook resume {scene.head.id}, or runbook undo {scene.head.id}"
        )


def walk(scene: Scene, hands: Turner) -> End | None:
    """All steps in order; gives an end when a step ended the run."""
    last_change = max(
        (n for n, s in enumerate(scene.runbook.steps) if isinstance(s, Change | Try | Call)), default=-1
    )
    at, steps = 0, scene.runbook.steps
    while at < len(steps):
        step = steps[at]
        stop_if_asked(scene)
        following = at + 1
        try:
            ended = _step(step, scene, hands)
        except (JournalUnavailable, Interrupted, ChangeFailed, TargetGone):
            raise
        except RunbookError as error:
            if step.on_failure == "stop":
                raise
            scene.warn(f"{step.title} failed: {error.problem}; going on", step=step.id, fix=error.fix)
            ended = None
            if step.on_failure != "continue":
                following = next(n for n, one in enumerate(steps) if one.id == step.on_failure)
        if ended is not None:
            return ended
        if at == last_change or (at > last_change and scene.goal is None):
            _measure_end(scene)
        at = following
    stop_if_asked(scene)
    return None


def _step(step: Step, scene: Scene, hands: Turner) -> End | None:
    """One step: its condition, its beginning, its work."""
    if isinstance(step, Change):
        _refresh(scene)
    if not _wanted(step, scene):
        return None
    title = scene.words(step.name) if step.name else step.title
    started = StepStarted(
        at=scene.now, step=step.id, title=title, action=_verb(step), seconds=_length(step, scene)
    )
    (scene.record if isinstance(step, _LONG) else scene.note)(started)
    return _retried(step, scene, lambda: _do(step, scene, hands))


def _do(step: Step, scene: Scene, hands: Turner) -> End | None:
    match step:
        case Look():
            _look(step, scene)
        case Decide():
            _decide(step, scene)
        case Change():
            _turn(step, scene, hands, 0)
        case Try():
            _climb(step, scene, hands)
        case Tell():
            telling.tell(scene, step.id, scene.words(step.sentence, conclude(scene)), step.to)
        case Wait():
            _wait(step, scene)
        case Check():
            return _check(step, scene)
        case Call():
            return calling.call(step, scene)
        case Stop():
            return step.outcome, scene.words(step.because)
    return None


def _wanted(step: Step, scene: Scene) -> bool:
    if isinstance(step, Change) and step.id in scene.already:
        because = "already tried in this run"
        scene.record(StepSkipped(at=scene.now, step=step.id, title=step.title, because=because))
        return False
    if not step.when or step.id in scene.calls:  # what an earlier process began is gone on with
        return True
    tested = scene.test(step.when, conclude(scene))
    if not tested.holds:
        scene.record(StepSkipped(at=scene.now, step=step.id, title=step.title, because=tested.because))
    return bool(tested.holds)


def explain(scene: Scene) -> None:
    """The steps before the first change that only look and decide: the goal holds, and it is asked why."""
    for step in scene.runbook.steps:
        if isinstance(step, Change | Try):
            return
        stop_if_asked(scene)
        if not isinstance(step, Look | Decide) or not _wanted(step, scene):
            continue
        scene.note(StepStarted(at=scene.now, step=step.id, title=step.title, action=_verb(step)))
        try:
            _look(step, scene) if isinstance(step, Look) else _decide(step, scene)
        except (JournalUnavailable, Interrupted):
            raise
        except RunbookError as error:
            scene.warn(f"{step.title} failed: {error.problem}", step=step.id, fix=error.fix)


def _retried(step: Step, scene: Scene, work: Callable[[], End | None]) -> End | None:
    """Try again on failure, as the step says, as long as nothing has been changed."""
    if step.retry is None:
        return work()
    import tenacity  # noqa: PLC0415 - 30 ms, and few steps say `retry`

    def may_again(error: BaseException) -> bool:
        fatal = isinstance(error, JournalUnavailable | Interrupted | TargetGone)
        return isinstance(error, RunbookError) and not (fatal or scene.touched or scene.tools.cancel)

    def note(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        problem = error.problem if isinstance(error, RunbookError) else str(error)
        scene.warn(f"{step.title}: {problem}; attempt {state.attempt_number + 1} follows", step=step.id)

    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(step.retry.times + 1),
        wait=tenacity.wait_exponential(
            multiplier=scene.seconds(step.retry.wait), exp_base=step.retry.backoff, max=3600
        ),
        retry=tenacity.retry_if_exception(may_again),
        before_sleep=note,
        sleep=scene.tools.clock.sleep,
        reraise=True,
    )
    return again(work)


# ── seeing ──────────────────────────────────────────────────────────────────────


def _look(step: Look, scene: Scene) -> None:
    requests = goal.requests_of(scene, [step])
    seconds = goal.window_of(requests)
    limit = scene.seconds(step.timeout, seconds)
    before = set(map(id, scene.evidence.values()))
    goal.see(scene, step.id, requests, min(seconds, limit))
    scene.looks = [one for one in scene.looks if one.id != step.id] + [step]
    stop_if_asked(scene)
    if all(id(seen) in before for seen in scene.evidence.values()):
        raise ProbeFailed(f"none of {', '.join(step.probes)} could look", fix="runbook doctor")


def _decide(step: Decide, scene: Scene) -> None:
    if step.cases:
        verdict = cases.decide(step, scene)
    else:
        case = scene.case()
        if step.evidence:
            kept = {name: seen for name, seen in case.evidence.items() if name in step.evidence}
            case = msgspec.structs.replace(case, evidence=kept)
        verdict = scene.tools.parts.diagnosis(step.diagnosis).decide(case)
    scene.verdicts[step.label] = verdict
    scene.decides = [one for one in scene.decides if one.id != step.id] + [step]
    scene.record(Decided(at=scene.now, step=step.id, verdict=verdict))


def _refresh(scene: Scene) -> None:
    """Evidence from before a change is void: look again, all in one window, and decide again."""
    if not scene.void or not scene.looks:
        return
    requests = goal.requests_of(scene, reversed(scene.looks))
    goal.see(scene, scene.looks[-1].id, requests)
    scene.void = False
    for step in scene.decides:
        _decide(step, scene)


# ── changing ────────────────────────────────────────────────────────────────────


def _climb(step: Try, scene: Scene, hands: Turner) -> None:
    """The rungs of a ladder, until the goal holds or, if the author says so, until one helped.

    A rung that helped, but not enough, is planned anew from new evidence: a reader that can
    breathe again shows its true limits.
    """
    if step.stop == "first-better" and _some_stand(step, scene):
        return  # it helped before the run was taken up again
    for number, rung in enumerate(step.rungs, 1):
        for _ in range(_CLIMBS):
            stop_if_asked(scene)
            _refresh(scene)
            if _holds_by_now(step, scene):
                return
            stop_if_asked(scene)
            if not _wanted(rung, scene):
                break
            scene.note(StepStarted(at=scene.now, step=rung.id, title=rung.title, action="change"))
            turned = _turn(rung, scene, hands, number)
            if turned.holds or (step.stop == "first-better" and turned.stands):
                return
            if not turned.stands:
                break


def _some_stand(step: Try, scene: Scene) -> bool:
    rungs = {rung.id for rung in step.rungs}
    return any(turned.stands for one, turned in scene.turned if one.id in rungs)


def _holds_by_now(step: Try, scene: Scene) -> bool:
    """Whether the goal holds with what stands: one bad window in its hold calls for no further change."""
    wanted = scene.runbook.goal
    if wanted is None or not _some_stand(step, scene) or not scene.test(wanted.until).holds:
        return False
    if goal.hold(scene, goal.measure(scene, "end")).holds:
        return True
    scene.void = True
    _refresh(scene)
    return False


def _turn(step: Change, scene: Scene, hands: Turner, rung: int) -> Turned:
    turned = hands.turn(step, scene, rung)
    scene.turned.append((step, turned))
    if turned.result == "blocked" and step.on_failure != "continue":
        # What can't be done is not what need not be done: no costlier step takes its place unsaid.
        raise Refused(
            f"{step.remediation} can't be changed: {turned.because}", fix="mend that, then run it again"
        )
    return turned


def _measure_end(scene: Scene) -> None:
    """After the last change: measure anew where the last measurement does not tell how it is now.

    It does not after an undo or a wait, nor where something stands that helped in part: the
    target may have needed longer than its proof to work off what had piled up.
    """
    if scene.runbook.goal is None:
        return
    helped = any(turned.stands for _, turned in scene.turned)
    if scene.goal is None or (helped and not scene.goal.holds):
        stop_if_asked(scene)
        goal.hold(scene, goal.measure(scene, "end"))


# ── the rest ────────────────────────────────────────────────────────────────────


def _check(step: Check, scene: Scene) -> End | None:
    tested = scene.test(step.that)
    if tested.holds:
        scene.record(Told(at=scene.now, step=step.id, sentence=tested.because))
        return None
    sentence = scene.words(step.otherwise or step.must)
    because = f"{sentence} ({tested.because})"
    scene.record(Told(at=scene.now, step=step.id, sentence=because, level="error"))
    return step.outcome, because


def _wait(step: Wait, scene: Scene) -> None:
    clock = scene.tools.clock
    ends = clock.monotonic() + min(scene.seconds(step.seconds), scene.seconds(step.timeout, float("inf")))
    named = {name.partition(".")[0] for name in names_in(step.until)} if step.until else set()
    requests = goal.requests_of(scene, reversed(scene.looks), named) if named else []
    while (left := ends - clock.monotonic()) > 0:
        stop_if_asked(scene)
        if step.until and scene.test(step.until).holds:
            break
        if requests:
            goal.see(scene, step.id, requests, min(left, goal.window_of(requests)))
        else:
            clock.sleep(min(left, GLANCE_S) if step.until else left)
    stop_if_asked(scene)
    scene.goal = None
    if step.until:
        tested = scene.test(step.until)
        sentence = f"waited {'until' if tested.holds else 'in vain for'} {tested.because}"
        scene.record(Told(at=scene.now, step=step.id, sentence=sentence))


def _length(step: Step, scene: Scene) -> float | None:
    """How long a step will take, where that is known before."""
    if isinstance(step, Look):
        return goal.window_of(goal.requests_of(scene, [step]))
    return scene.seconds(step.seconds) if isinstance(step, Wait) else None


def _verb(step: Step) -> str:
    return str(type(step).__struct_config__.tag)
