"""Steps that look and decide: evidence gathered, gathered anew when a change has made it void.

One promise: nothing is decided from evidence that is older than a change.

Not here: the goal (``engine.running.goal``), shared windows (``engine.running.looking``).
"""

from __future__ import annotations

import msgspec

from engine.errors import ProbeFailed
from engine.language.expressions import names_in
from engine.language.model import Decide, Goal, Look, Wait
from engine.record import Decided, Told
from engine.running import cases, goal
from engine.running.outcomes import stop_if_asked
from engine.running.scene import Scene

#: How often a ``wait`` without probes of its own looks at its condition, in seconds.
GLANCE_S = 1.0


def look(step: Look, scene: Scene) -> None:
    """Look with all its probes in one window. Raises ``ProbeFailed`` when none of them could."""
    requests = goal.requests_of(scene, [step])
    seconds = goal.window_of(requests)
    limit = scene.seconds(step.timeout, seconds)
    before = set(map(id, scene.evidence.values()))
    goal.see(scene, step.id, requests, min(seconds, limit))
    scene.looks = [one for one in scene.looks if one.id != step.id] + [step]
    stop_if_asked(scene)
    if all(id(seen) in before for seen in scene.evidence.values()):
        raise ProbeFailed(f"none of {', '.join(step.probes)} could look", fix="runbook doctor")


def decide(step: Decide, scene: Scene) -> None:
    """Name the causes from what was seen."""
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


def refresh(scene: Scene) -> None:
    """Evidence from before a change is void: look again, all in one window, and decide again."""
    if not scene.void or not scene.looks:
        return
    requests = goal.requests_of(scene, reversed(scene.looks))
    goal.see(scene, scene.looks[-1].id, requests)
    scene.void = False
    for step in scene.decides:
        decide(step, scene)


def wait(step: Wait, scene: Scene) -> None:
    """Let time pass, or look until a condition holds; what was seen meanwhile is decided from anew."""
    clock = scene.tools.clock
    ends = clock.monotonic() + min(scene.seconds(step.seconds), scene.seconds(step.timeout, float("inf")))
    named = {name.partition(".")[0] for name in names_in(step.until)} if step.until else set()
    looks: list[Look | Goal] = [*reversed(scene.looks)]
    looks += [scene.runbook.goal] if scene.runbook.goal else []
    requests = goal.requests_of(scene, looks, named) if named else []
    looked = False
    while (left := ends - clock.monotonic()) > 0:
        stop_if_asked(scene)
        if step.until and scene.test(step.until).holds:
            break
        if requests:
            goal.see(scene, step.id, requests, min(left, goal.window_of(requests)))
            looked = True
        else:
            clock.sleep(min(left, GLANCE_S) if step.until else left)
    stop_if_asked(scene)
    scene.goal = None
    for decided in scene.decides if looked else ():
        decide(decided, scene)  # what was said before the wait may hold no more
    if step.until:
        tested = scene.test(step.until)
        sentence = f"waited {'until' if tested.holds else 'in vain for'} {tested.because}"
        scene.record(Told(at=scene.now, step=step.id, sentence=sentence))


def measure_end(scene: Scene) -> None:
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
