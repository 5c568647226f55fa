"""A run as the worker sends it, read back; and what it waits for.

Not here: how it is told (``engine.reports.story``), how it is shown (``templates/run.html.j2``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from engine import record, text
from engine.pending import digest, open_question, open_request
from engine.reports import timeline
from engine.reports.story import Story, tell
from engine.server import messages as m
from engine.values import Decision, Plan, Scalar

_event = msgspec.json.Decoder(record.Event)
#: How the state of a run on the page is told to those who know the journal's states only.
_STATES = {"queued": "running", "running": "running", "interrupted": "interrupted"}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A change that a run waits with.

    Attributes:
        run: The run that holds it: the one that is shown, or one that it called.
        again: Why an earlier yes to the same change did not count.
    """

    run: str
    asked: record.Requested
    plan: Plan
    decisions: tuple[Decision, ...] = ()
    again: str = ""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question of the runbook itself that a run waits with; ``digest``: what an answer is bound to."""

    run: str
    asked: record.Asked
    digest: str


def read(found: m.RunFound) -> record.Run:
    """The run. Events of a kind that is not known here are left out. Cost: 10 ms a megabyte."""
    events: list[record.Event] = []
    for raw in found.events:
        with suppress(msgspec.ValidationError):
            events.append(_event.decode(raw))
    state = _STATES.get(found.state, "ended")
    called = tuple(read(one) for one in found.called)
    return record.Run(head=found.head, events=tuple(events), state=state, called=called)  # type: ignore[arg-type]


def waits_with(run: record.Run) -> Request | Question | None:
    """What somebody must answer before this run, or one that it called, goes on."""
    if (waiting := open_request(run)) is not None:
        asked, plan = waiting.requested, waiting.planned.plan
        return Request(
            run=waiting.run.head.id,
            asked=asked,
            plan=plan,
            decisions=_decisions(waiting.run, asked.step),
            again=_void(waiting.run, asked),
        )
    found = open_question(run)
    return None if found is None else Question(run=found[0].head.id, asked=found[1], digest=digest(*found))


def _decisions(run: record.Run, step: str) -> tuple[Decision, ...]:
    """What the guards said of a step last."""
    said = [one for one in run.events if isinstance(one, record.Judged) and one.step == step]
    return said[-1].decisions if said else ()


def _void(run: record.Run, asked: record.Requested) -> str:
    """Why an earlier yes to a change of the same step did not count."""
    ruled = [one for one in run.events if isinstance(one, record.Ruled) and one.step == asked.step]
    return ruled[-1].because if ruled and ruled[-1].answer == "void" else ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does now. ``seconds``: how long it takes, where that is known."""

    id: str
    title: str
    action: str
    at: float
    seconds: float | None


def step_now(run: record.Run) -> Step | None:
    """The step under way; None before the first."""
    last = next((one for one in reversed(run.events) if isinstance(one, record.StepStarted)), None)
    inner = [found for one in run.called if one.head.outcome is None and (found := step_now(one))]
    if inner:
        return inner[-1]
    if last is None:
        return None
    title, action = timeline.at_work(last)
    return Step(id=last.step, title=title, action=action, at=last.at, seconds=last.seconds)


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """The goal, measured first and last."""

    condition: str
    means: str
    name: str
    first: str
    last: str
    holds: bool | None
    held_s: float
    hold_s: float


def goal(story: Story) -> Goal | None:
    """What the goal is about: its first value, or the sum that it asks for."""
    measured = [one for one in story.goals if one.values]
    if not measured:
        return None
    first, last = measured[0], measured[-1]
    names = [name for name in first.values if not name.startswith("inputs.")] or list(first.values)
    unit = text.unit_of(names[0])
    added = [one for one in names if text.unit_of(one) == unit] if "+" in first.condition else names[:1]
    figures = [_sum([one.values.get(name) for name in added]) for one in (first, last)]
    return Goal(
        condition=last.condition,
        means=last.means,
        name=names[0],
        first=text.measure(figures[0], unit),
        last=text.measure(figures[1], unit),
        holds=story.goals[-1].holds,
        held_s=story.goals[-1].held_s,
        hold_s=story.goals[-1].hold_s,
    )


def _sum(values: Sequence[Scalar]) -> Scalar:
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) if len(values) > 1 and numbers else values[0]


def lines(run: record.Run) -> Iterator[tuple[record.Event, timeline.Line]]:
    """The events that are worth a line, in order."""
    for event in timeline.events(run):
        told = timeline.line(event)
        if told is not None:
            yield event, told


def story_of(found: m.RunFound) -> Story:
    """The run, sorted as people ask about it."""
    return tell(read(found))
