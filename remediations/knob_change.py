"""The writing half of a remediation: capture, apply, read back, undo, for any knob.

Every write is compare-and-set, nothing is applied twice, and undo puts back exactly what
was captured, from the journal alone: no memory of this process is needed.

Not here: deciding (``planning`` and the remediations), the places settings stand in and
reloads (``knobs/``), whether we may (``engine.guarding.guards``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.contracts import Clock
from engine.errors import ChangeFailed, TargetGone
from engine.values import Case, Change, KnobValue, Plan, Setting, Target
from remediations.knobs import amounts, http, processes
from remediations.knobs.backend import Follows, Hands, State, hands
from remediations.knobs.reload import WallClock, by_hand, take_effect
from remediations.planning import KnobPlanner


class KnobChange:
    """A remediation: a planner, and hands beside it.

    ``planner`` is what a dry-run is given: it has no method that writes.
    """

    planner: ClassVar[KnobPlanner[Any]]

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or WallClock()
        self.name = self.planner.name
        self.summary = self.planner.summary
        self.knob = self.planner.knob
        self.risk = self.planner.risk
        self.options = self.planner.options

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The present values that ``plan`` needs."""
        return self.planner.read(target)

    def plan(self, case: Case) -> Plan:
        """Decide from the case alone."""
        return self.planner.plan(case)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """All that ``undo`` needs; JSON throughout. Reads only.

        Raises:
            ChangedSince: The value is no longer ``change.before``.
            NotChanged: The setting can't be read, or could not be written.
        """
        return hands(change.knob.backend).capture(change, target)

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Write, reload, and wait until the target is well with it.

        Raises:
            TargetGone: The target had ended; nothing was written.
            ChangedSince: The value is no longer ``change.before``; nothing was written.
            ChangeFailed: It is written, but the target is not well or did not take it.
        """
        hand = hands(change.knob.backend)
        elsewhere = isinstance(hand, Follows) and not target.processes  # it runs on other machines
        if not elsewhere and not _runs(target):
            raise TargetGone(
                f"{target.name} (pid {target.pid}) has ended; nothing was changed",
                fix=f"runbook run agent-down --target {target.name}, then run this again",
            )
        hand.write(change, target, captured)
        self._take_effect(hand, change, change.after, target)
        if hand.state(change, target, captured) != "after":
            raise ChangeFailed(
                f"{change.where or change.knob.name} does not hold {change.after_text} after the write",
                fix="find out who else writes it; 'runbook undo' leaves their value alone",
            )

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """What the setting holds now: in its place, not in the running agent."""
        return hands(change.knob.backend).state(change, target, captured)

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Put back what was captured, reload, and wait until the target is well again.

        Safe to call again after a kill: a value that is already back is not written anew,
        but the reload that may be missing is made up for.

        Raises:
            ChangedSince: Somebody else has set it since; left as it is.
            ChangeFailed: The value is back, but the target is not well.
        """
        hand = hands(change.knob.backend)
        restored = hand.restore(change, target, captured)
        reload = change.knob.reload
        if not restored.reload or (reload.by == "none" and not isinstance(hand, Follows)):
            return restored.note or None
        if not isinstance(hand, Follows) and not _runs(target):
            return (
                f"{change.where} holds {change.before_text} again; {target.name} does not run,"
                " so nothing was reloaded: it takes the value when it starts"
            )
        try:
            note = self._take_effect(hand, change, change.before, target)
        except ChangeFailed as error:
            again = f"look at the agent's log, then by hand: {by_hand(reload, target)}"
            raise ChangeFailed(
                f"{change.where} holds {change.before_text} again, but {error.problem}",
                fix=error.fix if isinstance(hand, Follows) else again,
            ) from error
        return note or restored.note or None

    def _take_effect(self, hand: Hands, change: Change, value: Setting, target: Target) -> str:
        """Reload, or what the place of the setting needs instead; gives a note for the record."""

        def in_force() -> bool | None:
            return _in_force(change, value, target)

        if isinstance(hand, Follows):
            return hand.follow(change, target, self._clock, in_force)
        take_effect(change.knob.reload, target, self._clock, in_force)
        return ""


def _runs(target: Target) -> bool:
    return bool(target.processes) and processes.alive(target.processes[0])


def _in_force(change: Change, value: Setting, target: Target) -> bool | None:
    """Whether the target says that it works with ``value``; None when it does not say."""
    knob = change.knob
    if not knob.in_force or not target.metrics_url:
        return None
    wanted = amounts.made(knob.default if value is None else value, knob, amounts.here())
    seen = http.metric(target.metrics_url, knob.in_force)
    if seen is None or isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
        return None
    return abs(seen - wanted) <= 1e-6 * max(1.0, abs(wanted))
