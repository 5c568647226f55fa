"""The writing half of a remediation that counts from the agent's next start.

The agent need not run: it may have ended because its programs did not load. After the write
it is started anew where its profile says how; undo puts the setting back, and the agent as it
was: started again if it ran, ended if only we had started it.

Not here: what is written (``knobs/``), deciding (the remediations).
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import ChangeFailed
from engine.values import Change, Setting, Target
from remediations.knob_change import KnobChange
from remediations.knobs import processes, start
from remediations.knobs.backend import hands

RAN = "agent_ran"


class StartChange(KnobChange):
    """A remediation whose change counts from the next start of the agent."""

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """All that ``undo`` needs, and whether the agent ran."""
        return {**super().capture(change, target), RAN: runs(target)}

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Write, start the agent anew, and wait until it is well.

        Raises:
            ChangedSince: The value is no longer ``change.before``; nothing was written.
            ChangeFailed: It is written, but the agent did not become well with it.
        """
        hand = hands(change.knob.backend)
        hand.write(change, target, captured)
        start.anew(change.knob.reload, target)
        start.wait_well(change.knob.reload, target, self._clock)
        if hand.state(change, target, captured) != "after":
            raise ChangeFailed(
                f"{change.where} does not hold {change.after_text} after the write",
                fix="find out who else writes it; 'runbook undo' leaves their value alone",
            )

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Put back what was captured; then the agent as it was.

        Raises:
            ChangedSince: Somebody else has set it since; left as it is.
            ChangeFailed: The value is back, but the agent could not be started or ended.
        """
        restored = hands(change.knob.backend).restore(change, target, captured)
        if not restored.reload or not runs(target):
            return restored.note or None
        way = change.knob.reload
        if not captured.get(RAN):
            start.end(way, target)
            return f"{target.name} was ended: it did not run before"
        if way.by == "none":
            return f"{target.name} works on with what it was given until its next start"
        start.anew(way, target)
        return restored.note or f"{target.name} was started anew without it"


def runs(target: Target) -> bool:
    """Whether one of its processes still is the one it was."""
    return any(processes.alive(process) for process in target.processes)
