"""Whether a step is carried out: what an earlier process did of it, and its condition.

One promise: a step is skipped only with its reason in the record.

Not here: carrying it out (``engine.running.steps``).
"""

from __future__ import annotations

from engine.language.model import Step
from engine.record import StepSkipped
from engine.running.outcomes import End, conclude
from engine.running.scene import Scene


def wanted(step: Step, scene: Scene, end: End | None = None) -> bool:
    """Whether its turn has come; ``end``: how the run has ended, for steps after that."""
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


def _begun(step: Step, scene: Scene) -> bool:
    """What an earlier process began is gone on with, whatever its condition says by now."""
    return any(step.id in begun for begun in (scene.calls, scene.lists, scene.asked))
