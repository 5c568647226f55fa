"""A command as a step: read only, or a change with its undo, on the way of every other change.

One promise: no shell is ever asked; the program stands in the runbook, each template fills one
argument and can't make it an option; what no entry of the policy allows is not run; and a command that
changes something is announced before, undone by its undo, and never run twice.

A fresh process can't see whether a command was run: it asks the step's ``in_force`` command, else the
journal; where neither knows, it is left to a human with the undo to type.

Not here: the list (``engine.guarding.commands``), the way of a change (``engine.running.remedy``).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from engine.errors import ChangedSince, ChangeFailed, ProbeFailed, Refused
from engine.guarding.commands import entry, why_not
from engine.guarding.policy import Command
from engine.journal.rows import Attempt
from engine.language import expressions, model, scope
from engine.record import ChangeState, Ran
from engine.redaction import MASK
from engine.running.processes import Execute, Result, execute
from engine.running.scene import Scene
from engine.values import Case, Change, Knob, KnobValue, Plan, Setting, Target

#: Backend of the knob that stands for a command in plans and attempts.
BACKEND = "command"
#: How long a command may take when its step does not say, in seconds.
PATIENCE_S = 30.0
LONGEST_ARGUMENT = 4096

State = Literal["before", "after", "other"]
Tell = Callable[[Result], None]


class Commands(NamedTuple):
    """A command with its way back, templates filled and allowed."""

    argv: tuple[str, ...]
    undo: tuple[str, ...] = ()
    in_force: tuple[str, ...] = ()
    seconds: float = PATIENCE_S


# ── reading ─────────────────────────────────────────────────────────────────────


def read(step: model.Run, scene: Scene) -> None:
    """Run a command that only reads.

    Raises:
        Refused: The policy, or one of its arguments, forbids it.
        ProbeFailed: It took too long.
    """
    argv = filled(step.argv, scene)
    rule = _allowed(argv, scene, reads=True)
    if scene.head.dry_run and not rule.dry_run:
        why = f"not run: {shlex.join(argv)}; the policy does not let a dry-run run it"
        scene.warn(why, step=step.id, fix="dry_run: true at its entry in the policy")
        return
    seconds = scene.seconds(step.timeout, PATIENCE_S)
    result = scene.tools.execute(argv, seconds, scene.tools.cancel)
    report(step, scene, argv)(result)
    if result.exit_code is None:
        raise ProbeFailed(f"{argv[0]} took longer than {seconds:g} s and was ended", fix="give it a timeout")


def report(step: model.Run, scene: Scene, argv: tuple[str, ...]) -> Tell:
    """What writes down how a step's commands end, and lets expressions read the one that is its own."""

    def tell(result: Result) -> None:
        code = result.exit_code
        scene.record(Ran(at=scene.now, step=step.id, **result._asdict()))
        if result.argv != argv:
            return
        scene.results[step.label] = scope.of_command(
            step.label, exit_code=-1 if code is None else code, stdout=result.stdout, stderr=result.stderr
        )

    return tell


# ── arguments ───────────────────────────────────────────────────────────────────


def filled(argv: Sequence[str], scene: Scene) -> tuple[str, ...]:
    """The arguments with their templates filled: one each, whatever they hold.

    Raises:
        Refused: A value would be an option, is empty, too long, or holds control characters.
        ExpressionError: A value is unknown, or no text or number.
    """
    names = scene.names()
    return tuple(_argument(text, expressions.strict(text, names)) for text in argv)


def _argument(text: str, word: str) -> str:
    if "{{" not in text:
        return word
    shown = repr(word if len(word) <= 60 else f"{word[:57]}…")
    wrong = ""
    if word.startswith("-") and not text.startswith("-"):
        wrong = f"{shown} would be read as an option"
    elif not word:
        wrong = "it is empty"
    elif len(word) > LONGEST_ARGUMENT:
        wrong = f"it has {len(word):,} characters"
    elif MASK in word:
        wrong = f"it holds {MASK}, in place of something that is recorded nowhere"
    elif not word.isprintable():
        wrong = f"{shown} holds characters that can't be printed"
    if wrong:
        raise Refused(f"the argument {text} is not passed on: {wrong}", fix="look where the value comes from")
    return word


def _allowed(argv: Sequence[str], scene: Scene, *, reads: bool) -> Command:
    commands = scene.tools.policy.commands
    rule = entry(commands, argv, reads=reads)
    if rule is None:
        why = why_not(commands, argv, reads=reads)
        raise Refused(
            f"{shlex.join(argv)} is not run: {why}", fix="add it to the policy's commands: docs/policy.md"
        )
    if problem := scene.tools.unsafe(argv[0]):
        raise Refused(
            f"{shlex.join(argv)} is not run: {problem}", fix="mend its owner and mode, or name another"
        )
    return rule


# ── changing ────────────────────────────────────────────────────────────────────


