"""A question to a human: asked at the terminal now, or answered later by another process.

One promise: the question, who is asked and until when stand in the journal before anybody is asked, so
whoever can write there can answer; a question that nobody answers in time is a no.

Not here: whether a change may be made (``engine.running.proposal``), how a terminal asks
(``engine.terminal``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from engine.errors import Refused, UsageError, nearest
from engine.journal import locks
from engine.language import inputs, questions, scope
from engine.language.model import Ask, Input
from engine.record import Answerable, Answered, Asked, Run, Told
from engine.running.outcomes import End, stop_if_asked
from engine.running.scene import Scene, Tools
from engine.text import several
from engine.values import Setting

#: How often somebody at a terminal may correct an answer.
TRIES = 3
_TRUTH = {"y": True, "n": False, "": False}


def ask(step: Ask, scene: Scene) -> End | None:
    """Take the answer that is there, or ask for one; an end when nobody can be asked now."""
    if step.id in scene.answers:
        _take(step, scene.answers[step.id], scene)
        return None
    asked = scene.asked.get(step.id) or _asked(step, scene)
    if asked.expires_at is None:
        return None  # a dry-run: what depends on the answer is unknown
    answered = _from_watcher(asked, scene.tools, scene.now)
    stop_if_asked(scene)
    if answered is None:
        return "waiting", waits_for(asked)
    scene.record(msgspec.structs.replace(answered, at=scene.now))
    _take(step, answered, scene)
    return None


def waits_for(asked: Asked) -> str:
    """What a run waits for, in a sentence."""
    who = f" from {asked.who}" if asked.who else ""
    words = " ".join(f"--answer {name}=…" for name in asked.answers)
    return f"Waits for an answer{who} ({words}): {asked.question}"


def open_question(run: Run) -> tuple[Run, Asked] | None:
    """The question that a run, or one that it called, waits for."""
    found: dict[str, Asked] = {}
    for event in run.events:
        if isinstance(event, Asked) and event.expires_at is not None:
            found[event.step] = event
        elif isinstance(event, Answered):
            found.pop(event.step, None)
    if found:
        return run, list(found.values())[-1]
    inner = (open_question(one) for one in reversed(run.called))
    return next((one for one in inner if one), None)


def settle(run: Run, tools: Tools, given: Mapping[str, str]) -> None:
    """Answer the question that a run waits for, before it is taken up again.

    Args:
        run: The outermost one.
        tools: Of the process that takes it up.
        given: The answer as it was written; none to ask whoever watches.

    Raises:
        UsageError: The answer is wrong, or nothing was asked.
        Refused: There is no answer yet, and nobody can be asked.
    """
    found = open_question(run)
    if found is None:
        if given:
            raise UsageError(f"run {run.head.id} waits for no answer", fix="leave --answer out")
        return
    holder, asked = found
    now = tools.clock.now()
    if given and not _expired(asked, now):
        answered: Answered | None = Answered(
            at=now, step=asked.step, values=typed(asked, given), by=tools.by or "the operator"
        )
    else:
        answered = _from_watcher(asked, tools, now)
    if answered is None:
        if run.head.ended_at is None:
            return  # it broke off while it asked: it will ask again when it gets there
        raise Refused(waits_for(asked), fix=f"runbook resume {run.head.id} {_example(asked)}")
    directory = tools.journal.directory
    with locks.hold_run(directory, holder.head.id, now=now):
        tools.journal.continue_(holder.head.id).record(
            msgspec.structs.replace(answered, at=tools.clock.now())
        )


def recall(scene: Scene, run: Run) -> None:
    """What was asked and answered before this run was taken up again."""
    scene.asked = {event.step: event for event in run.events if isinstance(event, Asked)}
    scene.answers = {event.step: event for event in run.events if isinstance(event, Answered)}
    if run.head.outcome == "waiting":  # it came to its end: nothing that was told got lost
        scene.told = frozenset((one.step, one.sentence) for one in run.events if isinstance(one, Told))


def typed(asked: Asked, given: Mapping[str, str]) -> dict[str, Setting]:
    """An answer by the types that the question wants; what is left out is its default, or a no.

    Raises:
        UsageError: A part that was not asked for, is missing or wrong; all of them at once.
    """
    wrong = [
        f"{name!r} was not asked for ({_hint(name, asked.answers)})"
        for name in given
        if name not in asked.answers
    ]
    values: dict[str, Setting] = {}
    for name, spec in asked.answers.items():
        said = given.get(name, "").strip()
        if spec.type == "bool" and said.lower() in _TRUTH:
            values[name] = spec.default if said == "" and spec.default is not None else _TRUTH[said.lower()]
            continue
        text: Setting = spec.default if said == "" and spec.default is not None else said
        if text == "":
            wrong.append(f"answer {name!r} is missing (a {spec.type} is wanted)")
            continue
        try:
            values[name] = inputs.typed(_input(spec), text)
        except UsageError as error:
            wrong.append(f"answer {name!r}: {error.problem} ({error.fix})")
    if wrong:
        raise UsageError("\n".join(wrong), fix=f"write: {_example(asked)}")
    return values


def _asked(step: Ask, scene: Scene) -> Asked:
    """Write the question down."""
    dry = scene.head.dry_run
    event = Asked(
        at=scene.now,
        step=step.id,
        question=scene.words(step.question),
        answers={name: _answerable(spec) for name, spec in questions.wanted(step).items()},
        who=scene.words(step.who),
        expires_at=None if dry else scene.now + scene.seconds(step.expires),
    )
    scene.record(event)
    return event


def _from_watcher(asked: Asked, tools: Tools, now: float) -> Answered | None:
    """What whoever watches says, typed; None when nobody is there, or nothing right was said."""
    problem = ""
    for _ in range(TRIES):
        if _expired(asked, now):
            return Answered(at=now, step=asked.step, expired=True)
        said = tools.watcher.answer(asked, problem)
        now = tools.clock.now()
        if said is None or tools.cancel:
            return Answered(at=now, step=asked.step, expired=True) if _expired(asked, now) else None
        try:
            values = typed(asked, said)
        except UsageError as error:
            problem = error.problem
            continue
        if not _expired(asked, now):  # the answer took its time
            return Answered(at=now, step=asked.step, values=values, by=tools.by or "the operator")
    return None


def _take(step: Ask, answered: Answered, scene: Scene) -> None:
    parts = {name: spec.type for name, spec in (step.answers or questions.YES).items()}
    scene.results[step.label] = scope.of_answer(
        step.label, parts, answered.values, answered.by, "nobody answered in time"
    )


def _expired(asked: Asked, now: float) -> bool:
    return asked.expires_at is not None and now >= asked.expires_at


def _answerable(spec: Input) -> Answerable:
    return Answerable(
        type=spec.type,
        help=spec.help,
        default=spec.default,
        choices=spec.choices,
        minimum=spec.minimum,
        maximum=spec.maximum,
    )


def _input(spec: Answerable) -> Input:
    return msgspec.convert(msgspec.to_builtins(spec), Input)


def _example(asked: Asked) -> str:
    return " ".join(
        f"--answer {name}={'yes' if spec.type == 'bool' else spec.type.upper()}"
        for name, spec in asked.answers.items()
    )


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"{several(len(names), 'part')}: {', '.join(names)}"
