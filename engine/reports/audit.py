"""The audit as one HTML page: a section per run, a row per thing that somebody may have to answer for.

One promise: the file stands alone and runs no script; nothing in it that came from an alert, an agent or a
runbook is read as markup. In light and dark, on a phone and on paper.

Not here: the rows (``engine.auditing.rows``), the look that all reports share (``templates/report.css``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine import text
from engine.auditing.entry import Entry
from engine.reports.html import environment

_BEGINNINGS = frozenset({"run", "dry-run", "refused start"})
#: How what happened is coloured; all else by its state.
_TONES = {
    "approval": "good",
    **dict.fromkeys(("request", "question", "lease", "answer"), "info"),
    **dict.fromkeys(("denial", "refusal", "expiry", "void", "withdrawal", "undo"), "warn"),
    "barred": "bad",
}
#: What the tiles count: words, and the rows that are meant.
_COUNTED = (
    ("Runs", frozenset({"run", "dry-run", "refused start"})),
    ("Changes", frozenset({"change"})),
    ("Approvals", frozenset({"approval"})),
    ("Held back", frozenset({"refusal", "denial", "expiry", "void"})),
    ("Taken back", frozenset({"undo"})),
    ("Barred", frozenset({"barred"})),
)


class Section(NamedTuple):
    """All rows of one run; ``head`` and ``end`` where they are within the time asked for."""

    run: str
    head: Entry | None
    end: Entry | None
    rows: tuple[Entry, ...]


def render(found: Sequence[Entry]) -> str:
    """The whole page. Cost: about 0.1 s and 0.1 ms a row."""
    counts = Counter(row.what for row in found)
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            sections=list(_sections(found)),
            tiles=[(words, sum(counts[one] for one in what)) for words, what in _COUNTED],
            first=min((row.at for row in found), default=""),
            last=max((row.at for row in found), default=""),
            count=len(found),
            made=text.moment(time.time()),
            tones=_TONES,
        )
    )


def _sections(found: Iterable[Entry]) -> Iterable[Section]:
    """Rows by run: runs as they first come up, within each in the order in which things happened."""
    by_run: dict[str, list[Entry]] = {}
    for row in found:
        by_run.setdefault(row.run, []).append(row)
    for run, group in by_run.items():
        rows = tuple(sorted(group, key=lambda row: row.at))
        head = next((row for row in rows if row.what in _BEGINNINGS), None)
        end = next((row for row in rows if row.what == "end"), None)
        yield Section(run, head, end, tuple(row for row in rows if row is not head))
