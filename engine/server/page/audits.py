"""The audit, searched and taken along as a file.

Not here: its rows (``engine.audit``).
"""

from __future__ import annotations

import asyncio
import calendar
import time
from itertools import groupby

from starlette.responses import Response

from engine.auditing import forms
from engine.auditing.entry import Entry
from engine.errors import UsageError
from engine.server import messages as m
from engine.server.page import looks
from engine.server.page.desk import HEADERS, Visit, expect

A_PAGE = 400
#: More rows than this make no file: a shorter time does. The worker gives no more (``errands.MOST_ROWS``).
A_FILE = 10_000
SPANS = (
    ("1d", "1 day", 1),
    ("7d", "7 days", 7),
    ("30d", "30 days", 30),
    ("365d", "a year", 365),
    ("always", "always", 0),
)
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
}


async def show(visit: Visit) -> Response:
    """Rows of the audit, newest run first."""
    request = _wanted(visit, A_PAGE)
    found = expect(await visit.ask(request, timeout_s=35.0), m.AuditFound)
    runs = [(run, list(rows)) for run, rows in groupby(found.rows, key=lambda row: row.run)]
    return await visit.page(
        "audit.html.j2",
        runs=runs,
        count=len(found.rows),
        more=found.more,
        spans=SPANS,
        wanted={name: visit.asked(name) for name in ("text", "target", "since", "from", "until")},
        query=visit.request.url.query,
    )


async def download(visit: Visit) -> Response:
    """The same rows as a file."""
    form = visit.request.path_params["form"]
    if form not in _TYPES:
        raise UsageError(f"there is no audit format {form!r}", fix="one of: html, csv, json")
    found = expect(await visit.ask(_wanted(visit, A_FILE), timeout_s=35.0), m.AuditFound)
    if found.more:
        raise UsageError(
            f"that is more than {A_FILE:,} rows, so no file was made: it would not be whole",
            fix="choose a shorter time, or: runbook audit --format csv",
        )
    made = _html if form == "html" else forms.render
    body = await asyncio.to_thread(made, found.rows, form)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    headers = {
        **HEADERS,
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        "Content-Disposition": f'attachment; filename="audit-{day}.{form}"',
    }
    return Response(body, headers=headers, media_type=_TYPES[form])


def _html(rows: tuple[Entry, ...], _form: str) -> str:
    return looks.render("audit-file.html.j2", rows=rows)


def _wanted(visit: Visit, limit: int) -> m.GetAudit:
    """What the address asks for: words, a target, a stretch of time.

    Raises:
        UsageError: A day is none.
    """
    days = {name: count for name, _, count in SPANS}.get(visit.asked("since", 10) or "30d", 30)
    since = time.time() - days * 86400 if days else 0.0
    if day := visit.asked("from", 10):
        since = _day(day)
    until = _day(day) + 86400 if (day := visit.asked("until", 10)) else None
    return m.GetAudit(
        since=since, until=until, target=visit.asked("target"), text=visit.asked("text"), limit=limit
    )


def _day(words: str) -> float:
    try:
        return float(calendar.timegm(time.strptime(words, "%Y-%m-%d")))
    except ValueError:
        raise UsageError(f"{words!r} is no day", fix="write it as 2026-11-22") from None
