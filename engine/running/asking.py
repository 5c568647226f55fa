"""A question to a human: asked at the terminal now, or answered later by another process.

One promise: the question, who is asked and until when stand in the journal before anybody is asked, so
whoever can write there can answer; a question that nobody answers in time is a no.

Not here: an answer from outside the run (``engine.running.answering``), whether a change may be made
(``engine.running.proposal``), how a terminal asks (``engine.terminal``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from engine.errors import UsageError, nearest
from engine.language import inputs, questions, scope
from engine.language.model import Ask, Input
from engine.record import Answerable, Answered, Asked, Run, Told
from engine.running.outcomes import End, stop_if_asked
from engine.running.scene import Scene, Tools
from engine.text import day_and_time, several
from engine.values import Setting

#: How often somebody at a terminal may correct an answer.
TRIES = 3
_TRUTH = {"y": True, "n": False, "": False}


def ask(step: Ask, scene: Scene) -> End | None:
    """Take the answer that is there, or ask for one; an end when nobody can be asked now."""
    if step.id in scene.answers:
        given = scene.answers.pop(step.id)
        if given.use_by is None or scene.now < given.use_by:
            _take(step, given, scene)
            return None
        _too_old(given, step, scene)
    asked = scene.asked.get(step.id) or _asked(step, scene)
    if asked.expires_at is None:
        return None  # a dry-run: what depends on the answer is unknown
    answered = from_watcher(asked, scene.tools, scene.now)
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
        raise UsageError("\n".join(wrong), fix=f"write: {example(asked)}")
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
        use_within=None if dry else float(scene.tools.policy.approval.use_within),
    )
    scene.record(event)
    return event


def _too_old(answered: Answered, step: Ask, scene: Scene) -> None:
    """An answer that was not used in time counts no more: it is asked anew."""
    until = day_and_time(answered.use_by or 0.0)
    sentence = f"the answer of {answered.by or 'the operator'} was to be used by {until}: it is asked anew"
    scene.record(Told(at=scene.now, step=step.id, sentence=sentence, level="warning"))
    scene.asked.pop(step.id, None)


def from_watcher(asked: Asked, tools: Tools, now: float) -> Answered | None:
    """What whoever watches says, typed; None when nobody is there, or nothing right was said."""
    problem = ""
    for _ in range(TRIES):
        if expired(asked, now):
            return Answered(at=now, step=asked.step, expired=True)
        said = tools.watcher.answer(asked, problem)
        now = tools.clock.now()
        if said is None or tools.cancel:
            return Answered(at=now, step=asked.step, expired=True) if expired(asked, now) else None
        try:
            values = typed(asked, said)
        except UsageError as error:
            problem = error.problem
            continue
        if not expired(asked, now):  # the answer took its time
            by = tools.by or "the operator"
            return Answered(at=now, step=asked.step, values=values, by=by, via="terminal")
    return None


def _take(step: Ask, answered: Answered, scene: Scene) -> None:
    parts = {name: spec.type for name, spec in (step.answers or questions.YES).items()}
    scene.results[step.label] = scope.of_answer(
        step.label, parts, answered.values, answered.by, "nobody answered in time"
    )


def expired(asked: Asked, now: float) -> bool:
    """Whether it is too late to answer."""
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


def example(asked: Asked) -> str:
    """How the answer is written on a command line."""
    return " ".join(
        f"--answer {name}={'yes' if spec.type == 'bool' else spec.type.upper()}"
        for name, spec in asked.answers.items()
    )


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"{several(len(names), 'part')}: {', '.join(names)}"
