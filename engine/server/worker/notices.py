"""What people are to be told: from a run, a lease or a trouble to drafts of notices. All pure.

One promise: the same run gives the same drafts with the same keys, however often it is asked, so that
a worker that was killed tells nothing twice by asking again.

Not here: keeping and handing out (``engine.server.worker.outbox``), sending (``engine.server.telling``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

import msgspec

from engine import pending, text
from engine.record import Asked, Ended, Run
from engine.reports import story, timeline
from engine.reports.story import Proposal, Story
from engine.server.messages import LeaseRow
from engine.server.settings import Notify

About = Literal["waiting", "ended", "lease", "trouble"]

#: Lines of evidence, and how long they and the sentence may be.
LINES, LONGEST_LINE, LONGEST_SENTENCE = 3, 300, 600
#: A lease's end is told so long before, where it lasts at least twice as long.
SOON_S = 900.0


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A notice before it is known who gets it.

    Attributes:
        key: The same for the same news; each person is told it once.
        digest: Of what can be answered with a link (``engine.pending.digest``); empty for none.
        link_until: When a link for it ends at the latest (epoch seconds).
        Others: As ``messages.Notice``.
    """

    key: str
    at: float
    about: About
    sentence: str
    run: str = ""
    outcome: str = ""
    target: str = ""
    runbook: str = ""
    evidence: tuple[str, ...] = ()
    path: str = ""
    digest: str = ""
    link_until: float = 0.0


def of_run(run: Run) -> Draft | None:
    """What is to be told of a run as it stands: what it waits for, or how it ended; None while it goes on.

    A run that another one called is told about by its caller.
    """
    last = next((one for one in reversed(run.events) if isinstance(one, Ended)), None)
    if last is None or run.head.called_by or run.head.outcome is None:
        return None
    if run.head.outcome == "waiting":
        return _waiting(run)
    return _draft(
        run,
        about="ended",
        key=f"{run.head.id}/ended/{last.at:.6f}",
        at=last.at,
        outcome=last.outcome,
        sentence=last.sentence,
        evidence=_lines(_of_the_end(story.tell(run))),
    )


def _waiting(run: Run) -> Draft | None:
    """What a run, or one that it called, waits with; None where it has been answered meanwhile."""
    found = pending.holder_of(run)
    if found is None:
        return None
    holder, waits = found
    told, until = story.tell(holder), pending.due(run)
    if isinstance(waits, Asked):
        key = f"{run.head.id}/asked/{waits.step}/{waits.at:.6f}"
        wish, evidence = f"asks: {waits.question}", _of_the_cause(told)
    else:
        key = f"{run.head.id}/requested/{waits.digest}"
        wish, evidence = f"waits for a yes to {waits.remediation}", _of_the_request(told, waits.remediation)
    return _draft(
        run,
        about="waiting",
        key=key,
        at=waits.at,
        outcome="waiting",
        target=run.head.target or holder.head.target,
        sentence=f"{_where(holder)} {wish}{_until(until)}",
        evidence=_lines(evidence),
        digest=pending.digest(holder, waits),
        link_until=until or 0.0,
    )


def of_lease(lease: LeaseRow, now: float) -> Draft | None:
    """That a temporary change will be undone soon; None where it is not soon, or lasts only shortly."""
    if lease.until - now > SOON_S or lease.until - lease.since < 2 * SOON_S or lease.until <= now:
        return None
    return Draft(
        key=f"{lease.run}/lease/{lease.attempt}/{lease.until:.3f}",
        at=now,
        about="lease",
        run=lease.run,
        target=lease.target,
        sentence=_cut(
            f"{lease.where} of {lease.target} goes back from {lease.after} to {lease.before} "
            f"at {text.day_and_time(lease.until)}",
            LONGEST_SENTENCE,
        ),
        evidence=_lines(iter((f"changed by {lease.remediation}; to extend it: runbook leases",))),
        path="/leases",
    )


