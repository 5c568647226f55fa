"""Give a map room for the entries that are in use.

N' = wanted / 0.6. Of a full map that counts what it refuses, ``wanted`` is reckoned: entries · (1 +
refused / used per second), an upper bound, since an entry that is used twice counts once; of a full map
that does not count it, twice what it holds; else what it holds. A leak is not cured by room: where most
entries are stale the plan is empty.

Touches: one setting, and a reload, after which the map is empty. Memory: a hash map takes 16 bytes for
each bucket (a power of two) and all its entries at once, unless made without preallocation; per-CPU maps
a value for each CPU. From kernel 5.11 it is charged to the agent's memory cgroup. While it
reloads both maps may exist.
Source: kernel/bpf/hashtab.c.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from engine.values import Plan, Prediction
from remediations.knob_change import KnobChange
from remediations.knobs.units import say_bytes
from remediations.map_knob import MapKnobPlanner, added, none_refused, table_bytes
from remediations.options import says
from remediations.planning import Question, change, nothing, plan

_FULL, _STALE = 0.99, 0.5


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float, says("count", "The most entries the map may hold.")] = 500_000
    fill: Annotated[float, says("share", "How full the new map should be.")] = 0.6
    factor: Annotated[float | None, says("factor", "The most one application multiplies it by.")] = 16.0


class Need(msgspec.Struct, frozen=True):
    """Entries: the map holds at most, wanted, planned; how the wanted ones were reckoned."""

    most: float
    wanted: float
    planned: float
    reckoned: str


class MapCapacityPlanner(MapKnobPlanner[Options]):
    """Decides on a size from the entries in use and those refused."""

    name = "map-capacity"
    summary = "Give a BPF map room for the entries in use."
    knob = "map-capacity"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """From what is wanted to a size with room to spare; refused where room would not help."""
        if (asked.number("maps.stale_share") or 0.0) >= _STALE:
            share = asked.need("maps.stale_share")
            nothing(f"{share:.0%} of the entries have owners that are gone: room would only delay the leak")
        need = _need(asked)
        after, planned = asked.fit(need.planned, "up")
        need = msgspec.structs.replace(need, planned=planned)
        if planned <= need.most:
            nothing(f"the map holds {need.most:,.0f} entries and {planned:,.0f} would do")
        memory, limit = added(
            asked,
            table_bytes(
                asked, planned, preallocated=asked.number("maps.preallocated") != 0, used=need.wanted
            ),
        )
        why = f"{need.reckoned}; {planned:,.0f} are {need.wanted / planned:.0%} full with it"
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"map {asked.case.text('maps.name')} {need.most:,.0f} → {planned:,.0f} entries: {why}",
            _predictions(asked, need),
            risk=self.risk,
            memory_bytes=memory,
            memory_limit=limit,
            warnings=_warnings(asked, need),
        )


class MapCapacity(KnobChange):
    """Remediation ``map-capacity``."""

    planner = MapCapacityPlanner()


def _need(asked: Question[Options]) -> Need:
    options, most, entries = asked.options, asked.need("maps.max_entries"), asked.need("maps.entries")
    if options.fill <= 0:
        nothing("fill is 0: give the share of the map that may be in use")
    wanted, reckoned = _wanted(asked, entries, most)
    limit = min(options.at_most, asked.bounds[1], (options.factor or math.inf) * most)
    planned = min(_two_digits(wanted / options.fill), limit)
    if planned <= most:
        nothing(
            f"the map holds {most:,.0f} entries; {wanted:,.0f} are wanted, and {limit:,.0f} are allowed"
            if wanted > most * options.fill
            else f"the map holds {most:,.0f} entries, and {wanted:,.0f} are wanted: it is large enough"
        )
    return Need(most, wanted, planned, reckoned)


def _wanted(asked: Question[Options], entries: float, most: float) -> tuple[float, str]:
    refused, used = asked.number("maps.refused_per_s"), asked.number("maps.used_per_s")
    if refused and used:
        wanted = entries * (1 + refused / used)
        return wanted, (
            f"at most {wanted:,.0f} entries are wanted: {entries:,.0f} ·"
            f" (1 + {refused:,.0f} refused / {used:,.0f} used a second)"
        )
    if refused or (refused is None and entries >= _FULL * most):
        return 2 * entries, f"it is full, and how many more are wanted is unknown: twice {entries:,.0f}"
    return entries, f"{entries:,.0f} entries are in use"


def _two_digits(entries: float) -> float:
    """Up to two digits, as people write sizes."""
    step = 10 ** max(0, math.floor(math.log10(max(entries, 1))) - 1)
    return float(math.ceil(entries / step - 1e-9) * step)


def _predictions(asked: Question[Options], need: Need) -> tuple[Prediction, ...]:
    left = min(need.wanted, need.planned)
    return (
        Prediction(
            measure="maps.fill_share",
            before=asked.number("maps.fill_share"),
            after=left / need.planned,
            unit="share",
            at_most=True,
            arithmetic=f"{left:,.0f} / {need.planned:,.0f}; after the reload it fills anew",
        ),
        Prediction(
            measure="maps.entries",
            before=asked.number("maps.entries"),
            after=left,
            unit="entries",
            at_most=True,
            arithmetic=need.reckoned,
        ),
        *(none_refused(asked, "all that is wanted fits") if left < need.planned else ()),
    )


def _warnings(asked: Question[Options], need: Need) -> tuple[str, ...]:
    said = []
    new = asked.number("maps.distinct_growth") or 0.0
    if new >= 1 and (asked.number("maps.used_share") or 0.0) < _STALE:
        said.append(f"{new:,.0f} keys/s were never seen before: a larger map only lasts longer")
    if need.wanted > need.planned:
        said.append(f"{need.planned:,.0f} entries are the most allowed, and fewer than are wanted")
    if asked.number("maps.per_cpu"):
        size = say_bytes(asked.number("maps.entry_bytes") or 0.0)
        said.append(f"each entry takes a value for each of {asked.case.host.possible_cpus} CPUs: {size}")
    return tuple(said)
