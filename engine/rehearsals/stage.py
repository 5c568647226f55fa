"""The stage of a rehearsal: eyes that see what a case tells, hands that write to a mapping.

One promise: nothing of this machine is looked at or changed; all else that a part does (its
plan, its options, its promises) is the installed part's own.

Not here: what a case tells (``engine.rehearsals.cases``), the run (``engine.rehearsals.play``).
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from engine.catalog import Catalog
from engine.contracts import Probe, Remediation, Window
from engine.errors import ChangedSince, ChangeFailed, ProbeFailed, TargetGone
from engine.fakes import FakeClock
from engine.record import Answerable, Asked, Event, Intended, RunHead, Watcher
from engine.rehearsals.agent import effective
from engine.rehearsals.sights import Sight
from engine.rehearsals.steps import own_id
from engine.running.scene import Silent
from engine.values import (
    Case,
    Change,
    Decision,
    Evidence,
    KnobValue,
    Plan,
    Setting,
    Support,
    Target,
)

#: The phase before any change.
BEFORE = ""
Looks = Mapping[str, Mapping[str, tuple[Sight, ...]]]
#: Kinds of parts that a rehearsal has: no inventory, no finding of targets, no commands.
_KINDS = ("probe", "diagnosis", "remediation", "guard", "notifier")


class StageClock(FakeClock):
    """A clock that several probes can bring to the end of one window; only the first moves it."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Lock()

    def reach(self, moment: float) -> None:
        """Let time pass until that moment (epoch seconds)."""
        with self._gate:
            self.sleep(max(0.0, moment - self.now()))


class Stage:
    """The agent as the rehearsal goes on: its settings, and what is in force.

    Args:
        looks: Phase → probe → successive looks; phase ``BEFORE``, or the change in force.
        knobs: Present values by knob; a live door's under ``NAME.live``.
        breaks: Changes that can't be written → why.
    """

    def __init__(self, looks: Looks, knobs: Mapping[str, KnobValue], breaks: Mapping[str, str]) -> None:
        self._looks, self.breaks = looks, breaks
        self.knobs = dict(knobs)
        self.clock = StageClock()
        self._force: list[str] = []
        self._taken: dict[tuple[str, str], int] = {}
        self._undoes: dict[str, str] = {}  # a command → the one that it takes back
        self._lock = threading.Lock()

    def tells(self, probe: str) -> bool:
        """Whether any phase speaks of this probe."""
        return any(probe in by_probe for by_probe in self._looks.values())

    def see(self, probe: str) -> Sight | None:
        """The next look of a probe in the phase that counts now; None when none is told."""
        with self._lock:
            speaking = [phase for phase in (BEFORE, *self._force) if probe in self._looks.get(phase, {})]
            seen: Sight | None = None
            for phase in speaking:
                looks, taken = self._looks[phase][probe], self._taken.get((phase, probe), 0)
                if phase == speaking[-1]:
                    self._taken[phase, probe] = taken = taken + 1
                seen = looks[min(max(taken, 1), len(looks)) - 1].over(seen)
            return seen

    def learn(self, event: Event) -> None:
        """Note which command takes which one back."""
        if isinstance(event, Intended) and event.captured.get("undo"):
            undo, argv = (event.captured.get(name) for name in ("undo", "argv"))
            if isinstance(undo, list) and isinstance(argv, list):
                self._undoes[shlex.join(map(str, undo))] = shlex.join(map(str, argv))

    def ran(self, command: str) -> None:
        """A command has done what it does: what it changes is in force, what it takes back is not."""
        if command in self._undoes:
            self.leave(self._undoes[command])
        elif command in self._looks:
            self.enter(command)

    def value(self, change: Change) -> Setting:
        """What a setting holds now."""
        known = self.knobs.get(key_of(change))
        return known.value if known is not None else None

    def write(self, change: Change, value: Setting) -> None:
        """Set or, with None, unset."""
        raw, amount = None if value is None else str(value), effective(change.knob, value)
        self.knobs[key_of(change)] = KnobValue(value=value, raw=raw, effective=amount, source=change.where)

    def enter(self, change: str) -> None:
        """A change is in force from now on."""
        with self._lock:
            self._force.append(change)

    def leave(self, change: str) -> None:
        """It no longer is."""
        with self._lock:
            places = [place for place, name in enumerate(self._force) if name == change]
            if places:
                del self._force[places[-1]]


def key_of(change: Change) -> str:
    """Under which name a change's setting stands on the stage."""
    return f"{change.knob.name}.live" if change.live else change.knob.name


class StagedProbe:
    """An installed probe's promises with what the case tells."""

    def __init__(self, probe: Probe, stage: Stage) -> None:
        self.name, self.short, self.summary = probe.name, probe.short, probe.summary
        self.fields, self.options = probe.fields, probe.options
        self.needs_target, self.cpu_ceiling = probe.needs_target, probe.cpu_ceiling
        self.open_fields = getattr(probe, "open_fields", False)
        self._stage = stage

    def supported(self, target: Target | None) -> Support:
        """Always: what it can't see is for its look to say."""
        del target
        return Support(answer="yes", why="rehearsed")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """The next look, as long as the window.

        Raises:
            ProbeFailed, TargetGone: The case says so, or tells nothing of this probe.
        """
        seen = self._stage.see(self.name)
        if seen is None:
            raise ProbeFailed(f"the case tells nothing of {self.name}", fix=f"before: {{{self.short}: …}}")
        if seen.fails:
            raise ProbeFailed(seen.fails, fix="the case says so")
        began = window.begin()
        self._stage.clock.reach(began + window.seconds)
        if seen.gone:
            raise TargetGone(f"the target ended while it was looked at: {seen.gone}", fix="the case says so")
        ref = target.ref if target else ""
        return seen.evidence(self, ref, began, began + window.seconds)


