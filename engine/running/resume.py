"""What a later process does with a run: finish it, or take it back.

One promise: nothing is applied twice. A change that was announced and has no outcome is looked
at on the target: as before → it was not made; as wanted → it is adopted, measured, and kept or
undone; anything else → it is left to a human with the way to take it back by hand.

Not here: runs that go through without a break (``runner``), leases (``leases``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from engine.errors import TargetNotFound, UsageError
from engine.journal import RunLog
from engine.journal.rows import Attempt
from engine.language import loader
from engine.language.check import given_names
from engine.language.model import Change, Decide, all_steps
from engine.pending import family, open_request
from engine.record import (
    ChangeState,
    Decided,
    Ended,
    Intended,
    Judged,
    Listed,
    Planned,
    Resumed,
    Ruled,
    Run,
    Settled,
    TargetFound,
)
from engine.redaction import HERE, MASK
from engine.running import answering, asking, bound, calling, commands, goal, runner, steps, unanswered
from engine.running.outcomes import End, conclude, stop_if_asked, withdrawn
from engine.running.proposal import Rehearsal
from engine.running.remedy import Hands, Made, by_hand, put_back
from engine.running.scene import Scene, Tools, Turned
from engine.values import Target

#: Changes that are, or may be, in force.
STANDING: frozenset[ChangeState] = frozenset(
    {"intended", "applied", "kept", "leased", "unknown", "failed", "left"}
)
#: Changes of which nobody has said yet how they ended.
OPEN: frozenset[ChangeState] = frozenset({"intended", "applied", "unknown"})


# ── resume ──────────────────────────────────────────────────────────────────────


def resume(wanted: str, tools: Tools, answers: Mapping[str, str] | None = None) -> Run:
    """Finish a run that was interrupted, or that waits: settle what it left open, then go on with its steps.

    Change steps that it has dealt with are not tried again. A change that was approved meanwhile is
    made when the run comes to it, unless what it was approved for has changed.

    Args:
        wanted: The run's id, its beginning, or ``last``.
        tools: As for a run.
        answers: To the question that it waits for, as written.

    Raises:
        Refused: Another process works on it; or it asks a question, and nobody can be asked.
        UsageError: It has ended; or its runbook can't be read back.
    """
    before = tools.journal.run(wanted)
    _must_be_unfinished(before, tools)
    _must_be_outermost(before, tools)
    if _expired(before, tools):
        return tools.journal.run(before.head.id)
    answering.settle(before, tools, answers or {})
    return take_up(tools.journal.run(before.head.id), tools)


def take_up(before: Run, tools: Tools, holds: frozenset[str] = frozenset()) -> Run:
    """Finish a run; ``holds``: targets that the runs above it have locked.

    Raises:
        RunbookError: As for ``resume``.
    """
    runbook = loader.recorded(before.head).document
    hidden = {name for name, value in before.head.inputs.items() if value == MASK}
    secret = sorted(hidden | {name for name, spec in runbook.inputs.items() if spec.secret})
    if secret:
        raise UsageError(
            f"the run had secret inputs ({', '.join(secret)}), which are never recorded: it can't go on",
            fix=f"runbook undo {before.head.id}, then run it anew",
        )
    with ExitStack() as held:
        runner.hold(held, [before.head], tools, holds)
        log = tools.journal.continue_(before.head.id)
        runner.announce(before.head, tools)
        target = find_target(before, tools)
        directory = Path(before.head.directory or ".")
        scene = Scene(runbook, before.head, tools, log, directory, before.head.inputs, target)
        scene.expected = given_names(runbook, tools.parts)
        scene.holds = holds | {before.head.target_ref}
        scene.record(Resumed(at=scene.now, by=tools.by, doing="resume"))
        runner.carry_out(scene, functools.partial(_go_on, run=before))
    return tools.journal.run(before.head.id)


def _must_be_unfinished(run: Run, tools: Tools) -> None:
    head = run.head
    if head.ended_at is None or head.outcome == "waiting":
        return
    ids = {one.head.id for one in family(run)}
    stands = any(one.run in ids and _can_go_back(one) for one in tools.journal.attempts())
    undo = f"runbook undo {head.id} takes its changes back"
    anew = f"no change of it is in force; runbook run {head.runbook} begins anew"
    raise UsageError(f"run {head.id} has ended ({head.outcome})", fix=undo if stands else anew)


def _expired(run: Run, tools: Tools) -> bool:
    """Whether nobody answered the change that it waits with in time: then it ends here."""
    waiting, now = open_request(run), tools.clock.now()
    late = waiting is not None and now >= waiting.requested.decide_by
    return late and unanswered.expire(run.head.id, tools.journal, now) is not None


def _can_go_back(one: Attempt) -> bool:
    """Whether there is something to take back: a start is kept, and nothing undoes it."""
    return one.state in STANDING and not (one.change.final and one.state == "kept")


def _must_be_outermost(run: Run, tools: Tools) -> None:
    above = run.head.called_by
    if above and tools.journal.run(above).head.ended_at is None:
        raise UsageError(
            f"run {run.head.id} was called by another, which goes on with it",
            fix=f"runbook resume {run.head.id.partition('.')[0]}",
        )


def _go_on(scene: Scene, run: Run) -> End:
    """Settle what is open, take over what has been settled, then the steps that are left."""
    journal = scene.tools.journal
    attempts = journal.attempts(run.head.id)
    scene.touched = scene.void = bool(attempts)
    if scene.target is not None:
        scene.record(TargetFound(at=scene.now, target=scene.target))
    scene.lists = {event.step: event for event in run.events if isinstance(event, Listed)}
    asking.recall(scene, run)
    waits = calling.finish(scene, run)
    if waits is not None:
        return waits
    adopted = [one for one in attempts if one.state in OPEN and _was_made(one, scene, run)]
    holds = scene.runbook.goal is not None and bool(
        goal.hold(scene, goal.measure(scene, "after" if adopted else "before")).holds
    )
    for one in reversed(adopted):
        _keep_or_undo(one, scene, run, holds=holds)
    scene.requests = bound.standing(journal.run(run.head.id).events)
    last = {event.step: event for event in run.events if isinstance(event, Judged)}
    waits_still = {step for step, event in last.items() if event.answer == "ask" and not event.by}
    waits_still |= set(scene.requests)
    for one in journal.attempts(run.head.id):
        if one.state == "not-made":
            continue  # it may be tried: it never was
        step = Change(id=made_of(one, run, scene.tools).step, remediation=one.remediation)
        if step.id not in waits_still:
            scene.already.add(step.id)
        if one.state in {"kept", "leased", "undone"}:
            scene.turned.append((step, Turned(one.state, "settled before it was taken up again", holds)))
    labels = {step.id: step.label for step in all_steps(scene.runbook.steps) if isinstance(step, Decide)}
    scene.verdicts |= {
        labels[event.step]: event.verdict
        for event in run.events
        if isinstance(event, Decided) and event.step in labels
    }
    stop_if_asked(scene)
    if holds:
        return conclude(scene)
    for event in run.events:
        if isinstance(event, Ruled) and event.answer == "withdrawn":
            return withdrawn(scene, event.because)
    hands = Rehearsal() if run.head.dry_run else Hands()
    return steps.walk(scene, hands) or conclude(scene)


def _was_made(one: Attempt, scene: Scene, run: Run) -> bool:
    """Look at the target: True when the change is in force; else it is settled here."""
    made = made_of(one, run, scene.tools)
    problem = ""
    try:
        state = made.remediation.state(made.change, scene.case().target, made.captured)
    except Exception as error:  # noqa: BLE001 - a stranger's part
        state, problem = "other", f" ({type(error).__name__}: {error})"
    if state == "after":
        return True
    if state == "before":  # never made; or put back by an undo whose reload may be missing
        state_now, because, hand = put_back(made, scene.case().target, "found as it was")
        was_made = one.state == "applied" and state_now == "not-made"
        settled = settled_as(scene.now, made, "undone" if was_made else state_now, because, hand)
    else:
        because = f"the setting is neither as before nor as wanted{problem}: it is left as it is"
        settled = settled_as(scene.now, made, "left", because, by_hand(made))
    scene.record(settled)
    return False


def _keep_or_undo(one: Attempt, scene: Scene, run: Run, *, holds: bool) -> None:
    made = made_of(one, run, scene.tools)
    if holds:
        state: ChangeState = "kept" if one.lease_until is None else "leased"
        scene.record(settled_as(scene.now, made, state, "found in force, and the goal holds with it"))
        return
    state, because, hand = put_back(made, scene.case().target, "the run broke off before it was proven")
    scene.goal = None
    scene.record(settled_as(scene.now, made, state, because, hand))


# ── undo ────────────────────────────────────────────────────────────────────────


def undo(wanted: str, tools: Tools) -> list[Settled]:
    """Take back everything that a run and those it called changed and that stands, newest first, exactly.

    Doing it twice does nothing the second time. A value that somebody else has set since is left.

    Args:
        wanted: The run's id, its beginning, or ``last``.
        tools: As for a run; neither policy nor guards are asked: the way back is always open.

    Returns:
        How each change stands now, newest first; empty when nothing of the run stands.

    Raises:
        Refused: The run, or one that it called, is still being worked on.
    """
    runs = list(family(tools.journal.run(wanted)))
    ids = {one.head.id for one in runs}
    with ExitStack() as held:
        runner.hold(held, [one.head for one in runs], tools)
        attempts = [one for one in tools.journal.attempts() if one.run in ids]
        standing = [one for one in attempts if _can_go_back(one)]
        settled: list[Settled] = []
        logs = {}
        for run in runs:
            if run.head.ended_at is None or any(one.run == run.head.id for one in standing):
                logs[run.head.id] = tools.journal.continue_(run.head.id)
                logs[run.head.id].record(Resumed(at=tools.clock.now(), by=tools.by, doing="undo"))
        by_id = {run.head.id: run for run in runs}
        for one in reversed(standing):
            why = f"taken back by {tools.by or 'the operator'}"
            settled += take_back([one], by_id[one.run], logs[one.run], tools, why)
        for run in runs:
            if run.head.ended_at is None:
                sentence = f"It was interrupted; {_summary(settled)}."
                logs[run.head.id].record(
                    Ended(at=tools.clock.now(), outcome="interrupted", sentence=sentence)
                )
        stays = [one for one in reversed(attempts) if one.state in STANDING and not _can_go_back(one)]
        settled += [_stays(made_of(one, by_id[one.run], tools), tools) for one in stays]
    return settled


def _stays(made: Made, tools: Tools) -> Settled:
    """What nothing takes back."""
    because = f"nothing is to be taken back: {made.change.final}"
    return settled_as(tools.clock.now(), made, "kept", because)


def runs_in_force(tools: Tools) -> list[str]:
    """Ids of all runs of which a change is, or may be, in force; the newest first.

    A called run's change is its outermost caller's to take back.
    """
    standing = (one for one in reversed(tools.journal.attempts()) if _can_go_back(one))
    return list(dict.fromkeys(one.run.partition(".")[0] for one in standing))


def take_back(standing: Sequence[Attempt], run: Run, log: RunLog, tools: Tools, why: str) -> list[Settled]:
    """Undo changes of a run, newest first (they come oldest first), and write each outcome down."""
    target = find_target(run, tools)
    settled = []
    for one in reversed(standing):
        made = made_of(one, run, tools)
        if made.change.final and one.state not in OPEN:
            event = _stays(made, tools)
            log.record(event)
            settled.append(event)
            continue
        state, because, hand = put_back(made, target, why) if target else _no_target(one, made)
        if state == "not-made" and one.state not in OPEN:
            state = "undone"  # it was made once; somebody has put it back since
        event = settled_as(tools.clock.now(), made, state, because, hand)
        log.record(event)
        settled.append(event)
    return settled


def _summary(settled: Sequence[Settled]) -> str:
    if not settled:
        return "nothing had been changed"
    left = [one for one in settled if one.state in {"left", "failed"}]
    return (
        "what it had changed was taken back"
        if not left
        else f"{len(left)} of its changes are left to a human"
    )


# ── shared ──────────────────────────────────────────────────────────────────────


def find_target(run: Run, tools: Tools) -> Target | None:
    """The target as it runs now; when it runs no more, as the run last saw it: its files are still there."""
    if not run.head.target_ref:
        return None
    try:
        return tools.find(run.head.target_ref)
    except TargetNotFound:
        seen = [event.target for event in run.events if isinstance(event, TargetFound)]
        return seen[-1] if seen else None


def _no_target(one: Attempt, made: Made) -> tuple[ChangeState, str, str]:
    return "failed", f"{one.target_ref} can't be found any more", by_hand(made)


def made_of(one: Attempt, run: Run, tools: Tools) -> Made:
    """An attempt with its remediation, its step, and the plan's words for undoing it by hand."""
    one = tools.journal.whole(one)
    steps_of = {event.attempt: event.step for event in run.events if isinstance(event, Intended)}
    step = steps_of.get(one.number, "")
    plans = [event.plan for event in run.events if isinstance(event, Planned) and event.step == step]
    hand = plans[-1].undo_by_hand if plans else ""
    ours = one.change.knob.backend == commands.BACKEND
    remediation = commands.again(one) if ours else tools.parts.remediation(one.remediation)
    return Made(one.number, remediation, one.change, one.captured, step, hand)


def settled_as(at: float, made: Made, state: ChangeState, because: str, by_hand: str = "") -> Settled:
    """How a change of an earlier process ended, as an event."""
    settled = Settled(
        at=at, step=made.step, attempt=made.attempt, state=state, because=because, undo_by_hand=by_hand
    )
    return HERE.struct(settled)
