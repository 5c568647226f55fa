"""Looking within a run, and the goal: measured, held, and compared with what was predicted.

One promise: "it holds" is said only of something measured, through a whole window, and held as
long as the runbook asks; of bursts, through three of them at least. Unknown never holds.

Not here: shared windows (``looking``), what to do when it does not hold (``remedy``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeGuard

import msgspec

from engine import text
from engine.errors import ProbeFailed, RunbookError, TargetGone
from engine.language import expressions
from engine.language.model import Goal, Look
from engine.record import Compared, GoalMeasured, ProbeMissed, Seen, StepStarted, Told
from engine.running.looking import Missed, Request, View, look
from engine.running.scene import Scene
from engine.values import Plan, Prediction, Target

WINDOW_S = 10.0
#: The reading that tells how far apart bursts are, in seconds.
BURST_SPACING = "burst_spacing_s"
#: A goal about bursts is held through this many of them …
BURSTS = 3
#: … but for no longer than this beyond what the runbook asks.
LONGEST_EXTRA_S = 120.0
#: What is left of the distance to the goal, for a change to count as better.
BETTER = 0.75
#: How near a measurement must come to its prediction: share of the value, share of the step.
NEAR, NEAR_STEP = 0.25, 0.05  # the reports say "within 25 %"


def preflight(scene: Scene) -> None:
    """Fail at once when no probe of the goal can look here: its whole window would be waited for nothing.

    Raises:
        ProbeFailed: Every one says no; with what mends the first.
    """
    probes = [
        scene.tools.parts.probe(name) for name in (scene.runbook.goal.probes if scene.runbook.goal else ())
    ]
    answers = [(probe, probe.supported(scene.target)) for probe in probes]
    if answers and all(support.answer == "no" for _, support in answers):
        probe, support = answers[0]
        raise ProbeFailed(
            f"the goal can't be measured: {probe.name} can't look here: {support.why}",
            fix=support.fix or "runbook doctor",
        )


Phase = Literal["before", "after", "hold", "end"]
#: The monotonic moment after which a step must not go on.
Deadline = float | None


# ── looking ─────────────────────────────────────────────────────────────────────


def requests_of(scene: Scene, steps: Iterable[Look | Goal], wanted: Iterable[str] = ()) -> list[Request]:
    """Requests of several steps, each probe once per name; the first mention's options count.

    Args:
        scene: The run.
        steps: Steps that look.
        wanted: Short names; when given, only probes that give one of them.
    """
    found: dict[str, Request] = {}
    only = set(wanted)
    for step in steps:
        options = scene.options(step.options)
        label = step.label if isinstance(step, Look) else ""
        fallback = step.fallback if isinstance(step, Look) else ()
        for name in step.probes:
            probe = scene.tools.parts.probe(name)
            short = label or probe.short
            if short in found or (only and short not in only):
                continue
            known = {key: value for key, value in options.items() if key in probe.options or key == "window"}
            others = tuple(scene.tools.parts.probe(other) for other in fallback)
            found[short] = Request(probe, known, label, others)
    return list(found.values())


def see(scene: Scene, step: str, requests: Sequence[Request], seconds: float | None = None) -> None:
    """Look with all requests in one window; what is seen replaces what was seen before.

    When some could not look and the target has other processes or BPF objects by then (it was
    reloaded), those look once more, at what it has now.

    Args:
        scene: The run; its evidence is updated.
        step: Id of the step, for the record.
        requests: What to look with.
        seconds: Length of the window; by default the longest that a request asks for.

    Raises:
        TargetGone: The target ended while it was looked at.
    """
    length = window_of(requests) if seconds is None else seconds
    missed = _see(scene, step, requests, length)
    again = [one for one in requests if one.probe.name in missed]
    if again and not scene.tools.cancel and _changed(scene):
        names = ", ".join(one.probe.name for one in again)
        sentence = (
            f"the target was reloaded while it was looked at: {names} looks once more, at what it has now"
        )
        scene.record(Told(at=scene.now, step=step, sentence=sentence))
        _see(scene, step, again, length)


def _changed(scene: Scene) -> bool:
    """Find the target anew; whether it has other processes or BPF objects than it had."""
    before = scene.target
    try:
        scene.find_again()
    except TargetGone:
        raise
    except RunbookError:
        return False  # whether it changed can't be told now; what was missed is told already
    return before is not None and scene.target is not None and _held(before) != _held(scene.target)


def _held(target: Target) -> tuple[object, ...]:
    pids = {(one.pid, one.started_ticks) for one in target.processes}
    return pids, set(target.map_ids), set(target.program_ids)


def _see(scene: Scene, step: str, requests: Sequence[Request], length: float) -> set[str]:
    """Look for one window; gives the names of the probes that could not, and had none in their place."""

    def show(_probe: str, label: str, value: float, unit: str) -> None:
        scene.tools.watcher.number(step, label, value, unit)

    tools, missed = scene.tools, set()
    view = View(scene.target, length, tools.clock, tools.cancel, show, directory=str(scene.directory))
    gone: RunbookError | None = None
    for answer in look(requests, view):
        if isinstance(answer, Missed):
            event = ProbeMissed(
                at=scene.now,
                step=step,
                probe=answer.probe,
                problem=answer.error.problem,
                fix=answer.error.fix,
                fallback=answer.fallback,
            )
            scene.record(event)
            scene.evidence = {k: v for k, v in scene.evidence.items() if v.probe != answer.probe}
            gone = answer.error if isinstance(answer.error, TargetGone) else gone
            if not answer.fallback:
                missed.add(answer.probe)
        else:
            scene.evidence[answer.short] = answer
            scene.burst_spacing_s = max(scene.burst_spacing_s, answer.number(BURST_SPACING) or 0.0)
            scene.record(Seen(at=scene.now, step=step, evidence=answer))
    if gone is not None:
        raise gone
    return missed


def window_of(requests: Sequence[Request]) -> float:
    """The longest window that a request asks for, in seconds."""
    asked = [float(w) for one in requests if isinstance(w := one.options.get("window"), int | float)]
    return max(asked, default=WINDOW_S)


# ── the goal ────────────────────────────────────────────────────────────────────


#: What a measurement is called while it goes on.
_TITLES: dict[Phase, str] = {
    "before": "measure the goal",
    "after": "measure the goal again",
    "hold": "hold the goal",
    "end": "measure the goal at the end",
}


def measure(
    scene: Scene, phase: Phase, *, also: Sequence[Request] = (), seconds: float | None = None
) -> GoalMeasured:
    """Look as the goal says, for one window, and judge its condition.

    Args:
        scene: The run; without a goal its condition is empty and unknown.
        phase: What the measurement is for.
        also: Further probes for the same window.
        seconds: Length of the window, when not the goal's own.
    """
    found = _measured(scene, phase, also, seconds)
    return _take(scene, found)


def hold(scene: Scene, first: GoalMeasured, deadline: Deadline = None) -> GoalMeasured:
    """Go on measuring until the goal has held as long as it must, or has failed.

    Gives the last measurement. It holds only when ``held_s`` has reached ``hold_s``: stopped
    early, by the deadline or from outside, it is unknown.
    """
    clock, last = scene.tools.clock, first
    window = window_of(requests_of(scene, _goals(scene)))
    while last.holds and last.held_s < (wanted := hold_s(scene)):
        if deadline is not None and clock.monotonic() >= deadline:
            return _take(scene, msgspec.structs.replace(last, at=scene.now, holds=None))
        length = min(window, max(wanted - last.held_s, window / 4))
        now = _measured(scene, "hold", (), length)
        held = last.held_s + length if now.holds else 0.0
        last = _take(scene, msgspec.structs.replace(now, held_s=held, hold_s=wanted))
    return last


def hold_s(scene: Scene) -> float:
    """How long the goal must hold: as the runbook says, and three burst spacings where bursts are known."""
    asked = scene.seconds(scene.runbook.goal.hold) if scene.runbook.goal else 0.0
    bursts = BURSTS * scene.burst_spacing_s
    return max(asked, min(bursts, asked + LONGEST_EXTRA_S))


def _measured(scene: Scene, phase: Phase, also: Sequence[Request], seconds: float | None) -> GoalMeasured:
    goal = scene.runbook.goal
    requests = requests_of(scene, _goals(scene))
    taken = {one.label or one.probe.short for one in requests}
    length = seconds if seconds is not None else window_of(requests)
    action = ", ".join(one.probe.name for one in requests)
    scene.note(StepStarted(at=scene.now, step="goal", title=_TITLES[phase], action=action, seconds=length))
    see(scene, "goal", [*requests, *(o for o in also if (o.label or o.probe.short) not in taken)], length)
    if goal is None:
        return GoalMeasured(at=scene.now, step="goal", phase=phase, condition="", holds=None)
    tested = scene.test(goal.until)
    # A window that was cut short has not shown that the goal holds; a loss seen in it is seen.
    holds = None if scene.tools.cancel and tested.holds else tested.holds
    return GoalMeasured(
        at=scene.now,
        step="goal",
        phase=phase,
        condition=goal.until,
        means=scene.words(goal.means) if goal.means else "",
        holds=holds,
        values=tested.values,
        held_s=length if holds else 0.0,
        hold_s=hold_s(scene),
    )


def _take(scene: Scene, found: GoalMeasured) -> GoalMeasured:
    scene.goal = found
    scene.record(found)
    return found


def _goals(scene: Scene) -> list[Goal]:
    return [scene.runbook.goal] if scene.runbook.goal else []


# ── better, and as predicted ────────────────────────────────────────────────────


def distance(condition: str, names: Mapping[str, object]) -> float | None:
    """How far the measured numbers are from a condition: 0 where it holds; None where that can't be said.

    Sums over the comparisons that are joined by ``and``; other parts of a condition count for
    nothing. Only distances to one condition can be compared with each other.
    """
    total: float | None = None
    for part in condition.split(" and "):
        match = _COMPARISON.fullmatch(part.strip())
        if match is None:
            continue
        try:
            left, right = (expressions.evaluate(side, names) for side in (match[1], match[3]))
        except RunbookError:
            continue
        if not (_is_number(left) and _is_number(right)):
            return None
        total = (total or 0.0) + _OFF[match[2]](left, right)
    return total


def is_better(before: float | None, after: float | None) -> bool:
    """Whether a distance to the goal became measurably smaller."""
    return before is not None and after is not None and before > 0 and after <= BETTER * before


def compare(scene: Scene, plan: Plan, step: str) -> None:
    """Record each prediction of a plan beside what was measured; not of a window that was cut short."""
    if scene.tools.cancel:
        return
    case = scene.case()
    for one in plan.predictions:
        measured = case.number(one.measure)
        scene.record(
            Compared(
                at=scene.now,
                step=step,
                remediation=plan.remediation,
                measure=one.measure,
                unit=one.unit,
                before=one.before,
                predicted=one.after,
                measured=measured,
                at_most=one.at_most,
                met=None if measured is None else _met(one, measured),
            )
        )


def harm(scene: Scene, plan: Plan) -> str:
    """What a change promised and broke, in words; nothing when it kept all, or it can't be known."""
    case = scene.case()
    for one in plan.predictions:
        measured = case.number(one.measure) if one.promised else None
        if measured is not None and not _met(one, measured):
            now, most = text.measure(measured, one.unit), text.measure(one.after, one.unit)
            return f"{one.measure} is {now}, and {most} at most was promised"
    return ""


def _met(prediction: Prediction, measured: float) -> bool:
    after = prediction.after
    step = abs(after - prediction.before) if prediction.before is not None else 0.0
    if (
        step
        and prediction.before is not None
        and not (prediction.at_most and after > prediction.before)  # a bound on what gets worse
        and (measured - prediction.before) * (after - prediction.before) < 0
    ):
        return False  # it went the other way
    tolerance = max(NEAR * abs(after), NEAR_STEP * step)
    return measured <= after + tolerance and (prediction.at_most or measured >= after - tolerance)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_COMPARISON = re.compile(r"([^<>=!]+?)\s*(==|<=|>=|<|>)\s*([^<>=!]+)")
_OFF: dict[str, Callable[[float, float], float]] = {
    "==": lambda left, right: abs(left - right),
    "<": lambda left, right: max(0.0, left - right),
    "<=": lambda left, right: max(0.0, left - right),
    ">": lambda left, right: max(0.0, right - left),
    ">=": lambda left, right: max(0.0, right - left),
}
