"""Causes that a runbook names itself, by conditions on what was seen: a diagnosis without Python.

One promise: a cause is named only where its condition holds; one whose condition could not be known is
noted, and never taken for absent.

Not here: diagnoses that are installed (``engine.catalog``).
"""

from __future__ import annotations

from engine.language.model import Decide, InlineCase
from engine.running.scene import Scene
from engine.values import Cause, Verdict


def decide(step: Decide, scene: Scene) -> Verdict:
    """The causes whose conditions hold: the best fit first, in the author's order where they fit alike.

    Raises:
        ExpressionError: A condition or a sentence is wrong.
    """
    causes, notes = [], []
    for case in step.cases:
        tested = scene.test(case.when)
        if tested.holds:
            causes.append(_cause(case, tested.because, scene))
        elif tested.holds is None:
            notes.append(f"whether it is {case.cause} can't be told: {tested.because}")
    causes.sort(key=lambda one: -one.confidence)
    sentence = causes[0].sentence if causes else "No cause fits what was seen."
    return Verdict(diagnosis=step.diagnosis, sentence=sentence, causes=tuple(causes), notes=tuple(notes))


def _cause(case: InlineCase, because: str, scene: Scene) -> Cause:
    return Cause(
        name=case.cause,
        sentence=scene.words(case.sentence),
        confidence=case.confidence,
        speaks_for=(because, *(scene.words(fact) for fact in case.speaks_for)),
        speaks_against=tuple(scene.words(fact) for fact in case.speaks_against),
        settles=scene.words(case.settles),
        fix=scene.words(case.fix),
    )
