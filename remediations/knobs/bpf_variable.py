"""Settings in a global variable of a running BPF program: in force with the next event.

The variable lives as long as the program: when the agent restarts, the change is gone and
there is nothing to undo, which ``state`` calls ``before`` and ``restore`` says.

Not here: finding and storing (``bpf_map``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.errors import ChangedSince, RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import bpf_map
from remediations.knobs.backend import NotChanged, Restored, State

_FIXED = (
    "is read-only (.rodata, frozen when the program was loaded)",
    "it must be 'volatile' in .data or .bss, else change the configuration",
)


class BpfVariable:
    """Backend ``bpf-variable``: the variable ``Knob.path`` in the map ``Knob.map_id``."""

    name = "bpf-variable"
    requires = ("path",)

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The variable's value now."""
        source = f"BPF variable {knob.path}"
        try:
            variable = _find(knob, target)
            value = bpf_map.load(variable)
        except RunbookError as error:
            return KnobValue(source=source, missing=f"{error.problem} ({error.fix})")
        source = f"{source} (map {variable.map_id})"
        missing = f"{source} {_FIXED[0]}: {_FIXED[1]}" if variable.fixed else ""
        return KnobValue(value=value, raw=str(value), effective=value, source=source, missing=missing)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The value, and where the variable lies."""
        variable = _find(change.knob, target)
        if variable.fixed:
            raise NotChanged(f"BPF variable {change.knob.path} {_FIXED[0]}", fix=_FIXED[1])
        value = bpf_map.load(variable)
        if value != change.before:
            raise _since(change, value)
        return {"map_id": variable.map_id, "offset": variable.offset, "value": value}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Store the variable alone, if it still holds the value before."""
        _store(_find(change.knob, target), change, change.before, change.after)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """A variable that went with its process counts as ``before``."""
        variable = _present(change, target, captured)
        return "before" if variable is None else _state(change, variable, captured)

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Store the value before, if ours still stands there."""
        variable = _present(change, target, captured)
        if variable is None or variable.map_id != captured["map_id"]:
            note = f"{change.knob.path} went with the process that held it: nothing to undo"
            return Restored(reload=False, note=note)
        match _state(change, variable, captured):
            case "other":
                raise _since(change, bpf_map.load(variable))
            case "after":
                _store(variable, change, change.after, change.before)
        return Restored(reload=False)


def _find(knob: Knob, target: Target) -> bpf_map.Variable:
    """In the map that the profile names, else in the first of the agent's maps that has the name.

    Raises:
        NotChanged: None has it, or we may not look.
    """
    map_ids = (knob.map_id,) if knob.map_id else target.map_ids
    found, names = _look(map_ids, knob.path)
    if found is None:
        raise NotChanged(
            f"no BPF map of {target.name} has a variable {knob.path!r}",
            fix=f"check that the agent runs, and its profile; it has: {', '.join(sorted(names)) or 'none'}",
        )
    return found


def _look(map_ids: Iterable[int], name: str) -> tuple[bpf_map.Variable | None, set[str]]:
    """The variable, or None and the names that there are. Maps that are gone have none."""
    names: set[str] = set()
    for map_id in map_ids:
        try:
            there = bpf_map.variables(map_id)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NotChanged(
                f"BPF variable {name} can't be reached: {error.strerror}", fix="run as root"
            ) from None
        if name in there:
            return there[name], names
        names.update(there)
    return None, names


def _present(change: Change, target: Target, captured: Mapping[str, Setting]) -> bpf_map.Variable | None:
    """The variable that was captured; else its successor in a restarted agent; None when gone."""
    return _look((int(str(captured["map_id"])), *target.map_ids), change.knob.path)[0]


def _state(change: Change, variable: bpf_map.Variable, captured: Mapping[str, Setting]) -> State:
    if variable.map_id != captured["map_id"]:
        return "before"  # another process's: ours went with the one that held it
    value = bpf_map.load(variable)
    return "after" if value == change.after else "before" if value == change.before else "other"


def _store(variable: bpf_map.Variable, change: Change, expected: Setting, value: Setting) -> None:
    if not isinstance(expected, int) or not isinstance(value, int):
        raise NotChanged(f"{change.knob.path} takes whole numbers only", fix="correct the profile")
    if not bpf_map.store(variable, expected, value):
        raise _since(change, bpf_map.load(variable))


def _since(change: Change, value: int) -> ChangedSince:
    knob = change.knob
    return ChangedSince(
        f"BPF variable {knob.path} is {value}; expected {change.before_text} or {change.after_text}."
        " Left as it is",
        fix=f"if nobody meant it, restart the agent: it starts from its configuration"
        f" (it was: {change.before_text})",
    )
