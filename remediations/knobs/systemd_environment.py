"""Settings that are variables of a systemd service: ``Environment=``, or a file that it reads them from.

One promise: the change is made where it counts. A variable in an ``EnvironmentFile=`` is changed in that
file, since it would win over ``Environment=``; else a drop-in of ours gets one line.

Source: systemd.exec(5), "Environment=", "EnvironmentFile=", "UnsetEnvironment=".

Not here: quoting within such a file (``env_file``), within a unit (``command_line``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.errors import RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import systemd_unit, text_edit, text_value
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.command_line import quoted, spelled, words
from remediations.knobs.env_file import EnvFile
from remediations.knobs.systemd_override import HEAD, UnitOverride
from remediations.knobs.systemd_unit import NoUnit, Unit
from remediations.knobs.text_file import amount_of

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SPECIFIER = re.compile(r"(?<!%)(?:%%)*%(?!%)")


class _Set(NamedTuple):
    """Where a variable is set, and to which text; no file: nowhere."""

    file: str
    line: int
    text: str | None


class SystemdEnvironment(UnitOverride):
    """Backend ``systemd-environment``: ``Knob.path`` is the variable; the unit is ``reload.unit``."""

    name = "systemd-environment"
    subject = "environment"
    requires = ("path",)  # the unit: reload.unit, else that of the process
    _files = EnvFile()

    def complaint(self, path: str) -> str:
        """Why a profile's path is no variable; empty when it is one."""
        return "" if _NAME.fullmatch(path) else f"{path!r} is no name of a variable"

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The variable as the service would get it; no such unit is an absent place."""
        try:
            unit = self._unit(knob, target)
            if file := self._in_file(unit, knob):
                return self._files.read(_in(knob, file), target)
            now = _assigned(unit, knob)
            value = None if now.text is None else text_value.read(now.text, knob.unit)
            amount = None if value is None else amount_of(value, knob)
        except RunbookError as error:
            problem = f"{error.problem} ({error.fix})"
            return KnobValue(source=knob.path, missing=problem, absent=isinstance(error, NoUnit))
        except ValueError as error:
            return KnobValue(source=knob.path, missing=f"{knob.path}: {error}")
        blocked = self._obstacle(unit, now.file)
        return KnobValue(
            value=value,
            raw=now.text,
            effective=amount,
            source=f"{now.file}:{now.line}" if now.file else unit.name,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The line that stands in our drop-in, if one does; or what ``env-file`` captures."""
        unit, knob = self._unit(change.knob, target), change.knob
        if unit.state not in ("active", "activating", "reloading"):
            raise NotChanged(f"{unit.name} is {unit.state}: it does not run", fix="start it, then run again")
        if file := self._in_file(unit, knob):
            return {**self._files.capture(_moved(change, file), target), "environment_file": file}
        now = _assigned(unit, knob)
        if not _holds(now, change.before, knob):
            raise _since(change, now)
        blocked = self._obstacle(unit, now.file)
        if blocked:
            raise NotChanged(blocked[0], fix=blocked[1])
        word = quoted(f"{knob.path}={spelled(change.after, now.text or '', knob).replace('$$', '$')}", '""')
        ours = self._place(unit)
        line = _line_of(ours.read_text(), knob) if ours.exists() else None
        return {"environment_file": None, "line": line, "written": f"Environment={word}", **self._known(unit)}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Set our line, or the variable in its file."""
        if file := captured["environment_file"]:
            return self._files.write(_moved(change, str(file)), target, captured)
        now = _assigned(self._unit(change.knob, target), change.knob)
        if not _holds(now, change.before, change.knob):
            raise _since(change, now)
        written = str(captured["written"])

        def edit(text: str | None) -> str:
            return _with(f"{HEAD}[Service]\n" if text is None else text, change.knob, written)

        return self._put(Path(str(captured["file"])), edit, captured)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """By the value that the service would get."""
        if file := captured["environment_file"]:
            return self._files.state(_moved(change, str(file)), target, captured)
        now = _assigned(self._unit(change.knob, target), change.knob)
        if _holds(now, change.after, change.knob):
            return "after"
        return "before" if _holds(now, change.before, change.knob) else "other"

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Put our former line back, or take it out; the last one takes the file with it."""
        if file := captured["environment_file"]:
            return self._files.restore(_moved(change, str(file)), target, captured)
        place, knob = Path(str(captured["file"])), change.knob
        now = _assigned(self._unit(knob, target), knob)
        if _holds(now, change.before, knob) and (
            not place.exists() or _line_of(place.read_text(), knob) == captured["line"]
        ):
            return self._back_already(place, captured)
        if not _holds(now, change.after, knob) or Path(now.file) != place:
            raise _since(change, now)

        def edit(text: str | None) -> str | None:
            line = captured["line"]
            left = _with(text or "", knob, None if line is None else str(line))
            return None if left == f"{HEAD}[Service]\n" else left

        self._put(place, edit, captured)
        return Restored(reload=True)

    def _in_file(self, unit: Unit, knob: Knob) -> str:
        """The last environment file that sets the variable; empty where none does.

        Raises:
            NotChanged: One of them can't be read, so that it is unknown.
        """
        holds = ""
        for file in _environment_files(unit):
            seen = self._files.read(_in(knob, file), Target(name="", ref=""))
            if seen.raw is not None:
                holds = file
            elif seen.missing:
                raise NotChanged(seen.missing, fix="mend that first")
        return holds


