"""Give a growing agent the memory that lasts until people are there; or fence a leak in.

Raise: L' = used + 1.5 · growth · horizon. Only where all of that is there: of the
host, and of every group up the tree that has a limit. A raise that would not last the horizon
is none. Contain (option ``contain``): a limit where there is none, so that a leak ends the agent
and not its neighbours.

Touches: the limit of the agent's cgroup, or ``MemoryMax`` of its systemd service; in force at once,
without a restart. It cures no leak. Undo is refused where the former limit would kill the agent by now.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "memory.max"; systemd.resource-control(5).
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from engine.values import Knob, KnobValue, Plan, Prediction, Target
from remediations import load_proof
from remediations.knob_change import KnobChange
from remediations.knobs.backend import where
from remediations.knobs.memory_groups import own_group, room_around, top_of
from remediations.knobs.systemd_memory import place
from remediations.knobs.units import say_bytes
from remediations.memory_needs import growth_of, lasting, say_long, until_full
from remediations.options import says
from remediations.planning import KnobPlanner, Question, blocked, change, nothing, plan

#: ``read`` gives these beside the knob: what is used, and what is left around.
USED, ROOM = "memory-limit.used", "memory-limit.room"
_MIB = 1 << 20
#: On top of what the growth asks for: it follows the load, which is more at another time of the day.
_SPARE = 1.5
#: An agent that was killed for want of memory gets at least so many times its limit.
_AFTER_A_KILL = 1.5
#: A fence stands at so many times what is in use, and never nearer than this.
_FENCE, _NEAR = 1.5, 1.1


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    horizon: Annotated[float, says("s", "How long the new limit must last at the present growth.")] = 86_400.0
    at_most: Annotated[
        float | None, says("bytes", "The highest limit; by default what there is room for.")
    ] = None
    reserve: Annotated[float, says("share", "Share of what is left around it that it must not take.")] = 0.25
    contain: Annotated[
        bool, says("yes or no", "Set a limit where there is none: a leak then ends the agent alone.")
    ] = False


class MemoryLimitPlanner(KnobPlanner[Options]):
    """Decides on a limit from use, growth and the room around."""

    name = "memory-limit"
    summary = "Raise the memory limit of a growing agent where there is room, or set one to contain it."
    knob = "memory-limit"
    risk = "medium"
    kind = Options

    def find(self, target: Target) -> Knob | None:
        """As its profile says; else its systemd service, else its cgroup."""
        named = target.knobs.get(self.knob)
        unit = load_proof.unit_of(target)
        if named is not None and not (named.backend == "cgroup-memory" and unit and not named.path):
            return named
        if unit:
            file = str(place(unit))
            return Knob(name=self.knob, backend="systemd-memory", file=file, path=unit, unit="bytes")
        return named or Knob(name=self.knob, backend="cgroup-memory", unit="bytes")

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The limit, what is used, and what is left around the group."""
        values = super().read(target)
        group = own_group(target)
        if group is None:
            return values
        try:
            used, room = group.used, room_around(group, top_of(group))
        except (OSError, ValueError):
            return values
        promised = (
            f"; its neighbours may still take {say_bytes(room.promised)} of it" if room.promised else ""
        )
        return {
            **values,
            USED: KnobValue(value=used, effective=used, source=str(group.directory)),
            ROOM: KnobValue(value=room.bytes, effective=room.bytes, source=f"{room.where}{promised}"),
        }

    def decide(self, asked: Question[Options]) -> Plan:
        """Raise what is too small, or fence in what has no limit."""
        _not_a_pod(asked)
        limit, used, room = asked.now.value, _bytes(asked, USED), _bytes(asked, ROOM)
        if limit is None:
            return _contain(self.name, asked, used, room)
        if asked.options.contain:
            nothing(f"it is contained already: its limit is {say_bytes(float(str(limit)))}")
        return _raise(self.name, asked, float(str(limit)), used, room)


class MemoryLimit(KnobChange):
    """Remediation ``memory-limit``."""

    planner = MemoryLimitPlanner()


def _raise(name: str, asked: Question[Options], limit: float, used: float, room: float) -> Plan:
    growth, horizon = growth_of(asked), asked.options.horizon
    killed = asked.number("memory.oom_kills_in_window") or asked.number("unit.oom_killed")
    wanted = used + min(growth * horizon, until_full(asked)) * _SPARE
    if killed:
        wanted = max(wanted, _AFTER_A_KILL * limit)
    if wanted <= limit:
        nothing(_enough(asked, limit, used, growth))
    most = _most(asked, used, room)
    after = _whole(wanted, asked)
    if after > most:
        nothing(
            f"a limit of {say_bytes(after)} would be needed to last {say_long(horizon)} at"
            f" {say_bytes(growth)}/s; there is room for {say_bytes(most)} ({_source(asked)}), which would"
            f" last {lasting(most - used, growth)}"
        )
    why = (
        f"{say_bytes(used)} are in use and grow by {say_bytes(growth)}/s: {say_bytes(limit)} last"
        f" {lasting(limit - used, growth)}, {say_bytes(after)} last {lasting(after - used, growth)}"
    )
    title = f"limit {say_bytes(limit)} → {say_bytes(after)}: {why}"
    return _plan(name, asked, after, title, why, _lasts(asked, after, used, growth), (
        "it cures no leak: it buys the time to mend it",
        f"the agent may take {say_bytes(after - limit)} more of {_source(asked)}",
        *_shared(asked),
    ))  # fmt: skip


