"""Settings in a global variable of a running BPF program: in force with the next event.

The variable lives as long as the program: when the agent restarts, the change is gone and
there is nothing to undo, which ``state`` calls ``before`` and ``restore`` says.

Not here: finding and storing (``bpf_map``).
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import ChangedSince, RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import bpf_map
from remediations.knobs.backend import NotChanged, Restored, State


class BpfVariable:
    """Backend ``bpf-variable``: the variable ``Knob.path`` in the map ``Knob.map_id``."""

    name = "bpf-variable"

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The variable's value now."""
        source = f"BPF variable {knob.path}"
        try:
            value = bpf_map.load(_find(knob, target))
        except (RunbookError, OSError) as error:
            why = error.problem if isinstance(error, RunbookError) else _explain(error, knob)
            return KnobValue(source=source, missing=why)
        return KnobValue(value=value, raw=str(value), effective=value, source=source)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The value, and where the variable lies."""
        variable = self._variable(change.knob, target)
        value = bpf_map.load(variable)
        if value != change.before:
            raise _since(change, value)
        return {"map_id": variable.map_id, "offset": variable.offset, "value": value}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Store the variable alone, if it still holds the value before."""
        self._store(change, target, change.before, change.after)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """A variable that went with its process counts as ``before``."""
        try:
            value = bpf_map.load(self._variable(change.knob, target))
        except NotChanged:
            if _gone(change.knob, target):
                return "before"
            raise
        if value == change.after:
            return "after"
        restarted = _map_id(change.knob, target) != captured.get("map_id")
        return "before" if value == change.before or restarted else "other"

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Store the value before, if ours still stands there."""
        state = self.state(change, target, captured)
        if state == "before":
            restarted = _map_id(change.knob, target) != captured.get("map_id") or _gone(change.knob, target)
            note = f"{change.knob.path} went with the process that held it: nothing to undo"
            return Restored(reload=False, note=note if restarted else "")
        if state == "other":
            raise _since(change, bpf_map.load(self._variable(change.knob, target)))
        self._store(change, target, change.after, change.before)
        return Restored(reload=False)

    def _variable(self, knob: Knob, target: Target) -> bpf_map.Variable:
        try:
            return _find(knob, target)
        except OSError as error:
            raise NotChanged(
                _explain(error, knob), fix="check that the agent runs, and run as root"
            ) from None

    def _store(self, change: Change, target: Target, expected: Setting, value: Setting) -> None:
        if not isinstance(expected, int) or not isinstance(value, int):
            raise NotChanged(f"{change.knob.path} takes whole numbers only", fix="correct the profile")
        variable = self._variable(change.knob, target)
        try:
            stored = bpf_map.store(variable, expected, value)
        except OSError as error:
            raise NotChanged(_explain(error, change.knob), fix="run as root") from None
        if not stored:
            raise _since(change, bpf_map.load(variable))


def _find(knob: Knob, target: Target) -> bpf_map.Variable:
    return bpf_map.find(_map_id(knob, target), knob.path)


def _map_id(knob: Knob, target: Target) -> int:
    """The map of the target as found now: a restarted agent has another than the journal says."""
    now = target.knobs.get(knob.name)
    for candidate in (now, now.live if now else None):
        if (
            candidate
            and (candidate.backend, candidate.path) == (knob.backend, knob.path)
            and candidate.map_id
        ):
            return candidate.map_id
    return knob.map_id


def _gone(knob: Knob, target: Target) -> bool:
    try:
        with bpf_map.opened(_map_id(knob, target)):
            return False
    except OSError as error:
        return isinstance(error, FileNotFoundError)


def _explain(error: OSError, knob: Knob) -> str:
    if isinstance(error, FileNotFoundError):
        return f"BPF map {knob.map_id}, which held {knob.path}, is gone: its process has ended"
    if isinstance(error, PermissionError):
        return f"BPF variable {knob.path} may not be touched: {error.strerror} (needs CAP_SYS_ADMIN)"
    return f"BPF variable {knob.path} can't be reached: {error.strerror}"


def _since(change: Change, value: int) -> ChangedSince:
    knob = change.knob
    return ChangedSince(
        f"BPF variable {knob.path} is {value}; expected {change.before_text} or {change.after_text}."
        " Left as it is",
        fix=f"if nobody meant it, have the agent reload its configuration (it was: {change.before_text})",
    )
