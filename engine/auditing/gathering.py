"""Which runs an audit is about, and all their rows.

One promise: only the runs that something may have happened in are read, and of those only what the audit
tells of; what a probe saw is never read.

Not here: a run's rows (``engine.auditing.rows``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine import text
from engine.auditing.entry import Entry
from engine.auditing.rows import of_run
from engine.journal.rows import Cut, Keyed

if TYPE_CHECKING:
    from engine.journal import Journal
    from engine.record import RunHead


def entries(
    journal: Journal, *, since: float = 0.0, until: float | None = None, target: str = "", run: str = ""
) -> list[Entry]:
    """All rows from ``since`` on and before ``until`` (epoch seconds), oldest run first.

    Args:
        journal: Opened for reading or writing.
        since: What happened before is left out, also of runs that are within.
        until: What happened then or later is left out.
        target: Only of runs on this target: a name, or a part of its ref.
        run: Only of this run and those that it called, by its id, its beginning or ``last``.

    Raises:
        UsageError, UnknownName: There is no such run.
    """
    return list(each(journal, since=since, until=until, target=target, run=run))


def each(
    journal: Journal, *, since: float = 0.0, until: float | None = None, target: str = "", run: str = ""
) -> Iterator[Entry]:
    """The same one after the other. Cost: 0.2 ms a run that is within."""
    last = float("inf") if until is None else until
    first, end = text.moment(since) or "", "" if until is None else text.moment(until) or ""
    if run:
        wanted = journal.run(run).head.id
        heads = [journal.head(name) for name in (wanted, *journal.called_by(wanted))]
    else:
        heads = journal.active(since, last)
        yield from (_note(one) for one in journal.notes() if since <= one.at < last and not target)
    for head in heads:
        if _is_about(head, target):
            rows = of_run(journal.brief(head.id))
            yield from (row for row in rows if first <= row.at and (not end or row.at < end))


def _is_about(head: RunHead, target: str) -> bool:
    return not target or target == head.target or target in head.target_ref


def _note(one: Keyed | Cut) -> Entry:
    """What the chain says of itself."""
    at = text.moment(one.at) or ""
    if isinstance(one, Keyed):
        what, subject, detail = "key", one.key, "from here on rows are made with this key"
    else:
        what, subject = "cut", f"rows {one.first} to {one.last}"
        detail = "had been cut off at the end when the journal was opened to go on"
    return Entry(at=at, run="", what=what, subject=subject, detail=detail, state="", by="", because="")
