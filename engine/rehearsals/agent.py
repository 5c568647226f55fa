"""The agent of a rehearsal: a target with its knobs, and how those stand, from a profile and the case.

One promise: nothing of this machine is read: no process, no configuration file.

Not here: changing its settings (``engine.rehearsals.stage``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine import units
from engine.agents import making, profiles
from engine.agents.processes import ProcessTable
from engine.errors import UnknownName
from engine.guarding.amounts import WORDS, in_base_units
from engine.language.documents import Document
from engine.language.yaml_nodes import Complaints
from engine.rehearsals.model import Agent
from engine.values import Knob, KnobValue, Process, Setting, Target

#: What may be told of a knob's present value, and of the knob itself.
_VALUE = frozenset({"value", "raw", "effective", "missing"})
_KNOB = frozenset(info.name for info in msgspec.structs.fields(Knob)) - {"name", "live", "reload"}


class NoProcesses(ProcessTable):
    """A machine on which nothing runs, with pages of a size."""

    def __init__(self, page_bytes: int) -> None:
        super().__init__()
        self.page_bytes = page_bytes

    def comms(self) -> dict[int, str]:
        """Nothing."""
        return {}

    def exe(self, pid: int) -> str:  # noqa: ARG002 - whatever the pid
        """Not known."""
        return ""

    def argv(self, pid: int) -> tuple[str, ...]:  # noqa: ARG002
        """Nothing."""
        return ()

    def environment(self, pid: int, name: str) -> str | None:  # noqa: ARG002
        """Nothing."""
        return None

    def cwd(self, pid: int) -> str:  # noqa: ARG002
        """The root."""
        return "/"


def agent_of(
    spec: Agent, source: Document, complaints: Complaints, page_bytes: int = 4096
) -> tuple[Target, dict[str, KnobValue]]:
    """The target that a case means, and its knobs as they stand; what is wrong goes to ``complaints``."""
    base = _base(spec, source, complaints, page_bytes)
    knobs, values = dict(base.knobs), {}
    for name, told in spec.knobs.items():
        path = f"target.knobs.{name}"
        knob, long = _knob(name, told, knobs.get(name.removesuffix(".live")), complaints, source)
        if not name.endswith(".live"):
            knobs[name] = knob
        values[name] = _value(knob, long)
        unread = values[name].effective is None and values[name].value is not None
        if unread and knob.unit not in WORDS:
            complaints.add(source.place(path), f"{values[name].value!r} can't be read in {knob.unit}")
    for name, knob in base.knobs.items():
        values.setdefault(name, KnobValue(source="not set"))
        if knob.live is not None:
            shown = values[name].value if values[name].value is not None else knob.default
            values.setdefault(f"{name}.live", _value(knob, {"value": shown}))
    process = (Process(pid=spec.pid, comm=base.name[:15]),) if spec.pid else ()
    target = msgspec.structs.replace(base, processes=process, knobs=knobs, facts={**base.facts, **spec.facts})
    return target, values


def _base(spec: Agent, source: Document, complaints: Complaints, page_bytes: int) -> Target:
    """By its profile, else a plain one."""
    name = spec.name or spec.profile or "agent"
    plain = Target(name=name, ref=spec.ref or f"{name}:rehearsal")
    if not spec.profile:
        return plain
    known = {one.profile: one for one in profiles.load_all()[0]}
    if spec.profile not in known:
        error = UnknownName("agent profile", spec.profile, known)
        complaints.add(source.place("target.profile"), f"{error.problem} ({error.fix})")
        return plain
    found = making.described(known[spec.profile], NoProcesses(page_bytes), f"/etc/{spec.profile}.yaml")
    return msgspec.structs.replace(found, name=name, ref=spec.ref or found.ref)


def _knob(
    name: str, told: object, known: Knob | None, complaints: Complaints, source: Document
) -> tuple[Knob, dict[str, Any]]:
    """The knob, and what is told of its value."""
    long = _long(told)
    facts = {key: value for key, value in long.items() if key in _KNOB}
    value = long.get("value")
    knob = known or Knob(name=name, backend="rehearsal", path=name, unit=_unit(value))
    if facts:
        try:
            knob = msgspec.convert({**msgspec.to_builtins(knob), **facts}, Knob)
        except msgspec.ValidationError as error:
            complaints.add(source.place(f"target.knobs.{name}"), f"no knob: {error}")
    return knob, {key: value for key, value in long.items() if key in _VALUE}


def _long(told: object) -> dict[str, Any]:
    """What is told of a knob, by key; a mapping that is its value counts as one."""
    if isinstance(told, dict) and told and told.keys() <= _VALUE | _KNOB:
        return told
    return {"value": told}


def _unit(value: object) -> str:
    """The unit that a value without a known knob seems to be in."""
    if isinstance(value, str):
        parsed = units.parse(value)
        return {"bytes": "bytes", "duration": "s"}.get(parsed[1], "text") if parsed else "text"
    return "bool" if isinstance(value, bool) else "list" if isinstance(value, list | dict) else "count"


def _value(knob: Knob, long: Mapping[str, Any]) -> KnobValue:
    value: Setting = long.get("value")
    return KnobValue(
        value=value,
        raw=long.get("raw", None if value is None else str(value)),
        effective=long.get("effective", effective(knob, value)),
        source=f"{knob.file}: {knob.path}" if knob.file else knob.path or knob.name,
        missing=str(long.get("missing", "")),
    )


def effective(knob: Knob, value: Setting) -> Setting:
    """A value of a knob in base units; words, lists and truth values as they are."""
    if value is None or knob.unit in WORDS:
        return value
    amount = in_base_units(value, knob)
    if amount is None or knob.unit in {"s", "ms", "us", "ns", "cores"}:
        return amount
    return int(amount) if float(amount).is_integer() else amount
