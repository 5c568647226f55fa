"""Which ways through a runbook its rehearsals went, and which none of them did.

A branch is a way that the document itself forks: the goal that holds at once or not, a ``when``,
a change that is made or held back, a ``check``, a case of an inline ``decide``, a way to the end.
What happens inside a part (a diagnosis, a plan) is the part's own tests' to cover.

Not here: running (``engine.rehearsals.suite``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from engine import record
from engine.language.loader import LoadedRunbook
from engine.language.model import (
    Ask,
    Change,
    Check,
    Decide,
    Each,
    Look,
    Runbook,
    Stop,
    Tell,
    Wait,
)
from engine.language.model import Run as RunStep
from engine.record import Run
from engine.rehearsals import happened
from engine.rehearsals.steps import Placed, own_id, placed

#: Step id ("goal", or "end" for the end of the steps), and which way.
Key = tuple[str, str]
#: Steps after which the goal is as it was measured before them.
_LEAVES_AS_IS = (Look, Check, Decide, Tell, Stop, Ask, Each)
#: Outcomes that are said of steps that were gone through to their end.
_GOOD = {"healthy", "fixed", "mitigated"}


class Branch(msgspec.Struct, frozen=True):
    """One way, with its place in the runbook's file."""

    where: str
    what: str
    reached: bool


class Coverage(msgspec.Struct, frozen=True):
    """How much of a runbook its cases have gone through."""

    runbook: str
    file: str
    branches: tuple[Branch, ...]

    @property
    def reached(self) -> int:
        """Number of branches that some case went."""
        return sum(branch.reached for branch in self.branches)

    @property
    def percent(self) -> float:
        """Share of them, 0 to 100."""
        return 100.0 * self.reached / len(self.branches) if self.branches else 100.0


def coverage(loaded: LoadedRunbook, runs: Iterable[Run]) -> Coverage:
    """Which branches of a runbook these runs of it went."""
    gone: set[Key] = set()
    for run in runs:
        gone |= set(_gone(loaded.document, run))
    branches = tuple(
        Branch(loaded.where(path), what, key in gone) for key, path, what in _branches(loaded.document)
    )
    return Coverage(loaded.document.runbook, loaded.source.file, branches)


# ── what there is ───────────────────────────────────────────────────────────────


def _branches(runbook: Runbook) -> Iterator[tuple[Key, str, str]]:
    """Key, place and words of every branch."""
    if runbook.goal is not None:
        yield ("goal", "holds"), "goal.until", "the goal holds at once"
        yield ("goal", "fails"), "goal.until", "the goal does not hold at first"
    for one in placed(runbook):
        for way, path in _ways(one):
            yield (one.step.id, way), path, f"step {one.title}: {way}"
    last = runbook.steps[-1] if runbook.steps else None
    if isinstance(last, Stop) and not last.when:
        return
    if runbook.goal is None:
        yield ("end", "reached"), "steps", "the end of the steps"
        return
    if any(not isinstance(one.step, _LEAVES_AS_IS) for one in placed(runbook)):
        yield ("end", "holds"), "goal", "the end of the steps, with the goal reached"
    yield ("end", "fails"), "goal", "the end of the steps, with the goal not reached"


def _ways(one: Placed) -> Iterator[tuple[str, str]]:
    """The ways of one step, each with the place that decides."""
    step, path = one
    yield from ((way, path) for way in _own_ways(step))
    if step.when:
        yield "skipped", f"{path}.when"
    if step.on_failure != "stop":
        yield "fails, and the run goes on", f"{path}.on_failure"
    for place, case in enumerate(getattr(step, "cases", ())):
        yield f"names {case.cause}", f"{path}.cases[{place}]"


def _own_ways(step: Any) -> tuple[str, ...]:  # noqa: ANN401 - any step
    if isinstance(step, Change) or (isinstance(step, RunStep) and not step.reads):
        return "made", "held back"
    if isinstance(step, Ask):
        return "answered", "not answered in time"
    if isinstance(step, Each):
        return "with items", "without items"
    if isinstance(step, Check):
        return "holds", "does not hold"
    if isinstance(step, Wait) and step.until:
        return "in time", "in vain"
    return "taken", *(("by a fallback",) if isinstance(step, Look) and step.fallback else ())


# ── what was gone ───────────────────────────────────────────────────────────────


def _gone(runbook: Runbook, run: Run) -> Iterator[Key]:
    """The branches that one run went."""
    taken, skipped = happened.taken(run), happened.skipped(run)
    yield from ((step, "taken") for step in taken)
    yield from ((step, "skipped") for step in skipped)
    for turn in happened.turns(run):
        if turn.ends in {"refused", "waiting"}:
            yield turn.step, "held back"
        elif turn.plan.changes:
            yield turn.step, "made"
    for event in run.events:
        yield from _of(event)
    first = next((event for event in run.events if isinstance(event, record.GoalMeasured)), None)
    begun = not (first and first.holds) if runbook.goal else True
    yield "goal", "fails" if begun else "holds"
    if begun and not _ended_early(runbook, run):
        yield "end", "reached"
        yield "end", "holds" if run.head.outcome in _GOOD else "fails"


def _of(event: record.Event) -> Iterator[Key]:
    """The branch that one event tells of."""
    step = own_id(event.step)
    if isinstance(event, record.Told):
        yield step, "does not hold" if event.level == "error" else "holds"
        yield step, "in vain" if event.sentence.startswith("waited in vain") else "in time"
        if event.level == "warning" and "; going on" in event.sentence:
            yield step, "fails, and the run goes on"
    elif isinstance(event, record.Decided):
        yield from ((step, f"names {cause.name}") for cause in event.verdict.causes)
    elif isinstance(event, record.ProbeMissed) and event.fallback:
        yield step, "by a fallback"
    elif isinstance(event, record.Answered):
        yield step, "not answered in time" if event.expired else "answered"
    elif isinstance(event, record.Listed):
        yield step, "with items" if event.items else "without items"


def _ended_early(runbook: Runbook, run: Run) -> bool:
    """Whether a step, a failure or a signal ended the run before the end of its steps."""
    if run.head.outcome in {"failed", "interrupted"}:
        return True
    taken = happened.taken(run)
    refused = {
        own_id(event.step)
        for event in run.events
        if isinstance(event, record.Told) and event.level == "error"
    }
    for one in placed(runbook):
        if isinstance(one.step, Stop) and one.step.id in taken:
            return True
        if isinstance(one.step, Check) and one.step.id in refused:
            return True
    return False
