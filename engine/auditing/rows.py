"""From one run to its rows, in the order in which things happened.

One promise: nothing is left out and nothing summed up; and the rows of a run are the same before and after
its details were dropped.

Not here: which runs (``engine.auditing.gathering``), changes (``engine.auditing.changes``).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine import record, text
from engine.auditing.changes import of_changes
from engine.auditing.entry import Entry, way
from engine.reports.story import Story, tell

#: What a ruling is called.
_RULINGS = {
    "approved": "approval",
    "denied": "denial",
    "expired": "expiry",
    "void": "void",
    "withdrawn": "withdrawal",
}
_ALERTED = {"asked": "asked for the run", "joined": "joined it", "resolved": "resolved"}


def of_run(run: record.Run) -> Iterator[Entry]:
    """The rows of one run: its beginning, all that somebody may have to answer for, its end."""
    story = tell(run)
    middle = [*of_changes(run, story), *(row for event in run.events for row in _of_event(run, event))]
    if run.head.ended_at is not None or run.state != "running":
        middle.append(_ended(run, story))
    yield _begun(run)
    yield from (row for _, row in sorted(middle, key=lambda found: found[0]))


def _begun(run: record.Run) -> Entry:
    """A run's own row; one that ended before it did anything was refused its start."""
    head = run.head
    kind = "dry-run" if head.dry_run else "run"
    idle = all(isinstance(event, record.Alerted | record.Barred | record.Ended) for event in run.events)
    if idle and head.outcome in {"refused", "failed"}:
        kind = "refused start"
    under = f"the policy {head.policy}" if head.policy else "the policy of this machine"
    state = "waiting" if head.outcome == "waiting" else run.state
    return entry(
        run, head.started_at, kind, head.runbook, _target(run), state=state, by=head.by, leave=under
    )[1]


def _ended(run: record.Run, story: Story) -> tuple[float, Entry]:
    """How it ended; for a run that was cut off the moment of its last event."""
    at, row = entry(
        run, story.ended_at, "end", run.head.runbook, _target(run), state=story.outcome, by=run.head.by,
        because=story.sentence,
    )  # fmt: skip
    return at, msgspec.structs.replace(row, verified=story.resolved or story.still_firing)


def _target(run: record.Run) -> str:
    head = run.head
    return f"{head.target or '-'} ({head.target_ref})" if head.target_ref else head.target or "-"


def _of_event(run: record.Run, event: record.Event) -> Iterator[tuple[float, Entry]]:
    """What one event says that somebody may have to answer for."""
    head = run.head
    match event:
        case record.Alerted():
            yield entry(
                run, event.at, "alert", event.name, event.summary or event.alert,
                state=_ALERTED[event.did], by=event.sender,
            )  # fmt: skip
        case record.Requested():
            until = text.moment(event.decide_by)
            detail = f"waits for a yes until {until}; plan {event.digest[:12]}"
            yield entry(run, event.at, "request", event.remediation, detail, state="waiting", by=head.by)
        case record.Asked(expires_at=float()):
            yield entry(
                run,
                event.at,
                "question",
                event.question,
                f"to {event.who or 'anybody'}",
                state="waiting",
                by=head.by,
            )
        case record.Answered():
            yield _answered(run, event)
        case record.Ruled():
            yield _ruled(run, event)
        case record.Barred():
            yield entry(
                run, event.at, "barred", event.wanted, way(event.via), state="refused",
                by=event.by, because=event.because,
            )  # fmt: skip
        case record.Resumed():
            yield entry(run, event.at, "resumed", head.runbook, event.doing, by=event.by)
        case record.Pruned():
            rows = sum(last - first + 1 for first, last in event.rows)
            kept = text.span(event.keep_s)
            detail = f"details of {text.several(rows, 'row')} were dropped; kept whole for {kept}"
            yield entry(run, event.at, "pruned", head.runbook, detail, by=event.by)
        case _:
            pass


def _answered(run: record.Run, event: record.Answered) -> tuple[float, Entry]:
    if event.expired:
        return entry(
            run,
            event.at,
            "expiry",
            "question",
            event.step,
            state="expired",
            because="nobody answered in time",
        )
    values = text.setting(event.values)
    return entry(
        run, event.at, "answer", values, way(event.via), state="answered", by=event.by, because=event.comment
    )


def _ruled(run: record.Run, event: record.Ruled) -> tuple[float, Entry]:
    names = {one.step: one.remediation for one in run.events if isinstance(one, record.Requested)}
    detail = f"plan {event.digest[:12]}{', ' if event.via else ''}{way(event.via)}"
    why = "; ".join(filter(None, (event.because, event.comment)))
    subject = names.get(event.step, event.step)
    what = _RULINGS[event.answer]
    return entry(run, event.at, what, subject, detail, state=event.answer, by=event.by, because=why)


def entry(  # noqa: PLR0913 - a row has that many columns
    run: record.Run, at: float, what: str, subject: str, detail: str, *, state: str = "", by: str = "",
    because: str = "", leave: str = "",
) -> tuple[float, Entry]:  # fmt: skip
    """A row of a run, with its moment to put it in order."""
    row = Entry(
        at=text.moment(at) or "", run=run.head.id, what=what, subject=subject, detail=detail, state=state,
        by=by, because=because, target=run.head.target, leave=leave,
    )  # fmt: skip
    return at, row
