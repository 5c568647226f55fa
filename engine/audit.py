"""The audit: every run, change, undo and refusal in the journal, and whether it was altered.

One promise: nothing is left out and nothing summed up: one row per thing that somebody may
have to answer for, with who, what, when, by whose leave and how it ended.

Not here: the chain of hashes (``engine.journal.chain``).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine import record, text
from engine.errors import UsageError
from engine.reports.story import Attempt, Proposal, tell

if TYPE_CHECKING:
    from engine.journal import Journal
    from engine.journal.chain import Damage

#: Characters that a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    Attributes:
        at: ISO-8601, UTC.
        what: ``run``, ``change``, ``refusal``, ``resumed``, ``end``.
        by: Who asked for the run; for a change who allowed it.
        state: The outcome, or how the change stands.
    """

    at: str
    run: str
    what: str
    subject: str
    detail: str
    state: str
    by: str
    because: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--verify`` found.

    Attributes:
        tip_row, tip_hash: The end of the chain: copied elsewhere, it detects a rewritten journal.
    """

    whole: bool
    tip_row: int
    tip_hash: str
    damages: tuple[dict[str, object], ...] = ()


def entries(journal: Journal) -> list[Entry]:
    """All rows, oldest run first. Cost: reads every run whole."""
    ids = [run.head.id for run in reversed(journal.runs())]
    return [entry for run in ids for entry in of_run(journal.run(run))]


def of_run(run: record.Run) -> Iterator[Entry]:
    """The rows of one run: its beginning, its changes and refusals, who took it up, its end."""
    head, story = run.head, tell(run)
    target = f"{head.target or '-'} ({head.target_ref})" if head.target_ref else head.target or "-"
    kind = "dry-run" if head.dry_run else "run"
    yield _entry(run, head.started_at, kind, head.runbook, target, state=run.state, by=head.by)
    for proposal in (one for one in story.proposals if not one.run):
        yield from _of_proposal(run, proposal)
    for event in run.events:
        if isinstance(event, record.Resumed):
            yield _entry(run, event.at, "resumed", head.runbook, event.doing, state="", by=event.by)
    state, because = story.outcome, story.sentence
    yield _entry(run, story.ended_at, "end", head.runbook, target, state=state, by=head.by, because=because)


def _of_proposal(run: record.Run, proposal: Proposal) -> Iterator[Entry]:
    """A plan's rows: one per announced change; one when it was held back."""
    plan = proposal.plan
    for attempt in proposal.attempts:
        yield _of_attempt(run, proposal, attempt)
    if plan.changes and not proposal.attempts:
        steps = ", ".join(f"{c.knob.name}: {c.before_text} → {c.after_text}" for c in plan.changes)
        what = "rehearsed" if proposal.dry else "refusal"
        because = "; ".join(d.because for d in proposal.decisions if d.answer != "allow")
        yield _entry(
            run, proposal.at, what, plan.remediation, steps,
            state=proposal.state, by=proposal.by, because=because,
        )  # fmt: skip


def _of_attempt(run: record.Run, proposal: Proposal, attempt: Attempt) -> Entry:
    change = attempt.intended.change
    detail = f"{change.where or change.knob.name}: {change.before_text} → {change.after_text}"
    because = attempt.settled.because if attempt.settled is not None else "its end is not on record"
    at, name = attempt.intended.at, proposal.plan.remediation
    by = proposal.by or run.head.by
    return _entry(run, at, "change", name, detail, state=attempt.state, by=by, because=because)


def _entry(  # noqa: PLR0913 - a row has that many columns
    run: record.Run,
    at: float,
    what: str,
    subject: str,
    detail: str,
    *,
    state: str,
    by: str,
    because: str = "",
) -> Entry:
    return Entry(
        at=text.moment(at) or "", run=run.head.id, what=what, subject=subject,
        detail=detail, state=state, by=by, because=because,
    )  # fmt: skip


def verify(journal: Journal) -> Verified:
    """Check the chain of hashes over all rows. Cost: reads the whole journal."""
    row, digest = journal.tip()
    found: Sequence[Damage] = journal.verify()
    damages = tuple(msgspec.to_builtins(damage) for damage in found)
    return Verified(whole=not found, tip_row=row, tip_hash=digest, damages=damages)


def sentence(verdict: Verified) -> str:
    """What was found, for people."""
    if verdict.whole:
        return (
            f"whole: {text.several(verdict.tip_row, 'row')}, none altered, removed or moved\n"
            f"  tip: row {verdict.tip_row}, {verdict.tip_hash}\n"
            f"  keep the tip elsewhere: it shows a journal that was rewritten from the beginning"
        )
    lines = [f"  row {damage['seq']}: {damage['sentence']}" for damage in verdict.damages]
    return "\n".join([f"ALTERED: {text.several(len(lines), 'place')}", *map(text.plain, lines)])


def render(found: Sequence[Entry], form: str) -> str:
    """The rows as ``text``, ``csv`` or ``json``.

    Raises:
        UsageError: There is no such form.
    """
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    if form == "csv":
        return _csv(found)
    if form != "text":
        raise UsageError(f"there is no audit format {form!r}", fix="one of: text, csv, json")
    return "".join(_line(entry) for entry in found) or "the journal holds no run yet\n"


def _csv(found: Sequence[Entry]) -> str:
    """Comma-separated, as spreadsheets read it; no cell can become a formula."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(Entry.__struct_fields__)
    for entry in found:
        cells = [text.plain(str(getattr(entry, name))) for name in Entry.__struct_fields__]
        rows.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return out.getvalue()


def _line(entry: Entry) -> str:
    """One row for people; what belongs to a run is indented below its beginning."""
    by = f", by {entry.by}" if entry.by else ""
    because = f": {entry.because}" if entry.because else ""
    if entry.what in {"run", "dry-run"}:
        return (
            text.plain(f"{entry.at}  {entry.what} {entry.run}: {entry.subject} on {entry.detail}{by}") + "\n"
        )
    said = f"    {entry.at}  {entry.what:<9} {entry.subject}  {entry.detail}  [{entry.state}{because}]{by}"
    return text.plain(said.replace("  []", "")) + "\n"
