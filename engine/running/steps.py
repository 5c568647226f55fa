"""The steps of a run, one after the other: each kind in a function of its own.

One promise: a step is skipped only with its reason in the record, tried again only while nothing
has been changed, and never begun after somebody asked to stop.

Not here: the run around them (``engine.running.runner``), the way of one change (``engine.running.remedy``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from engine.catalog import Catalog
from engine.contracts import Remediation
from engine.errors import Interrupted, JournalUnavailable, Refused, RunbookError, TargetGone
from engine.language.model import (
    Ask,
    Call,
    Change,
    Check,
    Decide,
    Each,
    Look,
    Run,
    Runbook,
    Step,
    Stop,
    Tell,
    Try,
    Wait,
    all_steps,
)
from engine.record import StepSkipped, StepStarted, Told
from engine.running import asking, calling, commands, goal, repeating, seeing, telling
from engine.running.outcomes import End, conclude, refused, stop_if_asked
from engine.running.scene import Scene, Turned

#: How often one rung is climbed while it helps and the goal does not hold yet.
_CLIMBS = 3
#: Steps whose beginning is worth a write of its own: they take time, or change something.
_LONG = (Look, Change, Try, Wait, Call, Each, Ask, Run)


class Turner(Protocol):
    """Hands, or the empty hands of a rehearsal."""

    def turn(
        self, step: Change, scene: Scene, rung: int = 0, remediation: Remediation | None = None
    ) -> Turned:
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


def walk(scene: Scene, hands: Turner) -> End | None:
    """All steps in order; gives an end when a step ended the run."""
    steps = scene.runbook.steps
    last_change = max((n for n, step in enumerate(steps) if changes(step)), default=-1)
    reached = 0

    def after(at: int, *, done: bool) -> None:
        nonlocal reached
        reached = at
        if done and (at == last_change or (at > last_change and scene.goal is None)):
            seeing.measure_end(scene)

    try:
        ended = _through(steps, scene, hands, after)
    except Refused as error:
        ended = refused(scene, error.problem)
    if ended is None:
        stop_if_asked(scene)
    elif ended[0] != "waiting":  # that is no end: the steps that are left may still come
        _last_words(steps[reached + 1 :], ended, scene)
    return ended


def _last_words(left: Sequence[Step], ended: End, scene: Scene) -> None:
    """Of the steps that are not reached any more, the last ``tell`` is carried out: people want to know."""
    for step in reversed(left):
        if isinstance(step, Tell):
            try:
                if _wanted(step, scene, ended):
                    telling.tell(scene, step, ended)
            except RunbookError as error:
                if isinstance(error, JournalUnavailable):
                    raise
                scene.warn(f"{step.title} failed: {error.problem}", step=step.id, fix=error.fix)
            return


def changes(step: Step) -> bool:
    """Whether a step, or one within it, may change something."""
    if isinstance(step, Each):
        return any(map(changes, step.steps))
    return isinstance(step, Change | Try | Call) or (isinstance(step, Run) and not step.reads)


class _Passed(Protocol):
    def __call__(self, at: int, *, done: bool) -> None:
        """A step is reached; or done, without having ended the run."""


def _through(steps: Sequence[Step], scene: Scene, hands: Turner, passed: _Passed | None = None) -> End | None:
    """Steps one after the other; gives an end when a step ended the run."""
    at = 0
    while at < len(steps):
        step = steps[at]
        if passed:
            passed(at, done=False)
        stop_if_asked(scene)
        following = at + 1
        try:
            ended = _step(step, scene, hands)
        except repeating.FATAL:
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
        if passed:
            passed(at, done=True)
        at = following
    return None


def _step(step: Step, scene: Scene, hands: Turner) -> End | None:
    """One step: its condition, its beginning, its work."""
    if isinstance(step, Change) or (isinstance(step, Run) and not step.reads):
        seeing.refresh(scene)
    if not _wanted(step, scene):
        return None
    title = scene.words(step.name or step.title)
    started = StepStarted(
        at=scene.now, step=step.id, title=title, action=_verb(step), seconds=_length(step, scene)
    )
    (scene.record if isinstance(step, _LONG) else scene.note)(started)
    return _retried(step, scene, lambda: _do(step, scene, hands))


def _do(step: Step, scene: Scene, hands: Turner) -> End | None:
    match step:
        case Look():
            seeing.look(step, scene)
        case Decide():
            seeing.decide(step, scene)
        case Change():
            _turn(step, scene, hands, 0)
        case Try():
            _climb(step, scene, hands)
        case Tell():
            telling.tell(scene, step, conclude(scene))
        case Wait():
            seeing.wait(step, scene)
        case Check():
            return _check(step, scene)
        case Call():
            return calling.call(step, scene)
        case Each():
            return repeating.each(step, scene, lambda inner, where: _through(inner, where, hands))
        case Ask():
            return asking.ask(step, scene)
        case Run():
            _run(step, scene, hands)
        case Stop():
            return step.outcome, scene.words(step.because)
    return None


def _wanted(step: Step, scene: Scene, end: End | None = None) -> bool:
    if step.id in scene.already:
        because = "already tried in this run"
        scene.record(StepSkipped(at=scene.now, step=step.id, title=step.title, because=because))
        return False
    if not step.when or _begun(step, scene):
        return True
    tested = scene.test(step.when, end or conclude(scene))
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
            seeing.look(step, scene) if isinstance(step, Look) else seeing.decide(step, scene)
        except (JournalUnavailable, Interrupted):
            raise
        except RunbookError as error:
            scene.warn(f"{step.title} failed: {error.problem}", step=step.id, fix=error.fix)


def _begun(step: Step, scene: Scene) -> bool:
    """What an earlier process began is gone on with, whatever its condition says by now."""
    return any(step.id in begun for begun in (scene.calls, scene.lists, scene.asked))


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
            seeing.refresh(scene)
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
    seeing.refresh(scene)
    return False


def _run(step: Run, scene: Scene, hands: Turner) -> None:
    if step.reads:
        commands.read(step, scene)
        return
    change, hand = commands.changing(step, scene)
    _turn(change, scene, hands, 0, hand)


def _turn(
    step: Change, scene: Scene, hands: Turner, rung: int, remediation: Remediation | None = None
) -> Turned:
    turned = hands.turn(step, scene, rung, remediation)
    scene.turned.append((step, turned))
    if turned.result == "blocked" and step.on_failure != "continue":
        # What can't be done is not what need not be done: no costlier step takes its place unsaid.
        raise Refused(
            f"{step.remediation} can't be changed: {turned.because}", fix="mend that, then run it again"
        )
    return turned


# ── the rest ────────────────────────────────────────────────────────────────────


def _check(step: Check, scene: Scene) -> End | None:
    tested = scene.test(step.that)
    if tested.holds:
        scene.record(Told(at=scene.now, step=step.id, sentence=tested.because))
        return None
    sentence = scene.words(step.otherwise or step.must)
    return step.outcome, f"{sentence} ({tested.because})"


def _length(step: Step, scene: Scene) -> float | None:
    """How long a step will take, where that is known before."""
    if isinstance(step, Look):
        return goal.window_of(goal.requests_of(scene, [step]))
    return scene.seconds(step.seconds) if isinstance(step, Wait) else None


def _verb(step: Step) -> str:
    return str(type(step).__struct_config__.tag)
