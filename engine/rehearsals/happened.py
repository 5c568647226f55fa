"""What happened in a run, as a rehearsal asks about it: steps, plans and how they ended, sentences.

Reads the record alone, so that a past run can be asked as well.

Not here: what was expected (``engine.rehearsals.expectations``).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engine import record
from engine.record import Event, Run
from engine.rehearsals.steps import own_id
from engine.values import Plan


class Turn(NamedTuple):
    """One plan, and what became of it (a word of ``model.Ends``)."""

    step: str
    plan: Plan
    ends: str


def until_its_end(run: Run) -> Run:
    """The run as it ended, without what was done to its changes afterwards (an undo, a lease's end)."""
    ends = [place for place, event in enumerate(run.events) if isinstance(event, record.Ended)]
    if not ends:
        return run
    moment = run.events[ends[-1]].at
    called = tuple(_until(moment, one) for one in run.called)
    return msgspec.structs.replace(run, events=run.events[: ends[-1] + 1], called=called)


def _until(moment: float, run: Run) -> Run:
    """A called run as it was when its caller ended."""
    events = tuple(event for event in run.events if event.at <= moment)
    called = tuple(_until(moment, one) for one in run.called)
    return msgspec.structs.replace(run, events=events, called=called)


def taken(run: Run) -> set[str]:
    """Ids of the steps that were begun."""
    return {own_id(event.step) for event in run.events if isinstance(event, record.StepStarted)}


def skipped(run: Run) -> dict[str, str]:
    """Ids of the steps that were passed over → why, the last time."""
    return {
        own_id(event.step): event.because for event in run.events if isinstance(event, record.StepSkipped)
    }


def causes(run: Run) -> tuple[str, ...] | None:
    """The causes of the first verdict, ranked; None when nothing was decided.

    Later ones are of what a change has left over.
    """
    verdict = next((event.verdict for event in run.events if isinstance(event, record.Decided)), None)
    return None if verdict is None else tuple(cause.name for cause in verdict.causes)


def sentences(run: Run) -> list[str]:
    """Everything that was told to people, in order."""
    return [event.sentence for event in run.events if isinstance(event, record.Told)]


def calls(run: Run) -> list[tuple[str, str]]:
    """Runbooks that were called, in order, and how each ended."""
    return [(event.runbook, event.outcome) for event in run.events if isinstance(event, record.Returned)]


def misses(run: Run) -> dict[str, str]:
    """Probes that could not look → why."""
    return {event.probe: event.problem for event in run.events if isinstance(event, record.ProbeMissed)}


def turns(run: Run) -> list[Turn]:
    """Every plan with what became of it, in order."""
    places = [place for place, event in enumerate(run.events) if isinstance(event, record.Planned)]
    found = []
    for start, end in zip(places, [*places[1:], len(run.events)], strict=False):
        planned = run.events[start]
        assert isinstance(planned, record.Planned)  # noqa: S101 - chosen above
        following = run.events[start + 1 : end]
        found.append(Turn(own_id(planned.step), planned.plan, _ends(planned.plan, following)))
    return found


def _ends(plan: Plan, events: tuple[Event, ...]) -> str:
    """What became of a plan, from what was recorded until the next one."""
    if not plan.changes:
        return "blocked" if plan.blocked else "nothing"
    if any(isinstance(event, record.Would) for event in events):
        return "would"
    settled = [event for event in events if isinstance(event, record.Settled)]
    if settled:
        applied = {event.attempt for event in events if isinstance(event, record.Applied)}
        last = settled[-1]
        put_back = last.state in {"undone", "not-made"}
        return "failed" if put_back and not applied else "undone" if put_back else last.state
    for event in events:
        if isinstance(event, record.Judged) and event.answer == "deny":
            return "refused"
        if isinstance(event, record.Judged) and event.answer == "ask" and not event.by:
            return "waiting"
    return "failed"
