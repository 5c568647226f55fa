"""Parts for a rehearsal: eyes that see what the stage tells, hands that write to it.

One promise: all but looking and writing is the installed part's own: its plan, its options, its
promises.

Not here: what is told when (``engine.rehearsals.stage``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from engine.catalog import Catalog
from engine.contracts import Probe, Remediation, Window
from engine.errors import ChangedSince, ChangeFailed, ProbeFailed, TargetGone
from engine.rehearsals.stage import Stage
from engine.values import Case, Change, Decision, Evidence, KnobValue, Plan, Setting, Support, Target

#: Kinds of parts that a rehearsal has: no inventory, no finding of targets, no commands.
_KINDS = ("probe", "diagnosis", "remediation", "guard", "notifier")


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
