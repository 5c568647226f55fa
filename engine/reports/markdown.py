"""A run as Markdown: for a ticket, a pull request or a wiki.

One promise: text from outside stays text. Marks, links and HTML in it are escaped, and a code
span ends where it was meant to end.

Not here: what is said (``engine.reports.story``, ``timeline``), charts (the HTML report's).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine import record, text
from engine.reports import approvals, timeline
from engine.reports.story import Proposal, Story, tell
from engine.values import Prediction

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def render(run: record.Run) -> str:
    """The whole report."""
    story = tell(run)
    parts = [_head(story), _causes(story), _changes(story), _unseen(story), _timeline(story), _foot(story)]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def escape(words: str) -> str:
    """Text in which Markdown finds nothing to mark up."""
    return _MARKS.sub(r"\\\1", text.plain(words))


def code(words: str) -> str:
    """A code span around text that may hold backticks itself."""
    plain = text.plain(words).replace("|", "¦")
    fence = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def fenced(words: str) -> Iterator[str]:
    """Lines of text as a block of their own, inside a list; nothing for no text."""
    if words:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", words) or [""]))
        yield f"\n  {fence}"
        yield from (f"  {text.plain(line)}" for line in words.splitlines())
        yield f"  {fence}\n"


def _head(story: Story) -> Iterator[str]:
    head = story.run.head
    outcome, where = story.outcome.capitalize(), head.target or head.host
    yield f"# {escape(outcome)}: {escape(head.runbook)} on {escape(where)}"
    yield ""
    yield f"**{escape(story.sentence)}**"
    yield ""
    for more in filter(None, (story.later, story.resolved, story.still_firing)):
        yield f"**{escape(more)}**\n"
    took = text.span(story.ended_at - head.started_at)
    by = f" · by {escape(head.by)}" if head.by else ""
    yield f"{text.day_and_time(head.started_at)} · took {took}{by} · run {code(head.id)}"
    if head.dry_run:
        yield "\nDry-run: nothing was changed."
    elif story.standing:
        yield f"\nTake it back: {code('runbook undo ' + head.id)}"


def _causes(story: Story) -> Iterator[str]:
    for verdict in story.verdicts:
        if verdict.checks:
            yield f"## Checks\n\n{escape(verdict.sentence)}\n"
            for check in verdict.checks:
                fix = f" *{escape(check.fix)}*" if check.fix else ""
                yield f"- {check.answer}: **{escape(check.name)}** {escape(check.sentence)}{fix}"
            continue
        yield f"## Cause\n\n{escape(verdict.sentence)}\n"
        for rank, cause in enumerate(verdict.causes, 1):
            explains = "" if cause.explains is None else f", explains {text.share(cause.explains)}"
            fits = f"fits {text.share(cause.confidence)}{explains}"
            yield f"{rank}. **{escape(cause.name)}** ({fits}): {escape(cause.sentence)}"
            yield from (f"    - for: {escape(fact)}" for fact in cause.speaks_for)
            yield from (f"    - against: {escape(fact)}" for fact in cause.speaks_against)
            yield from (f"    - {code(line)}" for line in cause.arithmetic)


def _changes(story: Story) -> Iterator[str]:
    if story.proposals:
        yield "## Changes"
    for proposal in story.proposals:
        yield from _proposal(proposal)


def _proposal(proposal: Proposal) -> Iterator[str]:
    plan = proposal.plan
    because = f": {escape(proposal.because)}" if proposal.because else ""
    yield f"\n### {escape(plan.remediation)}: {proposal.state}\n"
    for change in plan.changes:
        before, after = escape(change.before_text), escape(change.after_text)
        yield f"- {before} → **{after}** ({code(change.where or change.knob.name)}): {escape(change.why)}"
        yield from fenced(change.detail)
    yield f"- {proposal.state}{because}"
    yield from (f"- {escape(said)}" for said in approvals.told(proposal))
    yield from (f"- guard {escape(d.guard)}: {d.answer}, {escape(d.because)}" for d in proposal.decisions)
    if proposal.undo_by_hand:
        yield f"- undo by hand: {code(proposal.undo_by_hand)}"
    if plan.predictions:
        yield "\n| measured | before | predicted | after | |\n| --- | --- | --- | --- | --- |"
        yield from (_row(prediction, proposal) for prediction in plan.predictions)


def _row(prediction: Prediction, proposal: Proposal) -> str:
    """A prediction beside what was measured."""
    unit = prediction.unit or text.unit_of(prediction.measure)
    result = next((c for c in proposal.compared if c.measure == prediction.measure), None)
    after = text.measure(result.measured, unit) if result else "–"
    met = {None: "not measured", True: "as predicted", False: "missed"}[result.met if result else None]
    bound = "≤ " if prediction.at_most and prediction.after else ""
    before, predicted = text.measure(prediction.before, unit), text.measure(prediction.after, unit)
    return f"| {code(prediction.measure)} | {before} | {bound}{predicted} | **{after}** | {met} |"


def _unseen(story: Story) -> Iterator[str]:
    if story.unseen:
        yield "## What could not be seen\n"
    for who, why, fix in story.unseen:
        yield f"- {code(who)}: {escape(why)}{f' → {code(fix)}' if fix else ''}"


def _timeline(story: Story) -> Iterator[str]:
    yield "## Timeline\n\n| when | what | |\n| --- | --- | --- |"
    for event in timeline.events(story.run):
        line = timeline.line(event)
        if line is not None:
            when = text.since(story.run.head.started_at, event.at)
            yield f"| {when} | {escape(line.words)} | {escape(line.detail)} |"


def _foot(story: Story) -> Iterator[str]:
    cost = story.cost
    memory = f", {text.size(cost.memory_bytes)} of memory" if cost.memory_bytes else ""
    yield f"Cost of this run: {text.span(cost.cpu_s)} CPU in {text.span(cost.wall_s)}{memory}."
