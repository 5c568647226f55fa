"""A run's events put in the order in which people ask about them.

The journal tells what happened one event after the other; a reader asks "what was the cause,
what was changed, did it help, how do I take it back". One promise: everything here is derived
from the run alone, and a change whose end is not recorded is told as ``unknown``.

Not here: words and layout (``engine.reports.text`` and its neighbours), charts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine import record, text
from engine.evidence import unknown
from engine.reports import approvals
from engine.values import Cost, Decision, Evidence, Plan, Target, Verdict

#: States of a change that nothing is left of.
_GONE = frozenset({"undone", "not-made"})
#: So many readings are named of those that lack a value for the same reason.
_NAMED = 4


@dataclass(slots=True)
class Attempt:
    """One announced write and how it ended.

    Attributes:
        number: Counts from 1 within the run; marks the moment in charts.
        settled: None when the engine died before it could say.
    """

    number: int
    intended: record.Intended
    applied: record.Applied | None = None
    settled: record.Settled | None = None

    @property
    def lasts(self) -> bool:
        """Whether it was kept and nothing takes it back, such as a start."""
        return bool(self.intended.change.final) and self.state == "kept"

    @property
    def state(self) -> str:
        """One of ``record.ChangeState``."""
        if self.settled is not None:
            return self.settled.state
        return "applied" if self.applied is not None else "unknown"


@dataclass(slots=True)
class Proposal:
    """One plan, what the guards said of it, and what became of it.

    Attributes:
        dry: It comes from a rehearsal: it would be made, and was not.
        run: Id of the called run that it belongs to; empty for the run's own.
        attempts: One per change that was announced; empty when it was held back.
        requested, rulings: Somebody's yes was asked for, and what became of that, oldest first.
    """

    at: float
    step: str
    plan: Plan
    dry: bool = False
    run: str = ""
    decisions: tuple[Decision, ...] = ()
    answer: str = ""
    by: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    compared: list[record.Compared] = field(default_factory=list)
    requested: record.Requested | None = None
    rulings: list[record.Ruled] = field(default_factory=list)

    @property
    def state(self) -> str:
        """``kept``, ``undone`` …; ``would``, ``held back``, ``nothing to change``, ``waiting``.

        Or what became of its request: ``approved`` (and not used yet), ``void``, ``expired`` …
        """
        if not self.plan.changes:
            return "nothing to change"
        if self.dry:
            return "held back" if self.answer == "deny" else "would"
        if not self.attempts and self.rulings and not self.by:
            return self.rulings[-1].answer
        if not self.attempts:
            return "held back" if self.answer == "deny" else "waiting" if self.answer else "planned"
        states = [attempt.state for attempt in self.attempts]
        return next((state for state in ("unknown", "failed", "left") if state in states), states[-1])

    @property
    def because(self) -> str:
        """Why it stands as it does, in a sentence; empty when nothing was said."""
        said = [attempt.settled.because for attempt in self.attempts if attempt.settled is not None]
        if said:
            return said[-1]
        if self.rulings and self.state == self.rulings[-1].answer:
            return self.rulings[-1].because or self.rulings[-1].comment
        if self.state == "held back":
            return "; ".join(d.because for d in self.decisions if d.answer == "deny")
        return self.plan.reason

    @property
    def stands(self) -> bool:
        """Whether any of it is in force, or may be."""
        return any(attempt.state not in _GONE and not attempt.lasts for attempt in self.attempts)

    @property
    def undo_by_hand(self) -> str:
        """How a human takes it back; empty once there is nothing to take back."""
        if self.attempts and not self.stands:
            return ""
        said = [a.settled.undo_by_hand for a in self.attempts if a.settled is not None]
        return next(filter(None, said), self.plan.undo_by_hand)


@dataclass(slots=True)
class Story:
    """A run, sorted.

    Attributes:
        unseen: What could not be seen: (who could not, why, what mends it).
        evidence: In the order of the windows.
        later: What became of its changes after its end, in a sentence; empty while they stand.
        resolved: When its alert resolved, in a sentence; empty while it has not.
        still_firing: That it has not, though the run ended well.
    """

    run: record.Run
    target: Target | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    goals: list[record.GoalMeasured] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    unseen: list[tuple[str, str, str]] = field(default_factory=list)
    told: list[record.Told] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    later: str = ""
    resolved: str = ""
    still_firing: str = ""

    @property
    def attempts(self) -> list[Attempt]:
        """All announced writes, oldest first."""
        return [attempt for proposal in self.proposals for attempt in proposal.attempts]

    @property
    def standing(self) -> list[Attempt]:
        """Changes that are in force, or may be: what ``runbook undo`` would take back."""
        return [one for one in self.attempts if one.state not in _GONE and not one.lasts]

    @property
    def outcome(self) -> str:
        """The recorded outcome, or the state of a run that has none yet."""
        return self.run.head.outcome or ("running" if self.run.state == "running" else "interrupted")

    @property
    def ended_at(self) -> float:
        """When it ended; for an unfinished run the moment of its last event."""
        last = self.run.events[-1].at if self.run.events else self.run.head.started_at
        return self.run.head.ended_at if self.run.head.ended_at is not None else last

    @property
    def sentence(self) -> str:
        """The outcome in a sentence, also for a run that did not live to say it."""
        if self.run.head.sentence:
            return self.run.head.sentence
        if self.run.state == "running":
            return "Still running."
        open_changes = len(self.standing)
        if not open_changes:
            return "Interrupted before its end; no change is in force."
        return f"Interrupted before its end with {open_changes} change(s) that may be in force."


def tell(run: record.Run) -> Story:
    """Sort a run's events. Cost: one pass; nothing is copied but references."""
    story = Story(run=run)
    for event in run.events:
        _place(story, event)
    _note_gaps(story)
    story.later = _later(story) or story.later
    story.resolved, story.still_firing = approvals.resolved(story), approvals.still_firing(story)
    return story


