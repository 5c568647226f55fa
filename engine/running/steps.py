"""The steps of a run, one after the other: each kind in a function of its own.

One promise: they come in their order, a failure leads where its step says, and none is begun after
somebody asked to stop.

Not here: the run around them (``engine.running.runner``), conditions (``engine.running.wanted``), steps that
change something (``engine.running.changing``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.catalog import Catalog
from engine.errors import Interrupted, JournalUnavailable, Refused, RunbookError
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
from engine.record import StepStarted, Told
from engine.running import asking, calling, goal, repeating, seeing, telling
from engine.running.changing import Turner, change_once, changes, climb, run
from engine.running.outcomes import End, conclude, refused, stop_if_asked
from engine.running.retrying import retried
from engine.running.scene import Scene
from engine.running.wanted import wanted

#: Steps whose beginning is worth a write of its own: they take time, or change something.
_LONG = (Look, Change, Try, Wait, Call, Each, Ask, Run)


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
                if wanted(step, scene, ended):
                    telling.tell(scene, step, ended)
            except RunbookError as error:
                if isinstance(error, JournalUnavailable):
                    raise
                scene.warn(f"{step.title} failed: {error.problem}", step=step.id, fix=error.fix)
            return


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
    if not wanted(step, scene):
        return None
    title = scene.words(step.name or step.title)
    started = StepStarted(
        at=scene.now, step=step.id, title=title, action=_verb(step), seconds=_length(step, scene)
    )
    (scene.record if isinstance(step, _LONG) else scene.note)(started)
    return retried(step, scene, lambda: _do(step, scene, hands))


def _do(step: Step, scene: Scene, hands: Turner) -> End | None:
    ended: End | None = None
    match step:
        case Look():
            seeing.look(step, scene)
        case Decide():
            seeing.decide(step, scene)
        case Change():
            ended = change_once(step, scene, hands)
        case Try():
            ended = climb(step, scene, hands)
        case Tell():
            telling.tell(scene, step, conclude(scene))
        case Wait():
            seeing.wait(step, scene)
        case Check():
            ended = _check(step, scene)
        case Call():
            ended = calling.call(step, scene)
        case Each():
            ended = repeating.each(step, scene, lambda inner, where: _through(inner, where, hands))
        case Ask():
            ended = asking.ask(step, scene)
        case Run():
            ended = run(step, scene, hands)
        case Stop():
            ended = step.outcome, scene.words(step.because)
    return ended


def explain(scene: Scene) -> None:
    """The steps before the first change that only look and decide: the goal holds, and it is asked why."""
    for step in scene.runbook.steps:
        if isinstance(step, Change | Try):
            return
        stop_if_asked(scene)
        if not isinstance(step, Look | Decide) or not wanted(step, scene):
            continue
        scene.note(StepStarted(at=scene.now, step=step.id, title=step.title, action=_verb(step)))
        try:
            seeing.look(step, scene) if isinstance(step, Look) else seeing.decide(step, scene)
        except (JournalUnavailable, Interrupted):
            raise
        except RunbookError as error:
            scene.warn(f"{step.title} failed: {error.problem}", step=step.id, fix=error.fix)


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
