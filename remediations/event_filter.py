"""Leave out the one process that makes most of the events.

Only where one source stands out; with it gone the rest must be what the reader manages.
Its events are not seen any more: temporary by nature, and a human is asked first.

After a verdict about CPU it predicts what the agent and its programs will use for the others' events.

Touches: one list of process names (comm, 15 characters), and a reload.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Plan, Prediction, Scalar
from remediations import cpu_price
from remediations.knob_change import KnobChange
from remediations.options import says
from remediations.planning import KnobPlanner, Question, change, nothing, plan

#: Two rates that differ by less than this factor count as one: they are measured apart.
ALIKE = 1.2


class Source(msgspec.Struct, frozen=True):
    """A process name, the events a second that it makes, and all that reach the agent."""

    comm: str
    per_s: float
    arriving: float


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    share: Annotated[float, says("share", "From which share of the events a source stands out.")] = 0.6
    comm: Annotated[str, says("text", "The process to leave out; empty: the one that makes most events.")] = (
        ""
    )
    never: Annotated[str, says("text", "Process names never to leave out, separated by commas.")] = ""


class EventFilterPlanner(KnobPlanner[Options]):
    """Decides whether one source may be left out."""

    name = "event-filter"
    summary = "Leave out the one process that makes most of the events."
    knob = "event-filter"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """Add the top process's name to the list of those left out."""
        source = _source(asked)
        name, share = source.comm, source.per_s / source.arriving
        if share < asked.options.share:
            nothing(
                f"no source stands out: {name} makes {share:.0%} of the events,"
                f" and it takes {asked.options.share:.0%}"
            )
        if name in [word.strip() for word in asked.options.never.split(",")]:
            nothing(f"{name} makes {share:.0%} of the events, and must never be left out ('never')")
        left_out = _names(asked)
        if name in left_out:
            nothing(f"{name} is left out already, and still makes {share:.0%} of the events")
        rest = source.arriving - source.per_s
        why = f"{name} makes {share:.0%} of the events ({source.per_s:,.0f} of {source.arriving:,.0f}/s)"
        return plan(
            self.name,
            asked,
            (change(asked, [*left_out, name], why),),
            f"leave out {name}: {why}",
            _predictions(asked, source, rest),
            risk="medium",
            temporary=True,
            warnings=(
                f"hides every event of processes named {name}, wanted ones too",
                *_too_much(asked, rest),
            ),
        )


class EventFilter(KnobChange):
    """Remediation ``event-filter``."""

    planner = EventFilterPlanner()
    temporary = True


def _names(asked: Question[Options]) -> list[Scalar]:
    current = asked.current
    if current is None:
        return []
    if not isinstance(current, list):
        nothing(f"the list of names left out is not a list: {current!r}")
    return current


def _source(asked: Question[Options]) -> Source:
    """The process to leave out: the one that is named, else the one that makes most of the events.

    Records in the ring tell whose events arrive. Else sources are counted before the agent's own
    filters: where far more passes there than reaches the agent, which of them reach it can't be told,
    and hiding one would be a guess.
    """
    arriving, in_ring = asked.need("flow.in_per_s"), asked.number("sources.ring_share")
    if in_ring is not None and not asked.options.comm:
        return Source(asked.case.text("sources.ring_comm") or "", in_ring * arriving, arriving)
    passing = asked.need("sources.total_per_s")
    rows = asked.case.evidence["sources"].tables.get("processes", ())
    made = [(str(row["comm"]), float(rate)) for row in rows if isinstance(rate := row["per_s"], (int, float))]
    made = made or [(asked.case.text("sources.top_comm") or "", asked.need("sources.top_per_s"))]
    if not arriving or not passing:
        nothing("no events arrive")
    if asked.options.comm:
        made = [one for one in made if one[0] == asked.options.comm]
        if not made:
            nothing(f"{asked.options.comm} is not among the processes that make events")
    elif passing > ALIKE * arriving:
        nothing(
            f"{passing:,.0f} events/s pass the agent and {arriving:,.0f} reach it: it filters already, so who"
            " makes those can't be told; name the process ('comm') to leave it out"
        )
    comm, rate = max(made, key=lambda one: one[1])
    return Source(comm, min(arriving, rate * max(1.0, arriving / passing)), arriving)


def _predictions(asked: Question[Options], source: Source, rest: float) -> tuple[Prediction, ...]:
    """The flow falls to what the others make."""
    found = [
        Prediction(
            measure="flow.in_per_s",
            before=source.arriving,
            after=rest,
            unit="events/s",
            at_most=True,
            arithmetic=f"{source.arriving:,.0f} − {source.per_s:,.0f}",
        )
    ]
    if cpu_price.asked_for(asked):
        found += _cheaper(asked, rest)
    managed = asked.number("flow.service_per_s")
    if managed:
        found.append(
            Prediction(
                measure="flow.dropped_per_s",
                before=asked.number("flow.dropped_per_s"),
                after=max(0.0, rest - managed),
                unit="events/s",
                at_most=True,
                arithmetic=f"max(0, {rest:,.0f} − {managed:,.0f})",
            )
        )
    return tuple(found)


def _cheaper(asked: Question[Options], rest: float) -> list[Prediction]:
    """CPU at the rate of the others."""
    seen = cpu_price.spent(asked)
    kept = rest / seen.events if seen.events else 1.0
    return cpu_price.fewer_events(seen, kept)


def _too_much(asked: Question[Options], rest: float) -> tuple[str, ...]:
    managed = asked.number("flow.service_per_s")
    if managed and rest > managed:
        return (f"the rest is still too much: {rest:,.0f} events/s, the reader manages {managed:,.0f}/s",)
    return ()