def _later(story: Story) -> str:
    """Who took changes back after the run had ended, and when."""
    words, ended, taken_up = "", False, None
    for event in story.run.events:
        match event:
            case record.Ended():
                ended = True
            case record.Resumed():
                taken_up, ended = event, ended and event.doing != "resume"
            case record.Settled(state="undone") if ended and taken_up is not None:
                part = " in part" if story.standing else ""
                how = f" by {taken_up.by}" if taken_up.by else ""
                if taken_up.doing == "lease-end":
                    how = f", since {event.because if 'ended by' in event.because else 'the lease had ended'}"
                words = f"Later undone{part}{how}: {text.day_and_time(event.at)}."
    return words


def _place(story: Story, event: record.Event) -> None:
    """Put one event where it belongs."""
    match event:
        case record.TargetFound():
            story.target = event.target
        case record.Seen():
            story.evidence.append(event.evidence)
        case record.Decided():
            story.verdicts.append(event.verdict)
        case record.GoalMeasured():
            story.goals.append(event)
        case record.Told():
            story.told.append(event)
        case record.ProbeMissed():
            fallback = f"; {event.fallback} looked instead" if event.fallback else ""
            story.unseen.append((event.probe, event.problem + fallback, event.fix))
        case record.Ended():
            story.cost = event.cost
        case record.Called():
            _place_called(story, event.run)
        case _:
            _place_change(story, event)


def _place_called(story: Story, run: str) -> None:
    """What a called run saw, named and did, in its place."""
    for inner in (tell(one) for one in story.run.called if one.head.id == run):
        for proposal in inner.proposals:
            proposal.run = proposal.run or run
        story.verdicts += inner.verdicts
        story.proposals += inner.proposals
        story.evidence += inner.evidence
        story.unseen += inner.unseen
        story.told += inner.told
        story.later = inner.later or story.later


def _place_change(story: Story, event: record.Event) -> None:
    """Put one event of a change with its plan."""
    match event:
        case record.Planned():
            story.proposals.append(Proposal(at=event.at, step=event.step, plan=event.plan))
        case record.Would():
            _rehearsed(story, event)
        case record.Judged():
            for proposal in _of(story, event.remediation):
                proposal.decisions, proposal.answer = event.decisions, event.answer
                proposal.by = event.by
                approvals.take_over(story, proposal)
        case record.Requested() | record.Ruled():
            approvals.place(story, event)
        case record.Intended():
            _announced(story, event)
        case record.Applied() | record.Settled():
            _finish(story, event)
        case record.Compared():
            for proposal in _of(story, event.remediation):
                proposal.compared.append(event)
        case _:
            pass


def _of(story: Story, remediation: str) -> Iterator[Proposal]:
    """The latest plan of a remediation, if there is one."""
    found = (p for p in reversed(story.proposals) if p.plan.remediation == remediation and not p.run)
    latest = next(found, None)
    if latest is not None:
        yield latest


def _announced(story: Story, event: record.Intended) -> None:
    """An announced write; without a plan on record (a resumed run's, say) it stands for itself."""
    proposal = next(_of(story, event.remediation), None)
    if proposal is None:
        alone = Plan(remediation=event.remediation, changes=(event.change,))
        proposal = Proposal(at=event.at, step=event.step, plan=alone)
        story.proposals.append(proposal)
    proposal.attempts.append(Attempt(number=event.attempt, intended=event))


def _rehearsed(story: Story, event: record.Would) -> None:
    """A plan that a dry-run would carry out; it may have been announced as planned before."""
    planned = next(_of(story, event.plan.remediation), None)
    if planned is None or planned.plan != event.plan:
        planned = Proposal(at=event.at, step=event.step, plan=event.plan)
        story.proposals.append(planned)
    planned.dry, planned.decisions, planned.answer = True, event.decisions, event.answer


def _finish(story: Story, event: record.Applied | record.Settled) -> None:
    """Say of an announced write that it was made, or how it ended."""
    own = (attempt for proposal in story.proposals if not proposal.run for attempt in proposal.attempts)
    for attempt in own:
        if attempt.number != event.attempt:
            continue
        if isinstance(event, record.Applied):
            attempt.applied = event
        else:
            attempt.settled = event


def _note_gaps(story: Story) -> None:
    """What probes could not measure: each reason once, with the readings that it explains."""
    gaps: dict[tuple[str, str], dict[str, None]] = {}  # (short, why) → names, in order
    said: dict[tuple[str, str], None] = {}
    for seen in story.evidence:
        for why, names in unknown(seen).items():
            gaps.setdefault((seen.short, why), {}).update(dict.fromkeys(names))
        said.update(dict.fromkeys((seen.probe, note) for note in seen.notes))
    for verdict in story.verdicts:
        said.update(dict.fromkeys((verdict.diagnosis, note) for note in verdict.notes))
    known = {(who, why) for who, why, _ in story.unseen}
    told = [(_several(short, list(names)), why) for (short, why), names in gaps.items()]
    story.unseen += [(who, why, "") for who, why in (*told, *said) if (who, why) not in known]


def _several(short: str, names: list[str]) -> str:
    """``flow.burst_s``; of many only the first: ``flow.fill_peak, flow.fill_mean and 30 more``."""
    shown = ", ".join(f"{short}.{name}" for name in names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
