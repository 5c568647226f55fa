"""Fakes that stand for a clock, an agent, and every kind of part: no root, no BPF, no waiting.

One promise: they keep the contracts of ``engine.contracts`` as the real ones do.

Not here: running runbooks with them, checking real parts (``engine.testing``, which gives these
fakes out as well).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.contracts import Window
from engine.errors import ChangedSince, ChangeFailed, ProbeFailed
from engine.record import Asked, Event, RunHead
from engine.values import (
    Case,
    Change,
    Decision,
    Evidence,
    Field,
    Knob,
    KnobValue,
    Plan,
    Prediction,
    Process,
    Reading,
    Risk,
    Scalar,
    Setting,
    Support,
    Target,
    Verdict,
)

#: 2026-01-05 09:00:00 UTC, a Monday.
START = 1_767_603_600.0


class FakeClock:
    """A clock that only sleeping moves; safe to share between threads."""

    def __init__(self, start: float = START) -> None:
        self._start = start
        self._passed = 0.0
        self._lock = threading.Lock()
        self._at: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Let time pass at once; what is due by then happens."""
        with self._lock:
            self._passed += max(0.0, seconds)
            due = [one for one in self._at if one[0] <= self._passed]
            self._at = [one for one in self._at if one[0] > self._passed]
        for _, happen in due:
            happen()

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let something happen once that much time has passed."""
        self._at.append((self._passed + seconds, happen))


@dataclass
class FakeTarget:
    """A target whose settings live in a dict.

    Attributes:
        settings: By knob name; a missing one is not set.
        writes: Every write, in order.
        reachable: False when its process has ended.
    """

    settings: dict[str, Setting] = field(default_factory=dict)
    writes: list[tuple[str, Setting]] = field(default_factory=list)
    reachable: bool = True
    knobs: dict[str, Knob] = field(default_factory=dict)
    name: str = "fake"

    @property
    def target(self) -> Target:
        """The target as the engine knows it."""
        known = {name: Knob(name=name, backend="fake", path=name) for name in self.settings}
        return Target(
            name=self.name,
            ref=f"fake:{self.name}",
            processes=(Process(pid=4242, comm="fake"),),
            knobs={**known, **self.knobs},
        )

    def write(self, name: str, value: Setting) -> None:
        """Set or, with None, unset."""
        self.writes.append((name, value))
        if value is None:
            self.settings.pop(name, None)
        else:
            self.settings[name] = value


class FakeProbe:
    """A probe that sees what it is told to see.

    Args:
        name: Full name. short: the word of expressions.
        sees: The readings, or how to make them at the end of each window; a None is unknown.
        fails: When set, ``collect`` raises it.
    """

    summary = "a probe for tests"
    options: Mapping[str, str] = {}
    needs_target = True
    cpu_ceiling = 1.0

    def __init__(
        self,
        name: str = "event-flow",
        short: str = "flow",
        sees: Mapping[str, Scalar] | Callable[[], Mapping[str, Scalar]] = {},  # noqa: B006 - never written
        fails: Exception | None = None,
    ) -> None:
        self.name, self.short, self.fails = name, short, fails
        self._sees = sees if callable(sees) else lambda: sees
        self.fields: dict[str, Field] = {}
        self.windows: list[float] = []

    def supported(self, target: Target | None) -> Support:
        """Always."""
        del target
        return Support(answer="yes")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """The readings as they are when the window ends."""
        if self.fails is not None:
            raise self.fails
        started = window.begin()
        window.wait()
        self.windows.append(window.seconds)
        readings = {
            name: Reading(value=value, missing="" if value is not None else "not seen by the fake")
            for name, value in self._sees().items()
        }
        self.fields |= {name: Field(help=name) for name in readings}
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.ref if target else "",
            started_at=started,
            ended_at=window.clock.now(),
            readings=readings,
        )


class FakeDiagnosis:
    """A diagnosis that always gives the same verdict."""

    summary = "a diagnosis for tests"
    wants: tuple[str, ...] = ()

    def __init__(self, verdict: Verdict) -> None:
        self.name = verdict.diagnosis
        self.causes: Mapping[str, str] = {cause.name: cause.sentence for cause in verdict.causes}
        self._verdict = verdict

    def decide(self, case: Case) -> Verdict:
        """The verdict."""
        del case
        return self._verdict


class FakeRemediation:
    """A remediation that sets one knob of a ``FakeTarget`` to a value.

    Args:
        target: Whose setting.
        knob: Which one; also the remediation's name.
        to: The value; a plan is empty when it stands already.
        on_apply: Called after the write: raise from it, or do what an agent would do.
    """

    summary = "a remediation for tests"
    options: Mapping[str, str] = {}

    def __init__(  # noqa: PLR0913 - each is one thing a test may want to be different
        self,
        target: FakeTarget,
        knob: str,
        to: Setting,
        *,
        risk: Risk = "low",
        temporary: bool = False,
        predicts: tuple[Prediction, ...] = (),
        on_apply: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = self.knob = knob
        self.risk: Literal["low", "medium", "high"] = risk
        self.to, self.on_apply, self.temporary, self.predicts = to, on_apply, temporary, predicts
        self._agent = target

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The setting as it stands."""
        del target
        value = self._agent.settings.get(self.knob)
        return {self.knob: KnobValue(value=value, raw=None if value is None else str(value), effective=value)}

    def plan(self, case: Case) -> Plan:
        """One change to the value, unless it stands already."""
        before = case.knobs[self.knob].value
        if before == self.to:
            return Plan(remediation=self.name, reason=f"{self.knob} is {self.to} already")
        change = Change(
            knob=case.target.knobs.get(self.knob) or Knob(name=self.knob, backend="fake", path=self.knob),
            before=before,
            after=self.to,
            before_text=str(before),
            after_text=str(self.to),
            why="the test says so",
            where=f"fake: {self.knob}",
        )
        return Plan(
            remediation=self.name,
            changes=(change,),
            reason=f"set {self.knob} to {self.to}",
            predictions=self.predicts,
            temporary=self.temporary,
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The setting as it stands."""
        del target
        if self._agent.settings.get(self.knob) != change.before:
            raise ChangedSince(f"{self.knob} was changed by somebody else", fix="look again")
        return {"value": self._agent.settings.get(self.knob)}

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Write it."""
        self.capture(change, target)
        del captured
        self._agent.write(self.knob, change.after)
        self.on_apply()
        if not self._agent.reachable:
            raise ChangeFailed("the agent ended on the reload", fix="start it again")

    def state(
        self, change: Change, target: Target, captured: Mapping[str, Setting]
    ) -> Literal["before", "after", "other"]:
        """Compare with what was captured and what was wanted."""
        del target
        value = self._agent.settings.get(self.knob)
        return "before" if value == captured["value"] else "after" if value == change.after else "other"

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Put the captured value back, unless somebody else has set it since."""
        state = self.state(change, target, captured)
        if state == "other":
            raise ChangedSince(
                f"{self.knob} is {self._agent.settings.get(self.knob)}, not {change.after}; left as it is",
                fix=f"if nobody meant it: set {self.knob} back to {change.before_text}",
            )
        if state == "after":
            self._agent.write(self.knob, captured["value"])


class FakeWatcher:
    """Keeps what it was shown, and answers what it is asked.

    Args:
        answer: To every change: yes, no, or None for nobody there.
        answers: To every question of a runbook, as it would be typed; None for nobody there.
        on_event: Called with each event, as it is shown.
    """

    def __init__(
        self,
        answer: bool | None = None,
        on_event: Callable[[Event], None] = lambda _: None,
        answers: dict[str, str] | None = None,
    ) -> None:
        self._answer, self.on_event, self._answers = answer, on_event, answers
        self.events: list[Event] = []
        self.heads: list[RunHead] = []
        self.asked: list[Plan] = []
        self.questions: list[str] = []
        self.problems: list[str] = []

    def begin(self, head: RunHead) -> None:
        """Keep the head."""
        self.heads.append(head)

    def event(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)
        self.on_event(event)

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Nothing."""

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """The answer it was made with."""
        del decisions
        self.asked.append(plan)
        return self._answer

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """The answers it was made with."""
        self.questions.append(asked.question)
        self.problems.append(problem)
        return self._answers


def failing(problem: str = "it can't look") -> ProbeFailed:
    """An error for a ``FakeProbe`` to fail with."""
    return ProbeFailed(problem, fix="this is a test")
