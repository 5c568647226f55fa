"""Leave out the one process that makes most of the events.

Only where one source stands out; with it gone the rest must be what the reader manages.
Its events are not seen any more: temporary by nature, and a human is asked first.

Touches: one list of process names (comm, 15 characters), and a reload.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Plan, Prediction, Scalar
from remediations.knob_change import KnobChange
from remediations.options import says
from remediations.planning import KnobPlanner, Question, change, nothing, plan


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    share: Annotated[float, says("share", "From which share of the events a source stands out.")] = 0.6
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
        name = asked.case.text("sources.top_comm")
        if not name:
            nothing("who makes the events is unknown: sources.top_comm was not measured")
        share, total = asked.need("sources.top_share"), asked.need("sources.total_per_s")
        if share < asked.options.share:
            nothing(
                f"no source stands out: the first, {name}, makes {share:.0%} of the events,"
                f" under {asked.options.share:.0%}"
            )
        if name in [word.strip() for word in asked.options.never.split(",")]:
            nothing(f"{name} makes {share:.0%} of the events, and must never be left out ('never')")
        left_out = _names(asked)
        if name in left_out:
            nothing(f"{name} is left out already, and still makes {share:.0%} of the events")
        rest = asked.number("sources.rest_per_s")
        rest = total * (1 - share) if rest is None else rest
        why = f"{name} makes {share:.0%} of the events ({share * total:,.0f} of {total:,.0f}/s)"
        return plan(
            self.name,
            asked,
            (change(asked, [*left_out, name], why),),
            f"leave out {name}: {why}",
            _predictions(asked, total, rest),
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


def _predictions(asked: Question[Options], total: float, rest: float) -> tuple[Prediction, ...]:
    """The flow shrinks as the sources do: by rest / total."""
    arriving = asked.number("flow.in_per_s")
    after = rest if arriving is None else arriving * rest / total if total else rest
    found = [
        Prediction(
            measure="flow.in_per_s",
            before=arriving,
            after=after,
            unit="events/s",
            at_most=True,
            arithmetic=f"{arriving or total:,.0f}/s · {rest:,.0f} / {total:,.0f} that others make",
        )
    ]
    managed = asked.number("flow.service_per_s")
    if managed:
        found.append(
            Prediction(
                measure="flow.dropped_per_s",
                before=asked.number("flow.dropped_per_s"),
                after=max(0.0, after - managed),
                unit="events/s",
                at_most=True,
                arithmetic=f"max(0, {after:,.0f} − {managed:,.0f})",
            )
        )
    return tuple(found)


def _too_much(asked: Question[Options], rest: float) -> tuple[str, ...]:
    managed = asked.number("flow.service_per_s")
    if managed and rest > managed:
        return (f"the rest is still too much: {rest:,.0f} events/s, the reader manages {managed:,.0f}/s",)
    return ()