def changing(step: model.Run, scene: Scene) -> tuple[model.Change, Hand]:
    """The step as a change, and the hand that makes it and takes it back.

    Raises:
        Refused: The policy, or one of the arguments, forbids one of its commands.
    """
    commands = Commands(
        filled(step.argv, scene),
        filled(step.undo, scene),
        filled(step.in_force, scene),
        scene.seconds(step.timeout, PATIENCE_S),
    )
    _allowed(commands.argv, scene, reads=False)
    _allowed(commands.undo, scene, reads=False)
    look = _allowed(commands.in_force, scene, reads=True) if commands.in_force else None
    may_look = not scene.head.dry_run or (look is not None and look.dry_run)
    title = scene.words(step.name) if step.name else shlex.join(commands.argv)
    tell, run_it = report(step, scene, commands.argv), scene.tools.execute
    hand = Hand(commands, title, risk=step.risk, may_look=may_look, tell=tell, run_it=run_it)
    change = model.Change(
        id=step.id,
        name=step.name,
        remediation=hand.name,
        lease=step.lease,
        risk=step.risk,
        keep=step.keep,
        on_failure=step.on_failure,
    )
    return change, hand


def again(attempt: Attempt) -> Hand:
    """The hand for a command that an earlier process announced."""
    kept = attempt.captured
    known: dict[ChangeState, State] = {
        "applied": "after",
        "kept": "after",
        "leased": "after",
        "failed": "after",
    }
    known |= {"undone": "before", "not-made": "before"}
    commands = Commands(
        _words(kept.get("argv")),
        _words(kept.get("undo")),
        _words(kept.get("in_force")),
        _number(kept.get("seconds")),
    )
    return Hand(commands, attempt.change.why, known=known.get(attempt.state, "other"))


def _words(value: Setting) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _number(value: Setting) -> float:
    return float(value) if isinstance(value, int | float) else PATIENCE_S


class Hand:
    """A command and its undo, as a remediation. See ``engine.contracts.Remediation``.

    Args:
        commands: What is run.
        title: What it is for.
        risk: As the runbook says.
        known: What is known of it without looking.
        may_look: Whether its ``in_force`` command may be run now.
        tell: Told how each command ended.
        run_it: Runs one.
    """

    summary = "a command of the runbook"
    knob = ""
    options: Mapping[str, str] = {}

    def __init__(  # noqa: PLR0913 - most of it optional
        self,
        commands: Commands,
        title: str,
        *,
        risk: Literal["low", "medium", "high"] = "medium",
        known: State = "before",
        may_look: bool = True,
        tell: Tell = lambda _: None,
        run_it: Execute = execute,
    ) -> None:
        self.name = f"run {Path(commands.argv[0]).name}" if commands.argv else "run"
        self.risk: Literal["low", "medium", "high"] = risk
        self._commands, self._title, self._may_look = commands, title, may_look
        self._tell, self._execute = tell, run_it
        self._known: State = known
        self._ours = False  # whether this process ran it, wholly or in part

    def read(self, target: Target) -> dict[str, KnobValue]:
        """Whether it is in force, where that may be looked at."""
        state = self.state(None, target, {}) if self._may_look else "before"
        return {BACKEND: KnobValue(value=state == "after")}

    def plan(self, case: Case) -> Plan:
        """Run it, unless it is in force already."""
        if case.knobs[BACKEND].value:
            return Plan(remediation=self.name, reason=f"{self._title}: it is in force already")
        argv = self._commands.argv
        change = Change(
            knob=Knob(name=BACKEND, backend=BACKEND, path=argv[0], unit="list"),
            before="not run",
            after=list(argv),
            before_text="not run",
            after_text=shlex.join(argv),
            why=self._title,
            where=f"command {argv[0]}",
        )
        return Plan(
            remediation=self.name,
            changes=(change,),
            reason=self._title,
            risk=self.risk,
            undo_by_hand=shlex.join(self._commands.undo),
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """All that a fresh process needs."""
        if self.state(change, target, {}) == "after":
            raise ChangedSince(f"{self._title}: somebody else has done it since", fix="look again")
        argv, undo, in_force, seconds = self._commands
        return {"argv": list(argv), "undo": list(undo), "in_force": list(in_force), "seconds": seconds}

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Run it; anything but exit code 0 is a failure."""
        del change, target, captured
        self._ours, self._known = True, "other"
        self._run(self._commands.argv)
        self._known = "after"

    def state(self, change: Change | None, target: Target, captured: Mapping[str, Setting]) -> State:
        """What its ``in_force`` command says; without one what is known of it."""
        del change, target, captured
        if not self._commands.in_force:
            return self._known
        code = self._execute(self._commands.in_force, PATIENCE_S).exit_code
        states: dict[int | None, State] = {0: "after", 1: "before"}
        return states.get(code, "other")

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Run its undo, unless it was never run; where nobody knows whether it was, leave it."""
        state = self.state(change, target, captured)
        if state == "before":
            return
        by_hand = shlex.join(self._commands.undo)
        if state == "other" and not self._ours:
            raise ChangedSince(f"whether {shlex.join(self._commands.argv)} was run is not known", fix=by_hand)
        self._run(self._commands.undo)
        self._known = "before"

    def _run(self, argv: Sequence[str]) -> None:
        result = self._execute(argv, self._commands.seconds)
        self._tell(result)
        if result.exit_code != 0:
            said = next(iter(result.stderr.strip().splitlines()[-1:]), "")
            how = "took too long" if result.exit_code is None else f"ended with {result.exit_code}"
            raise ChangeFailed(
                f"{shlex.join(argv)} {how}{f': {said}' if said else ''}", fix=shlex.join(self._commands.undo)
            )