def _environment_files(unit: Unit) -> Iterator[str]:
    for one in systemd_unit.assignments(unit.files, "EnvironmentFile"):
        pattern = one.value.removeprefix("-").strip("\"'")
        if _SPECIFIER.search(pattern):
            raise NotChanged(
                f"{one.file}:{one.line}: {pattern!r} holds a specifier", fix="change the setting by hand"
            )
        yield from sorted(map(str, Path("/").glob(pattern.replace("%%", "%").lstrip("/"))))


def _assigned(unit: Unit, knob: Knob) -> _Set:
    """What ``Environment=`` lines make of the variable.

    Raises:
        NotChanged: No name of a variable, or a value that only systemd can tell.
    """
    if not _NAME.fullmatch(knob.path):
        raise NotChanged(
            f"{knob.path!r} is no name of a variable", fix="correct path: in the agent's profile"
        )
    found = _Set("", 0, None)
    for one in systemd_unit.assignments(unit.files, "Environment"):
        for word in words(one.value, f"{one.file}:{one.line}"):
            name, _, text = word.said.partition("=")
            if name == knob.path:
                found = _Set(one.file, one.line, text)
    for one in systemd_unit.assignments(unit.files, "UnsetEnvironment"):
        if any(word.said.partition("=")[0] == knob.path for word in words(one.value, one.file)):
            raise NotChanged(
                f"{one.file}:{one.line} takes {knob.path} away again", fix="take that line out first"
            )
    if found.text is not None and _SPECIFIER.search(found.text):
        raise NotChanged(
            f"{found.file}:{found.line}: systemd makes its value of {found.text!r}", fix="write it out"
        )
    return found if found.text is None else found._replace(text=found.text.replace("%%", "%"))


def _holds(now: _Set, value: Setting, knob: Knob) -> bool:
    if now.text is None or value is None:
        return now.text is None and value is None
    return text_value.same(text_value.read(now.text, knob.unit), value)


def _line_of(text: str, knob: Knob) -> str | None:
    """Our line for the variable."""
    return next((line for line in text.splitlines() if _names(line, knob)), None)


def _names(line: str, knob: Knob) -> bool:
    return line.startswith(f'Environment="{knob.path}=')


def _with(text: str, knob: Knob, line: str | None) -> str:
    """Our drop-in with this line for the variable, or with none."""
    kept = [each for each in text.splitlines() if not _names(each, knob)]
    return "\n".join([*kept, *([line] if line else [])]) + "\n"


def _in(knob: Knob, file: str) -> Knob:
    return msgspec.structs.replace(knob, file=file)


def _moved(change: Change, file: str) -> Change:
    """The change, made in an environment file."""
    return msgspec.structs.replace(change, knob=_in(change.knob, file))


def _since(change: Change, now: _Set) -> RunbookError:
    shown = _moved(change, now.file or "the unit")
    return text_edit.since(shown, "not set" if now.text is None else f"now {now.text!r}")
