"""A flag read from the command line of the running process, where nobody knows what wrote it there.

It can only read: a plan is ``blocked``, with the sentence how the agent is to be started. Of an agent
with a unit, ``systemd-argument`` can change it.

Source: ``/proc/PID/cmdline``, proc(5).
"""

from __future__ import annotations

from engine.values import Knob, KnobValue, Target
from remediations.knobs import flags, text_value
from remediations.knobs.text_file import amount_of


class ProcessArgument:
    """Backend ``process-argument``: ``Knob.path`` is ``--flag`` or ``--flag key=``."""

    name = "process-argument"
    requires = ("path",)

    def complaint(self, path: str) -> str:
        """Why a profile's path is no flag; empty when it is one."""
        return flags.complaint(path)

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The flag's value; ``missing`` says how it is changed."""
        if not target.processes:
            return KnobValue(source=knob.path, missing=f"{target.name} does not run", absent=True)
        process = target.processes[0]
        source = f"command line of pid {process.pid}"
        try:
            hit = flags.find(process.argv, flags.parse(knob.path), switch=knob.unit == "bool")
            raw = None if hit is None or hit.prefix is None else process.argv[hit.word][len(hit.prefix) :]
            value = hit is not None if raw is None else text_value.read(raw, knob.unit)
            amount = amount_of(value, knob) if raw is not None else None
        except ValueError as error:
            return KnobValue(source=source, missing=f"{knob.path}: {error}")
        how = f"{knob.path.partition(' ')[0]} is given by whoever started pid {process.pid}"
        return KnobValue(
            value=None if hit is None else value,
            raw=None if hit is None else raw or knob.path,
            effective=amount,
            source=source,
            absent=hit is None,
            missing=f"{how}; start it anew with another {knob.path} (or name its unit: reload.unit)",
        )
