"""A run as one JSON document: the record itself, for machines.

Shape: ``{"id", "outcome", "sentence", "exit_code", "state", "head": {…}, "changes": […],
"events": […]}``. Events are the journal's, each with its ``kind``; ``changes`` is a digest of
them. One promise: numbers stay numbers and moments epoch seconds; only the moments that
``runbook runs`` also shows are repeated as ISO-8601.

Not here: anything for people.
"""

from __future__ import annotations

import msgspec

from engine import record, text
from engine.reports.story import Proposal, tell


def document(run: record.Run) -> dict[str, object]:
    """The run as plain values."""
    story = tell(run)
    head = run.head
    return {
        "id": head.id,
        "runbook": head.runbook,
        "target": head.target,
        "outcome": head.outcome,
        "state": run.state,
        "sentence": story.sentence,
        "later": story.later,
        "resolved": story.resolved,
        "still_firing": story.still_firing,
        "exit_code": exit_code(run),
        "started_at": text.moment(head.started_at),
        "ended_at": text.moment(head.ended_at),
        "changes": [_change(proposal) for proposal in story.proposals],
        "unseen": [{"who": who, "why": why, "fix": fix} for who, why, fix in story.unseen],
        "head": msgspec.to_builtins(head),
        "events": msgspec.to_builtins(run.events),
        "called": [document(one) for one in run.called],
    }


def render(run: record.Run) -> str:
    """The document as text, indented."""
    return msgspec.json.format(msgspec.json.encode(document(run)), indent=2).decode() + "\n"


def exit_code(run: record.Run) -> int:
    """What ``runbook run`` ends with: by outcome; 128 + signal when a signal stopped it."""
    if run.head.signal:
        return 128 + run.head.signal
    return record.EXIT_CODES.get(run.head.outcome or "interrupted", 4)


def _change(proposal: Proposal) -> dict[str, object]:
    """A digest of one plan: what, how it stands, why."""
    return {
        "remediation": proposal.plan.remediation,
        "run": proposal.run,
        "state": proposal.state,
        "because": proposal.because,
        "changes": [
            {"knob": change.knob.name, "before": change.before_text, "after": change.after_text}
            for change in proposal.plan.changes
        ],
        "attempts": [attempt.number for attempt in proposal.attempts],
        "rulings": [msgspec.to_builtins(one) for one in proposal.rulings],
    }