def _enough(asked: Question[Options], limit: float, used: float, growth: float) -> str:
    """Why the limit is high enough: for the horizon, or for the one map that grows."""
    to_come, horizon = until_full(asked), asked.options.horizon
    if growth * horizon <= to_come:
        lasts = lasting(limit - used, growth)
        return f"the limit of {say_bytes(limit)} lasts {lasts}, and {say_long(horizon)} are asked for"
    return (
        f"its map {asked.case.text('maps.name')} takes {say_bytes(to_come)} more until it is full, and"
        f" {say_bytes(limit - used)} are left of the limit"
    )


def _contain(name: str, asked: Question[Options], used: float, room: float) -> Plan:
    if not asked.options.contain:
        nothing("it has no memory limit of its own: there is none to raise (contain: true sets one)")
    others = asked.number("memory.cgroup_others")
    if others:
        nothing(f"{others:,.0f} other processes are in its cgroup: a fence around it would end them as well")
    most = _most(asked, used, room)
    after = min(_whole(max(_FENCE * used, used + 64 * _MIB), asked), math.floor(most / _MIB) * _MIB)
    if after < _NEAR * used:
        nothing(
            f"{say_bytes(used)} are in use and there is room for {say_bytes(most)}: a fence there would"
            " end it at once"
        )
    growth = growth_of(asked, needed=False)
    why = (
        f"{say_bytes(used)} are in use and nothing bounds them: at {say_bytes(after)} the kernel ends this"
        f" agent, and none of its neighbours"
    )
    title = f"no limit → {say_bytes(after)}: {why}"
    return _plan(name, asked, after, title, why, _lasts(asked, after, used, growth), (
        f"the kernel kills the agent when it reaches {say_bytes(after)}"
        + (f", in {lasting(after - used, growth)} at its present growth" if growth else ""),
    ))  # fmt: skip


def _plan(  # noqa: PLR0913, PLR0917 - a plan's parts
    name: str,
    asked: Question[Options],
    after: float,
    title: str,
    why: str,
    predictions: tuple[Prediction, ...],
    warnings: tuple[str, ...],
) -> Plan:
    made = change(asked, int(after), why)
    made = msgspec.structs.replace(made, where=asked.now.source or made.where)
    planned = plan(
        name,
        asked,
        (made,),
        title,
        predictions,
        risk="medium",
        memory_limit=_source(asked),
        warnings=warnings,
    )
    return msgspec.structs.replace(planned, undo_by_hand=_by_hand(asked))


def _by_hand(asked: Question[Options]) -> str:
    limit = asked.now.value
    if asked.knob.backend == "systemd-memory":
        word = "infinity" if limit is None else limit
        return f"systemctl set-property {asked.knob.path} MemoryMax={word}"
    file = asked.now.source or where(asked.knob)
    none = "max" if file.endswith("memory.max") else -1
    return f"echo {none if limit is None else limit} > {file}"


def _lasts(asked: Question[Options], after: float, used: float, growth: float) -> tuple[Prediction, ...]:
    """How long the limit will last, and what will be left below it."""
    left = Prediction(
        measure="memory.left_bytes",
        before=asked.number("memory.left_bytes"),
        after=after - used,
        unit="bytes",
        arithmetic=f"{say_bytes(after)} − {say_bytes(used)} in use",
    )
    if growth <= 0:
        return (left,)
    lasts = Prediction(
        measure="memory.limit_in_s",
        before=asked.number("memory.limit_in_s"),
        after=(after - used) / growth,
        unit="s",
        arithmetic=f"({say_bytes(after)} − {say_bytes(used)}) / {say_bytes(growth)}/s",
    )
    return (lasts, left)


def _most(asked: Question[Options], used: float, room: float) -> float:
    """The highest limit: what the room allows, the operator and the knob."""
    reserved = used + room * (1 - asked.options.reserve)
    return min(reserved, asked.options.at_most or math.inf, asked.bounds[1])


def _whole(amount: float, asked: Question[Options]) -> float:
    """Up to a whole MiB: no page size is in the way, and people can read it."""
    return max(math.ceil(amount / _MIB) * _MIB, asked.bounds[0])


def _bytes(asked: Question[Options], name: str) -> float:
    value = asked.case.knobs.get(name)
    if value is None or not isinstance(value.value, int):
        blocked("what its memory cgroup uses, and what is left around it, could not be read")
    return float(value.value)


def _shared(asked: Question[Options]) -> tuple[str, ...]:
    others = asked.number("memory.cgroup_others")
    return (f"{others:,.0f} other processes share its cgroup and this limit",) if others else ()


def _source(asked: Question[Any]) -> str:
    return asked.case.knobs[ROOM].source


def _not_a_pod(asked: Question[Options]) -> None:
    cgroup = asked.case.target.processes[0].cgroup if asked.case.target.processes else ""
    if "kubepods" in cgroup:
        nothing(
            "it runs in a pod, whose limits the kubelet sets: change resources.limits.memory of its workload"
        )
