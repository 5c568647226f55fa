"""A run as plain text: for a terminal, a ticket, or a mail.

One promise: no colours and no control characters, whatever the run's texts hold; 80 columns
where the words allow it.

Not here: what is said (``engine.reports.story``, ``timeline``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from engine import record, text
from engine.reports import approvals, timeline
from engine.reports.story import Proposal, Story, tell
from engine.values import Cause, Check

_WIDTH = 80
#: The sign in front of a line, by what kind of line it is.
SIGNS: dict[timeline.Mark, str] = {
    **dict.fromkeys(("look", "note"), "·"),
    **dict.fromkeys(("good",), "✓"),
    **dict.fromkeys(("bad",), "✗"),
    "goal": "·",
    "cause": "→",
    "plan": "→",
    "change": "*",
    "skip": "-",
    "warn": "!",
}


#: Sign of an answer in a check list.
_ANSWERS = {"good": "✓", "bad": "✗", "unknown": "?"}


def render(run: record.Run) -> str:
    """The whole report."""
    story = tell(run)
    parts = [_head(story), _causes(story), _changes(story), _unseen(story), _timeline(story), _cost(story)]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def _wrap(words: str, indent: str = "", first: str | None = None) -> str:
    start = indent if first is None else first
    plain = text.plain(words)
    return textwrap.fill(
        plain, _WIDTH, initial_indent=start, subsequent_indent=indent, break_long_words=False
    )


def _head(story: Story) -> Iterator[str]:
    head = story.run.head
    yield _wrap(f"{story.outcome.upper()}  {story.sentence}", "  ", "")
    for more in filter(None, (story.later, story.resolved, story.still_firing)):
        yield _wrap(more, "  ")
    on = f" on {head.target}" if head.target else ""
    yield _wrap(f"{head.runbook}{on}{f', host {head.host}' if head.host else ''}", "  ")
    took = text.span(story.ended_at - head.started_at)
    yield _wrap(
        f"{text.day_and_time(head.started_at)}, took {took}{f', by {head.by}' if head.by else ''}", "  "
    )
    yield _wrap(head.id, "  ")
    if head.dry_run:
        yield "  dry-run: nothing was changed"
    elif story.standing:
        yield f"  take it back: runbook undo {text.plain(head.id)}"


def _causes(story: Story) -> Iterator[str]:
    for verdict in story.verdicts:
        if verdict.checks:
            yield _wrap(f"CHECKS  {verdict.sentence}", "  ", "")
            yield from _checks(verdict.checks)
            continue
        yield _wrap(f"CAUSE  {verdict.sentence}", "  ", "")
        for rank, cause in enumerate(verdict.causes, 1):
            yield from _cause(rank, cause)


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    width = max(len(check.name) for check in checks)
    for check in checks:
        yield _wrap(check.sentence, " " * (width + 6), f"  {_ANSWERS[check.answer]} {check.name:{width}}  ")
        if check.fix:
            yield _wrap(check.fix, " " * (width + 8), " " * (width + 6) + "→ ")


def _cause(rank: int, cause: Cause) -> Iterator[str]:
    explains = "" if cause.explains is None else f", explains {text.share(cause.explains)}"
    yield _wrap(f"{cause.name}: fits {text.share(cause.confidence)}{explains}", "     ", f"  {rank}. ")
    yield _wrap(cause.sentence, "     ")
    for sign, facts in (("+", cause.speaks_for), ("-", cause.speaks_against), ("=", cause.arithmetic)):
        for fact in facts:
            yield _wrap(fact, "       ", f"     {sign} ")
    if cause.settles:
        yield _wrap(f"to be sure: {cause.settles}", "     ")
    if cause.fix:
        yield _wrap(f"what mends it: {cause.fix}", "     ")


def _changes(story: Story) -> Iterator[str]:
    if story.proposals:
        yield "CHANGES"
    for proposal in story.proposals:
        yield from _proposal(proposal)


def _proposal(proposal: Proposal) -> Iterator[str]:
    plan = proposal.plan
    because = f": {proposal.because}" if proposal.because else ""
    yield _wrap(f"{plan.remediation}  [{proposal.state}{because}]", "    ", "  ")
    for change in plan.changes:
        yield _wrap(
            f"{change.before_text} → {change.after_text}  ({change.where or change.knob.name})",
            "      ",
            "    ",
        )
        yield _wrap(f"why: {change.why}", "         ", "    ")
        yield from (f"      {text.plain(line)}" for line in change.detail.splitlines())
    for prediction in plan.predictions if not proposal.compared else ():
        unit = prediction.unit or text.unit_of(prediction.measure)
        bound = "at most " if prediction.at_most and prediction.after else ""
        sums = f" ({prediction.arithmetic})" if prediction.arithmetic else ""
        after = text.measure(prediction.after, unit)
        yield _wrap(f"predicts {prediction.measure}: {bound}{after}{sums}", "      ", "    ")
    for compared in proposal.compared:
        sign = "?" if compared.met is None else "✓" if compared.met else "✗"
        yield _wrap(timeline.comparison(compared), "      ", f"    {sign} ")
    for said in approvals.told(proposal):
        yield _wrap(said, "      ", "    ")
    for decision in proposal.decisions:
        yield _wrap(f"{decision.guard}: {decision.answer}, {decision.because}", "        ", "    guard ")
    for lost in plan.loses if plan.changes else ():
        yield _wrap(f"a reload loses: {lost}", "      ", "    ")
    if proposal.undo_by_hand:
        yield _wrap(f"undo by hand: {proposal.undo_by_hand}", "      ", "    ")


def _unseen(story: Story) -> Iterator[str]:
    if story.unseen:
        yield "COULD NOT BE SEEN"
    for who, why, fix in story.unseen:
        yield _wrap(f"{who}: {why}{f' → {fix}' if fix else ''}", "    ", "  ")


def _timeline(story: Story) -> Iterator[str]:
    yield "TIMELINE"
    for event in timeline.events(story.run):
        line = timeline.line(event)
        if line is not None:
            when = text.since(story.run.head.started_at, event.at)
            detail = f": {line.detail}" if line.detail else ""
            yield _wrap(f"{line.words}{detail}", " " * 12, f"{when:>8}  {SIGNS[line.mark]} ")


def _cost(story: Story) -> Iterator[str]:
    cost = story.cost
    if cost.cpu_s or cost.wall_s:
        memory = f", {text.size(cost.memory_bytes)} of memory" if cost.memory_bytes else ""
        bpf = f", {text.span(cost.bpf_s)} of it in our BPF programs" if cost.bpf_s else ""
        yield f"COST  {text.span(cost.cpu_s)} CPU in {text.span(cost.wall_s)}{bpf}{memory}"
