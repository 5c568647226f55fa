"""Make a map let go of its oldest entries when it is full: hash → lru_hash.

Right where most entries are no longer needed (a leak, ever new keys). Where all are in use it is
refused: the map would throw out what is needed.

What LRU means is said with the plan: "full" is then its normal state and no entry is refused; the kernel
only approximates which entry is oldest; and it evicts before the map is full, since each CPU
keeps up to 128 free entries by itself. An LRU map is always preallocated.

Touches: one setting, and a reload, after which the map is empty.
Source: kernel/bpf/bpf_lru_list.c (LOCAL_FREE_TARGET); Linux Documentation/bpf/map_hash.rst.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Plan, Prediction
from remediations.knob_change import KnobChange
from remediations.map_knob import MapKnobPlanner, added, none_refused, table_bytes
from remediations.options import says
from remediations.planning import Question, change, nothing, plan

_LRU = {"hash": "lru_hash", "percpu_hash": "lru_percpu_hash"}
_FREE_PER_CPU = 128
_IN_USE, _STALE = 0.5, 0.5


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    to: Annotated[str, says("text", "The kind to set; empty: the LRU form of what it is.")] = ""


class MapKindPlanner(MapKnobPlanner[Options]):
    """Decides whether the map may evict, and says what that means."""

    name = "map-kind"
    summary = "Let a full BPF map evict its oldest entries (LRU) instead of refusing new ones."
    knob = "map-kind"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """The LRU form of the map's kind, where old entries are not needed."""
        kind, name = asked.case.text("maps.type") or "", asked.case.text("maps.name")
        to = asked.options.to or _LRU.get(kind, "")
        if kind.startswith("lru_") or asked.current == to:
            nothing(f"{name} is {kind or asked.current} already")
        if not to:
            nothing(f"a map of kind {kind} has no LRU form")
        if asked.knob.choices and to not in asked.knob.choices:
            nothing(f"{to!r} is not one of {', '.join(asked.knob.choices)}")
        _refuse_use(asked)
        most, entries = asked.need("maps.max_entries"), asked.need("maps.entries")
        memory, limit = added(asked, table_bytes(asked, most, preallocated=True, used=most))
        why = f"{_idle(asked)}; full, it makes room by dropping the oldest instead of refusing what is new"
        return plan(
            self.name,
            asked,
            (change(asked, to, why),),
            f"map {name} {kind} → {to}: {why}",
            (
                Prediction(
                    measure="maps.pressure",
                    before=asked.number("maps.pressure"),
                    after=0.0,
                    unit="share",
                    at_most=True,
                    arithmetic="a map that evicts refuses nothing, however full",
                ),
                Prediction(
                    measure="maps.entries",
                    before=entries,
                    after=most,
                    unit="entries",
                    at_most=True,
                    arithmetic=f"it holds {most:,.0f}, and fills anew after the reload",
                ),
                *none_refused(asked, "an LRU map evicts"),
            ),
            risk=self.risk,
            memory_bytes=memory,
            memory_limit=limit,
            warnings=_warnings(asked, most),
        )


class MapKind(KnobChange):
    """Remediation ``map-kind``."""

    planner = MapKindPlanner()


def _refuse_use(asked: Question[Options]) -> None:
    """Not where living owners need all of it."""
    used, stale = asked.number("maps.used_share"), asked.number("maps.stale_share") or 0.0
    if used is not None and used >= _IN_USE and stale < _STALE:
        nothing(
            f"{used:.0%} of the entries are in use: an LRU map would throw out what is needed; make it larger"
        )


def _idle(asked: Question[Options]) -> str:
    """Why old entries may go."""
    stale, used = asked.number("maps.stale_share"), asked.number("maps.used_share")
    if stale:
        return f"{stale:.0%} of the entries have owners that are gone"
    if used is not None:
        return (
            f"only {used:.0%} of the entries were used again"
            if used >= 0.005
            else f"{'hardly any' if used else 'none'} of the entries was used again"
        )
    return "whether its entries are needed again is unknown"


def _warnings(asked: Question[Options], most: float) -> tuple[str, ...]:
    cpus = asked.case.host.possible_cpus
    early = min(most, _FREE_PER_CPU * cpus)
    said = [
        "what it evicts is lost to the agent, entries of living owners too: the kernel picks only about"
        " the oldest",
        f"it evicts up to {early:,.0f} entries before it is full ({_FREE_PER_CPU} for each of {cpus} CPUs)",
    ]
    if early >= most / 4:
        said.append(f"of {most:,.0f} entries that is much: make the map larger too")
    new, used = asked.number("maps.distinct_growth") or 0.0, asked.number("maps.used_share") or 0.0
    if new:
        said.append(f"at {new:,.0f} new keys/s an entry lives for {most / new:.3g} s at most")
    if used and used >= 0.05:
        said.append(f"{used:.0%} of the entries were in use in the window: some of them will be evicted")
    if asked.number("maps.preallocated") == 0:
        said.append("an LRU map takes its memory for all entries at once; this one took it as it filled")
    return tuple(said)
