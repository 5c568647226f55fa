"""Who was asked and what they said, and the alerts of a run, in words: the same in every report.

Not here: events one by one (``engine.reports.timeline``), the rest of the story (``engine.reports.story``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine import record, text

if TYPE_CHECKING:
    from engine.reports.story import Proposal, Story

#: How somebody answered, in words.
_VIA = {
    "terminal": "at a terminal",
    "command": "on the command line",
    "page": "on the page",
    "link": "by a link",
}
#: Outcomes after which an alert should be over.
_WELL = frozenset({"healthy", "fixed", "mitigated"})
#: Answers that close a request without anything done.
CLOSED = frozenset({"denied", "expired", "void", "withdrawn"})


def ruling(event: record.Ruled) -> str:
    """``approved by anna on the page: the window is open``; ``void: ring is 2 now, and was 1``."""
    who = f" by {event.by}" if event.by else ""
    via = f" {_VIA[event.via]}" if event.via in _VIA else ""
    why = "; ".join(filter(None, (event.because, event.comment)))
    return f"{event.answer}{who}{via}{f': {why}' if why else ''}"


def request(event: record.Requested) -> str:
    """Until when a yes may be given, and how old the evidence was."""
    age = text.span(max(0.0, event.at - event.evidence_at))
    use = text.span(event.use_within)
    return f"until {text.day_and_time(event.decide_by)}, to be used within {use}; evidence {age} old"


def told(proposal: Proposal) -> Iterator[str]:
    """What was asked and answered about one plan, a line each."""
    if proposal.requested is not None:
        asked = proposal.requested
        yield f"asked for a yes at {text.day_and_time(asked.at)}: {request(asked)}"
    for one in proposal.rulings:
        yield f"{ruling(one)} ({text.day_and_time(one.at)})"


def place(story: Story, event: record.Requested | record.Ruled) -> None:
    """Put a request, or an answer, with its plan."""
    if isinstance(event, record.Requested):
        proposal = next((one for one in reversed(story.proposals) if _fits(one, event)), None)
        if proposal is not None:
            proposal.requested = event
        return
    for proposal in story.proposals:
        if proposal.requested is not None and proposal.requested.digest == event.digest:
            proposal.rulings.append(event)


def _fits(proposal: Proposal, event: record.Requested) -> bool:
    return not proposal.run and (proposal.step, proposal.plan.remediation) == (event.step, event.remediation)


def take_over(story: Story, judged: Proposal) -> None:
    """A plan that was made anew for a request that counts stands in the place of the earlier ones."""
    earlier = [
        one
        for one in story.proposals
        if one is not judged
        and (one.step, one.run, one.dry) == (judged.step, judged.run, judged.dry)
        and not one.attempts
        and one.plan.changes
        and (not one.answer or (one.requested is not None and not is_closed(one)))
    ]
    for one in earlier:
        if one.requested is not None:
            judged.requested, judged.rulings = one.requested, one.rulings
        story.proposals.remove(one)


def is_closed(proposal: Proposal) -> bool:
    """Whether its request ended without being carried out, other than by a no that the run has heard."""
    return bool(proposal.rulings) and proposal.rulings[-1].answer in CLOSED - {"denied"}


# ── alerts ──────────────────────────────────────────────────────────────────────


def alert(event: record.Alerted) -> str:
    """What was heard of an alert."""
    did = {"asked": "asked for this run", "joined": "joined this run", "resolved": "has resolved"}
    return f"alert {event.name} {did[event.did]}"


def resolved(story: Story) -> str:
    """When the run's alerts resolved, from its last change on; empty while one has not."""
    last = _last_of_each(story.run)
    if not last or any(one.did != "resolved" for one in last):
        return ""
    end = max(last, key=lambda one: one.at)
    made = [one.applied.at for one in story.attempts if one.applied is not None and one.applied.at <= end.at]
    since, what = (made[-1], "the last change") if made else (story.run.head.started_at, "the run had begun")
    return f"Alert {end.name} has resolved, {text.span(max(0.0, end.at - since))} after {what}."


def still_firing(story: Story) -> str:
    """That an alert still fires though its run ended well, as far as its sender has told; else empty."""
    if story.run.head.dry_run or story.run.head.outcome not in _WELL:
        return ""
    names = dict.fromkeys(one.name for one in _last_of_each(story.run) if one.did != "resolved")
    if not names:
        return ""
    fires = "still fires: its sender has" if len(names) == 1 else "still fire: their senders have"
    return f"Alert {', '.join(names)} {fires} not said that it resolved."


def confirmed(run: record.Run, since: float, until: float) -> str:
    """``the alert DropRate resolved 1 min 35 s after the change``; empty where none did while it stood."""
    for event in run.events:
        if isinstance(event, record.Alerted) and event.did == "resolved" and since <= event.at <= until:
            return f"the alert {event.name} resolved {text.span(event.at - since)} after the change"
    return ""


def _last_of_each(run: record.Run) -> list[record.Alerted]:
    """What was heard last of each alert, by its name and sender."""
    heard = {(one.name, one.sender): one for one in run.events if isinstance(one, record.Alerted)}
    return list(heard.values())
