"""Settings that are flags in a systemd unit's ``ExecStart=``, overridden in a drop-in of ours.

One promise: the overriding command line differs from the unit's own in the one flag. The drop-in holds
the line it stands for, so that taking the last of our flags back takes the file away.

Source: systemd.service(5), "ExecStart=": an empty one takes back those before it.

Not here: words and quotes (``command_line``), the file (``systemd_override``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import flags, systemd_unit, text_edit
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.command_line import CommandForm
from remediations.knobs.systemd_override import HEAD, UnitOverride
from remediations.knobs.systemd_unit import Assignment, NoUnit, Unit
from remediations.knobs.text_file import amount_of

_INSTEAD = "# Instead of: ExecStart="


class SystemdArgument(UnitOverride):
    """Backend ``systemd-argument``: ``Knob.path`` is ``--flag`` or ``--flag key=``, of ``reload.unit``."""

    name = "systemd-argument"
    subject = "arguments"
    form = CommandForm()
    requires = ("path",)  # the unit: reload.unit, else that of the process

    def complaint(self, path: str) -> str:
        """Why a profile's path is no flag; empty when it is one."""
        return flags.complaint(path)

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The flag's value on the unit's command line; no such unit is an absent place."""
        try:
            unit = self._unit(knob, target)
            line = _command(unit)
            source = f"{line.file}:{line.line}"
            spot = self.form.find(line.value, _at(knob, line))
            amount = amount_of(spot.value, knob) if spot else None
        except RunbookError as error:
            problem = f"{error.problem} ({error.fix})"
            return KnobValue(source=knob.path, missing=problem, absent=isinstance(error, NoUnit))
        except ValueError as error:
            return KnobValue(source=source, missing=f"{source}: {knob.path}: {error}")
        blocked = self._obstacle(unit, line.file)
        return KnobValue(
            value=spot.value if spot else None,
            raw=spot.raw if spot else None,
            effective=amount,
            source=source,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The word that stands there (or is to be added), and what our drop-in will stand for."""
        unit = self._unit(change.knob, target)
        if unit.state not in ("active", "activating", "reloading"):
            raise NotChanged(f"{unit.name} is {unit.state}: it does not run", fix="start it, then run again")
        line = _command(unit)
        blocked = self._obstacle(unit, line.file)
        if blocked:
            raise NotChanged(blocked[0], fix=blocked[1])
        return {**text_edit.planned(self.form, line.value, _of(change, line)), **self._known(unit)}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Set the flag in our drop-in, and have systemd read it."""
        line = _command(self._unit(change.knob, target))
        new = text_edit.made(self.form, line.value, _of(change, line), captured)

        def edit(text: str | None) -> str:
            if text is None:
                return f"{HEAD}{_INSTEAD}{line.value}\n[Service]\nExecStart=\nExecStart={new}\n"
            return _replaced(text, line, new)

        self._put(Path(str(captured["file"])), edit, captured)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """By the command line that the files make."""
        line = _command(self._unit(change.knob, target))
        return text_edit.state(self.form, line.value, _of(change, line), captured)

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Take the flag back in our drop-in; the last one takes the file with it."""
        place = Path(str(captured["file"]))
        line = _command(self._unit(change.knob, target))
        old = text_edit.taken_back(self.form, line.value, _of(change, line), captured)
        if old == line.value:
            return self._back_already(place, captured)
        if Path(line.file) != place:
            raise text_edit.since(_of(change, line), f"set in {line.file} by somebody else")

        def edit(text: str | None) -> str | None:
            return None if text is None or f"{_INSTEAD}{old}\n" in text else _replaced(text, line, old)

        self._put(place, edit, captured)
        return Restored(reload=True)


def _command(unit: Unit) -> Assignment:
    """The one command that the unit starts.

    Raises:
        NotChanged: It starts none, or several.
    """
    found = systemd_unit.assignments(unit.files, "ExecStart")
    if len(found) != 1:
        raise NotChanged(
            f"{unit.name} has {len(found) or 'no'} ExecStart lines",
            fix="change the setting by hand: systemctl edit",
        )
    return found[0]


def _replaced(text: str, line: Assignment, new: str) -> str:
    """Our drop-in with another command line."""
    there = f"\nExecStart={line.value}\n"
    if text.count(there) != 1:
        raise NotChanged(f"{line.file} was edited by hand", fix="change the setting there by hand")
    return text.replace(there, f"\nExecStart={new}\n")


def _at(knob: Knob, line: Assignment) -> Knob:
    return msgspec.structs.replace(knob, file=f"{line.file}:{line.line}")


def _of(change: Change, line: Assignment) -> Change:
    """The change, naming the line in its errors."""
    return msgspec.structs.replace(change, knob=_at(change.knob, line))