def of_lease_left(lease: LeaseRow, because: str, now: float) -> Draft:
    """That a temporary change could not be undone when its time was up."""
    return Draft(
        key=f"{lease.run}/lease-left/{lease.attempt}",
        at=now,
        about="lease",
        run=lease.run,
        target=lease.target,
        sentence=_cut(
            f"{lease.where} of {lease.target} still holds {lease.after}: its lease has ended and {because}",
            LONGEST_SENTENCE,
        ),
        evidence=_lines(iter((f"take it back: runbook undo {lease.run}",))),
        path=f"/runs/{lease.run}",
    )


def of_trouble(sentence: str, now: float, *, fix: str = "", again_s: float = 3600.0) -> Draft:
    """Something is wrong with runbook itself; the same is told at most once in ``again_s``."""
    what = hashlib.sha256(sentence.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return Draft(
        key=f"trouble/{what}/{int(now // again_s)}",
        at=now,
        about="trouble",
        sentence=_cut(sentence, LONGEST_SENTENCE),
        evidence=_lines(iter((fix,))),
        path="/",
    )


def wanted(draft: Draft, notify: Notify) -> bool:
    """Whether somebody is to be told this: what they want to hear about, and of which outcomes."""
    if draft.about not in notify.about:
        return False
    if draft.about != "ended":
        return True
    return draft.outcome in notify.outcomes if notify.outcomes else draft.outcome != "healthy"


# ── evidence in three lines ─────────────────────────────────────────────────────


def _of_the_request(told: Story, remediation: str) -> Iterator[str]:
    """Cause, plan, what it promises."""
    mine = [one for one in told.proposals if one.plan.changes and one.plan.remediation == remediation]
    plan = mine[-1] if mine else None
    yield from _cause(told)
    if plan is not None:
        yield f"{_changes(plan)} (risk: {plan.plan.risk})"
        for one in plan.plan.predictions:
            before, after = (text.measure(value, one.unit) for value in (one.before, one.after))
            yield f"predicted: {one.measure} {before} → {after}"
    yield from _goal(told)


def _of_the_cause(told: Story) -> Iterator[str]:
    yield from _cause(told)
    yield from _goal(told)


def _of_the_end(told: Story) -> Iterator[str]:
    """Cause, what was done, how the goal stands."""
    yield from _cause(told)
    made = [one for one in told.proposals if one.attempts]
    if made:
        yield f"{_changes(made[-1])}: {made[-1].state}"
    yield from _goal(told)


def _cause(told: Story) -> Iterator[str]:
    named = [one for one in told.verdicts if one.causes]
    if named:
        yield named[-1].causes[0].sentence


def _goal(told: Story) -> Iterator[str]:
    if told.goals:
        first, last = timeline.measured(told.goals[0]), timeline.measured(told.goals[-1])
        if first or last:
            yield f"before: {first}; now: {last}" if first != last else f"measured: {last}"


def _changes(proposal: Proposal) -> str:
    return "; ".join(
        f"{one.where or one.knob.name}: {one.before_text} → {one.after_text}" for one in proposal.plan.changes
    )


def _lines(found: Iterator[str]) -> tuple[str, ...]:
    """The first three that say something, none too long."""
    return tuple(_cut(one, LONGEST_LINE) for one in found if one.strip())[:LINES]


def _draft(run: Run, **said: object) -> Draft:
    head = run.head
    said["sentence"] = _cut(str(said["sentence"]), LONGEST_SENTENCE)
    whole = {
        "run": head.id,
        "target": head.target,
        "runbook": head.runbook,
        "path": f"/runs/{head.id}",
        **said,
    }
    return msgspec.convert(whole, Draft)


def _where(run: Run) -> str:
    head = run.head
    return f"{head.runbook} on {head.target}" if head.target else head.runbook


def _until(moment: float | None) -> str:
    return "" if moment is None else f", until {text.day_and_time(moment)}"


def _cut(words: str, most: int) -> str:
    """One line without control characters."""
    shown = " ".join(text.plain(words).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
