"""A small agent that loses events while its ring is too small, and a runbook that mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from engine.journal import Journal
from engine.language.model import Change, Decide, Goal, Look, Runbook, Step, Tell, Try
from engine.record import Event, Run
from engine.testing import FakeDiagnosis, FakeProbe, FakeRemediation, FakeTarget
from engine.values import Cause, Prediction, Verdict

E = TypeVar("E")

GOAL = Goal(probes=("event-flow",), until="flow.dropped_per_s == 0", hold=20.0)
VERDICT = Verdict(
    diagnosis="loss",
    sentence="bursts do not fit",
    causes=(Cause(name="burst", sentence="Bursts are larger than the ring", confidence=0.9),),
)
LOOK = Look(id="look", probes=("event-flow",))
DECIDE = Decide(id="decide", diagnosis="loss")


def agent(**settings: Any) -> FakeTarget:
    return FakeTarget(settings={"ring": 1, "poll": 10, **settings})


def flow(of: FakeTarget, lost: Callable[[], float | None] | None = None) -> FakeProbe:
    """Loses 100/s for each step of the ring below four, unless told otherwise."""
    return FakeProbe(
        sees=lambda: {"dropped_per_s": lost() if lost else max(0, 100 * (4 - of.settings["ring"]))}
    )  # type: ignore[operator]


def ring(of: FakeTarget, to: int = 4, **further: Any) -> FakeRemediation:
    predicts = (Prediction(measure="flow.dropped_per_s", before=300.0, after=0.0, at_most=True),)
    return FakeRemediation(of, "ring", to, predicts=predicts, **further)


def poll(of: FakeTarget, **further: Any) -> FakeRemediation:
    return FakeRemediation(of, "poll", 5, **further)


def ladder(*rungs: str, stop: Any = "goal", **further: Any) -> Try:
    return Try(
        id="try",
        stop=stop,
        rungs=tuple(Change(id=f"try.{name}", remediation=name, **further) for name in rungs),
    )


def runbook(*steps: Step, goal: Goal | None = GOAL) -> Runbook:
    return Runbook(runbook="events-lost", goal=goal, steps=steps)


TELL = Tell(id="tell", sentence="{{ outcome.sentence }}", when='outcome.name != "healthy"')


def standard(*rungs: str, **further: Any) -> Runbook:
    return runbook(LOOK, DECIDE, ladder(*(rungs or ("ring",)), **further), TELL)


def parts(of: FakeTarget) -> list[object]:
    return [flow(of), FakeDiagnosis(VERDICT), ring(of), poll(of)]


def of_type(run: Run, kind: type[E]) -> list[E]:
    return [event for event in run.events if isinstance(event, kind)]


def kinds(events: tuple[Event, ...]) -> list[str]:
    return [type(event).__name__ for event in events]


def states(journal: Journal) -> list[str]:
    return [one.state for one in journal.attempts()]
