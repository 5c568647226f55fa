"""The planning half of a remediation: from a case to a plan, with no way to write.

A planner holds no hands: its backends can only read, and ``plan`` does not even read. A
dry-run is given this object. Each remediation supplies ``decide``; what they share stands
here: finding the knob, refusing with a reason, writing the value in the knob's own style,
and the bounds.

Not here: applying and undoing (``knob_change``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, Literal, NoReturn, TypeVar

import msgspec

from engine.values import Case, Change, Knob, KnobValue, Plan, Prediction, Risk, Setting, Target
from remediations import options as step_options
from remediations.consequences import by_hand, dangers
from remediations.knobs import amounts, places
from remediations.knobs.backend import backend, where

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)
LIVE = ".live"  # read() gives the live door's value under NAME.live

#: A thread that uses this much of a core is at its limit: sampling and rounding eat the rest.
FULL_CORE = 0.95


class NothingToDo(Exception):
    """There is nothing to change; the text is the reason."""


class Blocked(NothingToDo):
    """A change may be called for, and the setting can't be changed; the text says why and what mends it."""


class Question(msgspec.Struct, Generic[OptionsT], frozen=True):
    """What a planner decides from: the case, its knob and the value there, and its options."""

    case: Case
    knob: Knob
    now: KnobValue
    options: OptionsT

    @property
    def current(self) -> Setting:
        """What is in force in base units: what the agent makes of the value there, else of its default.

        Infinity where that means "no limit".
        """
        now, knob, host = self.now, self.knob, self.case.host
        value = now.value if now.value is not None or now.raw is not None else knob.default
        try:
            if value is not None and (now.effective is None or amounts.of_the_knob(knob)):
                return amounts.made(value, knob, host)
        except ValueError:
            return None
        known = now.effective
        if isinstance(known, bool) or not isinstance(known, (int, float)):
            return known
        return math.inf if amounts.unlimited(value, knob) else amounts.rounded(known, knob, host)

    @property
    def unlimited(self) -> bool:
        """Whether the setting means "no limit" now."""
        return self.current == math.inf

    @property
    def style(self) -> Setting:
        """After which a new value is written: what stands there, else the default."""
        return self.now.value if self.now.value is not None else self.knob.default

    @property
    def bounds(self) -> tuple[float, float]:
        """Minimum and maximum in base units."""
        return amounts.bounds(self.knob, self.case.host)

    def number(self, path: str) -> float | None:
        """``flow.in_per_s``, or None when unknown."""
        return self.case.number(path)

    def need(self, path: str) -> float:
        """The same, where nothing can be planned without it."""
        value = self.case.number(path)
        if value is None:
            short, _, name = path.partition(".")
            seen = self.case.evidence.get(short)
            reading = seen.readings.get(name) if seen else None
            why = reading.missing if reading and reading.missing else "it was not measured"
            nothing(f"{path} is unknown: {why}")
        return value

    def current_number(self) -> float:
        """The value in force as a number, where nothing can be planned without it."""
        value = self.current
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            nothing(
                f"what {self.knob.name} is now is unknown: it is not set and the profile names no default"
            )
        if value == math.inf:
            nothing(f"{self.knob.name} has no limit now: {self.say(self._set)} in {where(self.knob)}")
        return float(value)

    def fit(self, amount: float, toward: Literal["up", "down"]) -> tuple[Setting, float]:
        """The value for ``amount``, within the knob's bounds, and what the agent makes of it.

        ``up`` gives at least ``amount``, or the most that is allowed; ``down`` at most ``amount``.
        """
        try:
            return amounts.written(amount, self.knob, self.case.host, like=self.style, toward=toward)
        except ValueError as error:
            nothing(f"{where(self.knob)}: {error}")

    def say(self, value: Setting) -> str:
        """A value of the knob for people, with what it amounts to where that is not plain."""
        return amounts.say(value, self.knob, self.case.host)

    @property
    def _set(self) -> Setting:
        return self.now.value if self.now.value is not None else self.knob.default


