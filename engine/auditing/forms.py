"""The audit's rows as text, CSV, JSON or one HTML page.

Not here: the rows (``engine.auditing.rows``), the page's look (``engine.reports.audit``).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from engine import text
from engine.auditing.entry import Entry
from engine.errors import UsageError

FORMS = ("text", "html", "csv", "json")
#: Characters that a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: What begins a run; all else is indented below it.
_HEADS = frozenset({"run", "dry-run", "refused start"})


def render(found: Sequence[Entry], form: str) -> str:
    """The rows as ``text``, ``html``, ``csv`` or ``json``.

    Raises:
        UsageError: There is no such form.
    """
    must_be_known(form)
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    if form == "csv":
        return _csv(found)
    if form == "html":
        from engine.reports import audit as page  # noqa: PLC0415 - loads the template engine

        return page.render(found)
    return "".join(map(_line, found)) or "nothing happened then\n"


def must_be_known(form: str) -> None:
    """Refuse a form that there is none of.

    Raises:
        UsageError: There is none.
    """
    if form not in FORMS:
        raise UsageError(f"there is no audit format {form!r}", fix=f"one of: {', '.join(FORMS)}")


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
    indent = "    " if entry.run else ""
    if entry.what in _HEADS:
        said = f"{entry.at}  {entry.what} {entry.run}: {entry.subject} on {entry.detail}{by}"
    else:
        what = f"{entry.what:<9} {entry.subject}  {entry.detail}"
        said = f"{indent}{entry.at}  {what}  [{entry.state}{because}]{by}"
    more = [
        entry.what == "change" and entry.leave != entry.by and f"by leave of {entry.leave}",
        entry.verified and f"verified: {entry.verified}",
        entry.later and f"later: {entry.later}",
    ]
    further = f"  ({'; '.join(one for one in more if one)})" if any(more) else ""
    return text.plain(said.replace("  []", "") + further) + "\n"
