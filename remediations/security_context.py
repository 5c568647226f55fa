"""Give a container in Kubernetes what its BPF programs lack, and no more.

From the lacks that the probe ``kubernetes`` has measured: capabilities, mounts, the host's process
ids. On a server the patch is tried there first, the rollout is watched, and what does not become
ready is taken back; in a manifest file the lines are added and comments stay.

Touches: one container's security context, and host mounts. ``privileged`` only when the author of the step
allows it, nothing finer is left, and a human says yes. Never takes a right away.
Source: Kubernetes documentation, "Configure a Security Context for a Pod or Container".
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.contracts import Clock
from engine.errors import ChangedSince, ChangeFailed
from engine.values import Case, Change, KnobValue, Plan, Setting, Target
from remediations.knobs import kubernetes, rollout
from remediations.knobs.backend import NotChanged, State, hands
from remediations.knobs.reload import WallClock
from remediations.security_context_plan import SecurityContextPlanner


class SecurityContext:
    """Remediation ``security-context``."""

    planner = SecurityContextPlanner()

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or WallClock()
        self.name = self.planner.name
        self.summary = self.planner.summary
        self.knob = self.planner.knob
        self.risk = self.planner.risk
        self.options = self.planner.options

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The security context as it stands."""
        return self.planner.read(target)

    def plan(self, case: Case) -> Plan:
        """Decide from the case alone."""
        return self.planner.plan(case)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """What stands there, after the server has tried the change without making it."""
        return hands(change.knob.backend).capture(change, target)

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Write it, and on a server wait until every pod is well with it.

        Raises:
            ChangedSince: It is no longer ``change.before``; nothing was written.
            ChangeFailed: Its pods do not become ready.
        """
        hands(change.knob.backend).write(change, target, captured)
        found, generation = kubernetes.generation(change)
        if found.cluster is not None:
            rollout.wait(found, generation, self._clock, change.knob.reload.settle_s)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """What the specification holds now."""
        return hands(change.knob.backend).state(change, target, captured)

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Put the object, or the bytes, back; pods follow by the controller, as ready as they were before."""
        restored = hands(change.knob.backend).restore(change, target, captured)
        if not restored.reload:
            return restored.note or None
        try:
            found, generation = kubernetes.generation(change)
            if rollout.observed(found, generation, self._clock):
                return f"its controller makes the pods of {found.ref.shown} anew, as they were"
        except (ChangedSince, NotChanged) as error:
            raise ChangeFailed(f"it is put back, but {error.problem}", fix=error.fix) from error
        return f"it is put back; the controller of {found.ref.shown} has not taken that up yet"