class KnobPlanner(ABC, Generic[OptionsT]):
    """Plans the turning of one knob. Subclasses say which, and decide how far."""

    name: ClassVar[str]
    summary: ClassVar[str]
    knob: ClassVar[str]
    risk: ClassVar[Risk] = "low"
    kind: type[OptionsT]

    @property
    def options(self) -> Mapping[str, str]:
        """Each option of ``with``: name → help."""
        return step_options.described(self.kind)

    def find(self, target: Target) -> Knob | None:
        """The knob on this target: as its profile names it. None when there is none."""
        return target.knobs.get(self.knob)

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The knob's value now, and its live door's under ``NAME.live``."""
        knob = self.find(target)
        if knob is None:
            return {}
        values = {knob.name: places.read(knob, target)}
        if knob.live is not None:
            values[knob.name + LIVE] = backend(knob.live.backend).read(knob.live, target)
        return values

    def plan(self, case: Case) -> Plan:
        """Decide from the case alone; an empty plan says why.

        Raises:
            UsageError: An option is unknown or wrong.
        """
        chosen = step_options.read(self.kind, case.options, self.name)
        try:
            asked = self._question(case, chosen)
            made = self.decide(asked)
            if asked.now.missing and not all(each.live for each in made.changes):
                blocked(asked.now.missing)
        except NothingToDo as reason:
            stuck = isinstance(reason, Blocked)
            return Plan(remediation=self.name, risk=self.risk, reason=str(reason), blocked=stuck)
        return made

    @abstractmethod
    def decide(self, asked: Question[OptionsT]) -> Plan:
        """The plan; or ``nothing(why)``."""

    def lacking(self, target: Target) -> str:
        """Why there is no knob to turn on this target."""
        if target.profile == "generic":
            return f"{target.name} has no profile, so where its settings are is unknown: docs/first-agent.md"
        known = ", ".join(sorted(target.knobs)) or "none"
        return f"{target.name} has no knob {self.knob!r} (its profile {target.profile}: {known})"

    def _question(self, case: Case, chosen: OptionsT) -> Question[OptionsT]:
        knob = self.find(case.target)
        if knob is None:
            nothing(self.lacking(case.target))
        return self.asking(case, knob, chosen)

    def asking(self, case: Case, knob: Knob, chosen: OptionsT) -> Question[OptionsT]:
        """The question of a knob that was found, when its value could be read."""
        now = case.knobs.get(knob.name)
        if now is None:
            nothing(f"the value of {knob.name} was not read")
        if now.missing and now.value is None and now.raw is None:
            live = case.knobs.get(knob.name + LIVE)
            if live is None or live.missing:
                blocked(now.missing)
        return Question(case, knob.places[min(now.place, len(knob.otherwise))], now, chosen)


def nothing(because: str) -> NoReturn:
    """End planning with an empty plan and its reason."""
    raise NothingToDo(because)


def blocked(because: str) -> NoReturn:
    """End planning: the setting can't be changed, so the ladder must not go on as if it need not be."""
    raise Blocked(because)


def change(asked: Question[OptionsT], after: Setting, why: str) -> Change:
    """The change of the asked knob from what stands there to ``after`` (in its own unit)."""
    knob, now = asked.knob, asked.now
    if now.value is not None and after == now.value:
        nothing(f"{where(knob)} is {asked.say(after)} already, and not in force: reload the agent")
    before_text = asked.say(now.value)
    if now.value is None and knob.default is not None:
        before_text += f" (default {asked.say(knob.default)})"
    return Change(
        knob=knob,
        before=now.value,
        after=after,
        before_text=before_text,
        after_text=asked.say(after),
        why=why,
        where=now.source if knob.backend == "bpf-variable" and now.source else where(knob),
    )


def plan(  # noqa: PLR0913 - a plan's own fields
    name: str,
    asked: Question[OptionsT],
    changes: tuple[Change, ...],
    reason: str,
    predictions: tuple[Prediction, ...],
    *,
    risk: Risk = "low",
    memory_bytes: int = 0,
    memory_limit: str = "",
    temporary: bool = False,
    warnings: tuple[str, ...] = (),
) -> Plan:
    """A plan with what all plans share: what a reload loses, and the undo by hand."""
    loses = tuple(dict.fromkeys(item for each in changes for item in each.knob.reload.loses))
    if not all(each.knob.verified for each in changes):
        warnings = (
            *warnings,
            f"the effect of this knob was not yet seen to work with {asked.case.target.profile}",
        )
    warnings = tuple(
        dict.fromkeys(
            (*warnings, *dangers(changes, asked.knob, asked.say(asked.now.value) if asked.unlimited else ""))
        )
    )
    return Plan(
        remediation=name,
        changes=changes,
        reason=reason,
        predictions=predictions,
        risk=risk,
        loses=loses,
        memory_bytes=memory_bytes,
        memory_limit=memory_limit,
        undo_by_hand="; ".join(by_hand(each, _now(each, asked), asked.case.target) for each in changes),
        temporary=temporary,
        warnings=warnings,
    )


def _now(made: Change, asked: Question[OptionsT]) -> KnobValue | None:
    return asked.case.knobs.get(made.knob.name + LIVE) if made.live else asked.now