class StagedRemediation:
    """An installed remediation's plan, with a mapping to read from and to write to."""

    def __init__(self, remediation: Remediation, stage: Stage) -> None:
        self.name, self.summary, self.knob = remediation.name, remediation.summary, remediation.knob
        self.options, self.risk = remediation.options, remediation.risk
        self.temporary = getattr(remediation, "temporary", False)
        self._plan = remediation.plan
        self._stage = stage

    def read(self, target: Target) -> dict[str, KnobValue]:
        """All settings as they stand."""
        del target
        absent = {self.knob: KnobValue(source="not set")} if self.knob else {}
        return {**absent, **self._stage.knobs}

    def plan(self, case: Case) -> Plan:
        """The installed part's own."""
        return self._plan(case)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The setting as it stands.

        Raises:
            ChangedSince: It is not what the plan was made for.
        """
        del target
        value = self._stage.value(change)
        if value != change.before:
            raise ChangedSince(f"{change.knob.name} is {value!r}, not {change.before!r}", fix="look again")
        return {"value": value}

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Write it to the stage.

        Raises:
            ChangeFailed: The case says that it breaks.
        """
        self.capture(change, target)
        del captured
        self._stage.write(change, change.after)
        self._stage.enter(self.name)
        if self.name in self._stage.breaks:
            raise ChangeFailed(self._stage.breaks[self.name], fix="the case says so")

    def state(
        self, change: Change, target: Target, captured: Mapping[str, Setting]
    ) -> Literal["before", "after", "other"]:
        """Compare with what was captured and what was wanted."""
        del target
        value = self._stage.value(change)
        return "before" if value == captured["value"] else "after" if value == change.after else "other"

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Put it back."""
        if self.state(change, target, captured) == "after":
            self._stage.write(change, captured["value"])
            self._stage.leave(self.name)
        return None


class StagedGuard:
    """A guard that says what the case lets it say."""

    name = "rehearsal"

    def __init__(self, says: Mapping[str, Literal["deny", "ask"]]) -> None:
        self._says = says

    def judge(self, plan: Plan, situation: object) -> Decision:
        """Deny or ask where the case says so."""
        del situation
        answer = self._says.get(plan.remediation)
        return Decision(
            answer=answer or "allow", guard=self.name, because="the case says so" if answer else "not named"
        )


class StagedNotifier:
    """Takes every sentence and sends none."""

    def __init__(self, name: str) -> None:
        self.name = name

    def tell(self, sentence: str, facts: Mapping[str, str]) -> None:
        """Nothing."""


class StagedPeople(Silent):
    """Whoever is asked in a rehearsal; what happens is shown to ``also``.

    Args:
        answers: By remediation, or a step's id or name: ``yes``, ``no``, ``nobody``, ``late``, or the
            parts of an answer.
        called: Step id → what else the case may call the step.
        stage: Whose clock is moved on when nobody answers in time.
        also: Another watcher, who is not asked.
    """

    def __init__(
        self,
        answers: Mapping[str, str | dict[str, str]],
        called: Mapping[str, tuple[str, ...]],
        stage: Stage,
        also: Watcher | None = None,
    ) -> None:
        self._answers, self._called, self._stage = answers, called, stage
        self._also = also or Silent()

    def begin(self, head: RunHead) -> None:
        """Shown on."""
        self._also.begin(head)

    def event(self, event: Event) -> None:
        """Shown on."""
        self._stage.learn(event)
        self._also.event(event)

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Shown on."""
        self._also.number(step, label, value, unit)

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """What the case lets people say of a change; yes when it does not tell."""
        del decisions
        said = self._answers.get(plan.remediation, "yes")
        return {"no": False, "nobody": None}.get(said, True) if isinstance(said, str) else True

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """What it lets people say to a question; a yes, and what is the default, when it does not tell."""
        if problem:
            return None  # what the case lets them say is no answer
        words = (own_id(asked.step), *self._called.get(own_id(asked.step), ()))
        said = next((self._answers[word] for word in words if word in self._answers), "yes")
        if isinstance(said, dict):
            return said
        if said == "late" and asked.expires_at is not None:
            self._stage.clock.reach(asked.expires_at)
        if said in {"nobody", "late"}:
            return None
        return {name: said for name, spec in asked.answers.items() if _takes(spec, said)}


def _takes(spec: Answerable, said: str) -> bool:
    """Whether one word may be meant for this part of an answer."""
    return spec.type == "bool" if said in {"yes", "no"} else spec.type != "bool"


class StagedCatalog(Catalog):
    """The installed parts, their eyes and hands replaced by the stage's."""

    def __init__(self, real: Catalog, stage: Stage, guards: Mapping[str, Literal["deny", "ask"]]) -> None:
        super().__init__(())
        self._real, self._stage = real, stage
        self._guard = StagedGuard(guards)

    def names(self, kind: str) -> tuple[str, ...]:
        """As installed; a single guard; nothing that would look at this machine."""
        if kind == "guard":
            return (self._guard.name,)
        return self._real.names(kind) if kind in _KINDS else ()

    def part(self, kind: str, name: str) -> Any:  # noqa: ANN401 - as in the base
        """The installed part, or what stands for it."""
        key = (kind, name)
        if key not in self._loaded:
            self._loaded[key] = self._staged(kind, name)
        return self._loaded[key]

    def _staged(self, kind: str, name: str) -> object:
        if kind == "probe":
            return StagedProbe(self._real.probe(name), self._stage)
        if kind == "remediation":
            return StagedRemediation(self._real.remediation(name), self._stage)
        if kind == "notifier":
            return StagedNotifier(name)
        return self._guard if kind == "guard" else self._real.part(kind, name)
