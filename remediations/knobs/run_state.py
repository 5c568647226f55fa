"""Whether the agent runs, as a setting that can be read: ``running`` or ``stopped``.

Not here: starting it (``start``), whether that may be done (``remediations.restart``).
"""

from __future__ import annotations

from engine.values import Knob, KnobValue, Target
from remediations.knobs import processes

RUNNING, STOPPED = "running", "stopped"


class RunState:
    """Backend ``run-state``; it can only read."""

    name = "run-state"

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the contract's
        """By its processes, each pinned to its start."""
        alive = [process.pid for process in target.processes if processes.alive(process)]
        word = RUNNING if alive else STOPPED
        return KnobValue(value=word, raw=" ".join(map(str, alive)), effective=word, source="process table")
