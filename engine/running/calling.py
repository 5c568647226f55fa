"""A runbook that calls another: a run of its own, tied to its caller by its id.

One promise: what a called runbook does is recorded, guarded, resumed and undone as if somebody had
started it, and its caller answers for all of it: ``runbook undo`` of the caller takes it back, and a
caller that is taken up again finishes the called run before anything else.

The caller's journal names the run before it begins; so a fresh process finds it, or finds that
it never began. Not here: what is known before the run (``engine.language.calls``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.errors import Interrupted, RunbookError, UnknownName, UsageError
from engine.language import inputs, scope
from engine.language.calls import DEEPEST
from engine.language.model import Call, Change
from engine.record import Asked, Called, Decided, Ended, Event, Returned, Run, RunHead, Watcher
from engine.running.outcomes import End, interrupted
from engine.running.scene import Scene, Tools, Turned
from engine.values import Decision, Plan


def call(step: Call, scene: Scene) -> End | None:
    """Run the other runbook, or take it up where an earlier process left it; an end when it waits.

    Raises:
        Interrupted: It was asked to stop.
        RunbookError: It could not begin, or it failed.
    """
    done = _earlier(step.id, scene) or _anew(step, scene)
    return _took(step, done, scene)


def finish(scene: Scene, run: Run) -> End | None:
    """Finish what was called before this run was taken up again; an end when some of it waits."""
    scene.calls = {event.step: event.run for event in run.events if isinstance(event, Called)}
    scene.returns = {event.run: event for event in run.events if isinstance(event, Returned)}
    for step in scene.calls:
        done = _earlier(step, scene)
        if done is None:
            continue
        if done.head.outcome == "waiting":
            return _waits(done)
        _returned(step, done, scene)
    return None


def _anew(step: Call, scene: Scene) -> Run:
    """A fresh run; its id is on disk before it begins."""
    from engine.running import runner  # noqa: PLC0415 - a run within a run: a circle by nature

    head = scene.head
    if head.id.count(".") + 1 >= DEEPEST:
        raise UsageError(f"more than {DEEPEST} runs would stand within each other", fix="call fewer")
    loaded = scene.tools.runbook(step.runbook, scene.directory)
    target = scene.target
    if step.target and (name := scene.words(step.target)):
        target = scene.tools.find(name)
    order = runner.Order(
        runbook=loaded.document,
        text=loaded.text,
        sha256=loaded.sha256,
        directory=loaded.path.parent,
        inputs=inputs.resolve(loaded.document, scene.options(step.inputs)),
        target=target,
        dry_run=head.dry_run,
    )
    number = len(scene.tools.journal.called_by(head.id)) + 1
    called = f"{head.id}.{number}"
    scene.record(Called(at=scene.now, step=step.id, run=called, runbook=step.runbook))
    scene.calls[step.id] = called
    new = runner.new_head(order, scene.tools, id_=called, called_by=head.id)
    return runner.begin(new, order, within(scene.tools), scene.holds)


def _earlier(step: str, scene: Scene) -> Run | None:
    """The run that an earlier process called here, finished; None when there is none."""
    from engine.running import resume  # noqa: PLC0415 - as above

    called = scene.calls.get(step)
    if called is None:
        return None
    try:
        done = scene.tools.journal.run(called)
    except UnknownName:
        return None  # announced, and never begun
    if done.state == "ended" and done.head.outcome != "waiting":
        return done
    return resume.take_up(done, within(scene.tools), scene.holds)


def _took(step: Call, done: Run, scene: Scene) -> End | None:
    """Take over what came of it."""
    if done.head.outcome == "waiting":
        return _waits(done)
    returned = _returned(step.id, done, scene)
    scene.results[step.word] = scope.of_call(
        step.word,
        outcome=returned.outcome,
        sentence=returned.sentence,
        cause=first_cause(done),
        run=returned.run,
    )
    if returned.outcome == "failed":
        raise RunbookError(
            f"{returned.runbook} failed: {returned.sentence}", fix=f"runbook report {returned.run}"
        )
    scene.returned = returned
    return None


def _returned(step: str, done: Run, scene: Scene) -> Returned:
    """Write down that it has ended, once; what it changed counts for this run too."""
    head = done.head
    if head.outcome is None or head.outcome == "interrupted":
        raise Interrupted(interrupted(scene), fix=f"runbook resume {scene.head.id}")
    if head.id not in scene.returns:
        returned = Returned(
            at=scene.now,
            step=step,
            run=head.id,
            runbook=head.runbook,
            outcome=head.outcome,
            sentence=head.sentence,
        )
        scene.record(returned)
        scene.returns[head.id] = returned
    _changed(done, scene)
    return scene.returns[head.id]


def _waits(done: Run) -> End:
    return "waiting", f"{done.head.runbook}: {done.head.sentence}"


def _changed(done: Run, scene: Scene) -> None:
    """What a called run changed counts for this one too; what was seen before it is void."""
    journal = scene.tools.journal
    runs = {done.head.id, *journal.called_by(done.head.id)}
    known = {step.id for step, _ in scene.turned}
    attempts = [one for one in journal.attempts() if one.run in runs and one.state != "not-made"]
    for one in attempts:
        step = Change(id=f"{one.run}.{one.number}", remediation=one.remediation)
        if step.id not in known:
            scene.turned.append((step, Turned(one.state, f"by {done.head.runbook}")))
    if attempts:
        scene.touched = scene.void = True
        scene.goal = None
        scene.find_again()


def first_cause(run: Run) -> str:
    """The name of the first cause that a run named last; empty when it named none."""
    for event in reversed(run.events):
        if isinstance(event, Decided) and event.verdict.causes:
            return event.verdict.causes[0].name
    return ""


def within(tools: Tools) -> Tools:
    """The tools of a run within a run: whoever watches goes on watching the outer one."""
    return replace(tools, watcher=_Inner(tools.watcher))


class _Inner:
    """Shows what a called run does, and leaves its beginning and end to its caller to tell."""

    def __init__(self, outer: Watcher) -> None:
        self._outer = outer
        self.number = outer.number

    def begin(self, head: RunHead) -> None:
        """Its caller has said so."""

    def event(self, event: Event) -> None:
        """All but the end."""
        if not isinstance(event, Ended):
            self._outer.event(event)

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """As the outer one."""
        return self._outer.ask(plan, decisions)

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """As the outer one."""
        return self._outer.answer(asked, problem)
