"""The rows of changes: announced, held back, extended, taken back, kept for good.

Not here: all other rows (``engine.auditing.rows``).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine import record, text
from engine.auditing.entry import Entry, way
from engine.reports.approvals import confirmed
from engine.reports.story import Attempt, Proposal, Story
from engine.reports.timeline import comparison, measured
from engine.values import Change

_MET = {True: "as predicted", False: "not as predicted", None: "not measured"}


def of_changes(run: record.Run, story: Story) -> Iterator[tuple[float, Entry]]:
    """One row per announced change, per plan held back, and per thing done later; each with its moment."""
    for proposal in (one for one in story.proposals if not one.run):
        for attempt in proposal.attempts:
            yield attempt.intended.at, _of_attempt(run, proposal, attempt)
        waits = proposal.requested is not None and proposal.state in {
            "waiting",
            "approved",
        }  # says its own row
        if proposal.plan.changes and not proposal.attempts and not waits:
            yield proposal.at, _held_back(run, proposal)
    yield from _later(run, story)


def _of_attempt(run: record.Run, proposal: Proposal, attempt: Attempt) -> Entry:
    change = attempt.intended.change
    first = _settled(run, attempt)[:1]
    return msgspec.structs.replace(
        _row(run, attempt.intended.at, "change", proposal.plan.remediation, change),
        state=first[0].state if first else attempt.state,
        by=proposal.by or run.head.by,
        because=first[0].because if first else "its end is not on record",
        leave=_leave(run, proposal, attempt),
        verified=_verified(run, proposal, attempt),
        later=_became(run, attempt),
    )


def _held_back(run: record.Run, proposal: Proposal) -> Entry:
    """A plan that was not carried out, with the reasons of those who held it back."""
    changes = proposal.plan.changes
    what = "rehearsed" if proposal.dry else "refusal"
    steps = ", ".join(f"{one.knob.name}: {one.before_text} → {one.after_text}" for one in changes)
    return msgspec.structs.replace(
        _row(run, proposal.at, what, proposal.plan.remediation, changes[0]),
        detail=steps,
        state=proposal.state,
        by=proposal.by,
        because="; ".join(one.because for one in proposal.decisions if one.answer != "allow"),
    )


def _row(run: record.Run, at: float, what: str, subject: str, change: Change) -> Entry:
    detail = f"{change.where or change.knob.name}: {change.before_text} → {change.after_text}"
    return Entry(
        at=text.moment(at) or "", run=run.head.id, what=what, subject=subject, detail=detail, state="", by="",
        because="", target=run.head.target, before=change.before_text, after=change.after_text,
    )  # fmt: skip


def _leave(run: record.Run, proposal: Proposal, attempt: Attempt) -> str:
    """Who said yes: whoever approved it, whoever was asked, or else the policy."""
    at, step = attempt.intended.at, attempt.intended.step
    for event in reversed(run.events):
        if (
            isinstance(event, record.Ruled)
            and event.answer == "approved"
            and event.step == step
            and event.at <= at
        ):
            return ", ".join(filter(None, (event.by, way(event.via))))
    if proposal.by:
        return proposal.by
    return f"the policy {run.head.policy}" if run.head.policy else "the policy of this machine"


def _verified(run: record.Run, proposal: Proposal, attempt: Attempt) -> str:
    """What was predicted beside what was measured, and the goal with the change in force."""
    said = [f"{comparison(one)}: {_MET[one.met]}" for one in proposal.compared]
    end = next((one.at for one in _settled(run, attempt)), float("inf"))
    goals = [
        event
        for event in run.events
        if isinstance(event, record.GoalMeasured) and attempt.intended.at <= event.at <= end
    ]
    if goals:
        last = goals[-1]
        holds = {True: "goal holds", False: "goal does not hold", None: "goal could not be measured"}[
            last.holds
        ]
        held = f" for {text.span(last.held_s)}" if last.held_s else ""
        said.append(f"{holds}{held}: {measured(last)}" if last.values else holds + held)
    said.append(_confirmed(run, attempt))
    return "; ".join(filter(None, said))


def _confirmed(run: record.Run, attempt: Attempt) -> str:
    """That the run's alert resolved while the change was in force."""
    if attempt.applied is None:
        return ""
    gone = (one.at for one in _settled(run, attempt) if one.state in {"undone", "not-made", "failed", "left"})
    return confirmed(run, attempt.applied.at, next(gone, float("inf")))


def _became(run: record.Run, attempt: Attempt) -> str:
    """What was done about a change after it was first settled."""
    settled = _settled(run, attempt)
    if len(settled) < 2:
        return ""
    last = settled[-1]
    return f"{last.state} {text.moment(last.at)}: {last.because}"


def _settled(run: record.Run, attempt: Attempt) -> list[record.Settled]:
    """How a change ended, and what it came to afterwards, in order."""
    return [one for one in run.events if isinstance(one, record.Settled) and one.attempt == attempt.number]


def _later(run: record.Run, story: Story) -> Iterator[tuple[float, Entry]]:
    """What was done about changes later: more time, taken back, kept for good."""
    known = {one.number: one.intended for one in story.attempts}
    taken_up: record.Resumed | None = None
    settled: set[int] = set()
    for event in run.events:
        match event:
            case record.Resumed():
                taken_up = event
            case record.Extended() if event.attempt in known:
                until = f"until {text.moment(event.lease_until)}"
                yield (
                    event.at,
                    _done(run, event, known[event.attempt], ("lease", until, event.by, event.comment)),
                )
            case record.Settled() if event.attempt in known:
                if event.attempt in settled or (taken_up is not None and taken_up.doing != "resume"):
                    by = taken_up.by if taken_up is not None and event.state != "kept" else ""
                    what = "lease" if event.state == "kept" else "undo"
                    said = (what, event.state, by, event.because)
                    yield event.at, _done(run, event, known[event.attempt], said)
                settled.add(event.attempt)
            case _:
                pass


def _done(
    run: record.Run,
    event: record.Settled | record.Extended,
    intended: record.Intended,
    said: tuple[str, str, str, str],
) -> Entry:
    """What was done, the state it left, by whom and why."""
    what, state, by, because = said
    row = _row(run, event.at, what, intended.remediation, intended.change)
    back = what == "undo" and state == "undone"
    row = msgspec.structs.replace(row, state=state, by=by, because=because)
    if not back:
        return row
    detail = f"{intended.change.where or intended.change.knob.name}: {row.after} → {row.before}"
    return msgspec.structs.replace(row, detail=detail, before=row.after, after=row.before)
