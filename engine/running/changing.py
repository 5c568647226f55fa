"""Steps that change something: one change, a ladder of them, a command.

One promise: a ladder ends at the first rung with which the goal holds; what can't be done is not
passed over for something costlier.

Not here: the way of one change (``engine.running.remedy``), all other steps (``engine.running.steps``).
"""

from __future__ import annotations

from typing import Protocol

from engine.contracts import Remediation
from engine.errors import Refused
from engine.language.model import Call, Change, Each, Run, Step, Try
from engine.record import StepStarted
from engine.running import commands, goal, seeing
from engine.running.outcomes import End, stop_if_asked, waits
from engine.running.scene import Scene, Turned
from engine.running.wanted import wanted

#: How often one rung is climbed while it helps and the goal does not hold yet.
_CLIMBS = 3


class Turner(Protocol):
    """Hands, or the empty hands of a rehearsal."""

    def turn(
        self, step: Change, scene: Scene, rung: int = 0, remediation: Remediation | None = None
    ) -> Turned:
        """Carry one change step out, or show what it would do."""


def changes(step: Step) -> bool:
    """Whether a step, or one within it, may change something."""
    if isinstance(step, Each):
        return any(map(changes, step.steps))
    return isinstance(step, Change | Try | Call) or (isinstance(step, Run) and not step.reads)


def climb(step: Try, scene: Scene, hands: Turner) -> End | None:
    """The rungs of a ladder, until the goal holds or, if the author says so, until one helped.

    A rung that waits for a yes ends the run for now: what comes after it is not done in its place.

    A rung that helped, but not enough, is planned anew from new evidence: a reader that can
    breathe again shows its true limits.
    """
    if step.stop == "first-better" and _some_stand(step, scene):
        return None  # it helped before the run was taken up again
    for number, rung in enumerate(step.rungs, 1):
        for _ in range(_CLIMBS):
            stop_if_asked(scene)
            seeing.refresh(scene)
            if _holds_by_now(step, scene):
                return None
            stop_if_asked(scene)
            if not wanted(rung, scene):
                break
            scene.note(StepStarted(at=scene.now, step=rung.id, title=rung.title, action="change"))
            turned = turn(rung, scene, hands, number)
            if turned.result == "waiting":
                return waits(scene)
            if turned.holds or (step.stop == "first-better" and turned.stands):
                return None
            if not turned.stands:
                break
    return None


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


def run(step: Run, scene: Scene, hands: Turner) -> End | None:
    """A command: it reads, or it changes something as a remediation would."""
    if step.reads:
        commands.read(step, scene)
        return None
    change, hand = commands.changing(step, scene)
    return change_once(change, scene, hands, hand)


def change_once(
    step: Change, scene: Scene, hands: Turner, remediation: Remediation | None = None
) -> End | None:
    """A change outside a ladder; an end when it waits for a yes."""
    turned = turn(step, scene, hands, remediation=remediation)
    return waits(scene) if turned.result == "waiting" else None


def turn(
    step: Change, scene: Scene, hands: Turner, rung: int = 0, remediation: Remediation | None = None
) -> Turned:
    """One change, remembered with what became of it.

    Raises:
        Refused: It can't be made, and its step does not say to go on.
    """
    turned = hands.turn(step, scene, rung, remediation)
    scene.turned.append((step, turned))
    if turned.result == "waiting":
        stop_if_asked(scene)
    if turned.result == "blocked" and step.on_failure != "continue":
        # What can't be done is not what need not be done: no costlier step takes its place unsaid.
        raise Refused(
            f"{step.remediation} can't be changed: {turned.because}", fix="mend that, then run it again"
        )
    return turned
