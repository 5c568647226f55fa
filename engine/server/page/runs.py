"""The list of runs, one run, its numbers, its report, and what can be done with it.

Not here: answering what it asks (``answering``), starting one (``start``).
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache

import msgspec
from starlette.responses import Response

from engine import reports
from engine.errors import UsageError
from engine.record import Run
from engine.reports import charts, flame, folded
from engine.reports.axis import Axis, pauses
from engine.reports.html import inputs_of
from engine.reports.story import Story
from engine.server import messages as m
from engine.server.page import series, told
from engine.server.page.desk import HEADERS, UNDO_S, Visit, expect, number

A_PAGE = 50
OUTCOMES = (
    "waiting", "fixed", "mitigated", "healthy", "unfixed", "refused", "failed", "interrupted", "rehearsed",
)  # fmt: skip
_OPEN = ("queued", "running")
_TYPES = {
    "html": "text/html; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
}
#: The report is a page of its own: no cookie of ours reaches it, and only its flame graph's script runs.
_REPORT_CSP = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


# ── the list ────────────────────────────────────────────────────────────────────


async def show_list(visit: Visit) -> Response:
    """All runs: those that wait for somebody first, then those that go on, then the rest."""
    before = number(visit.asked("before", 30))
    wanted = {name: visit.asked(name) for name in ("target", "runbook", "outcome")}
    filtered = m.GetRuns(limit=A_PAGE + 1, before=before, **wanted)
    waiting = m.GetRuns(limit=A_PAGE, target=wanted["target"], runbook=wanted["runbook"], outcome="waiting")
    found, open_ = await asyncio.gather(visit.ask(filtered), visit.ask(waiting))
    rows = expect(found, m.Runs).rows
    more, rows = len(rows) > A_PAGE, rows[:A_PAGE]
    first = before is None and wanted["outcome"] in {"", "waiting"}
    held = tuple(row for row in expect(open_, m.Runs).rows if row.state == "waiting") if first else ()
    rest = tuple(row for row in rows if row.state != "waiting" or not first)
    return await visit.page(
        "runs.html.j2",
        waiting=held,
        going=tuple(row for row in rest if row.state in _OPEN),
        rows=tuple(row for row in rest if row.state not in _OPEN),
        more=rows[-1].started_at if more and rows else None,
        before=before,
        wanted=wanted,
        outcomes=OUTCOMES,
    )


# ── one run ─────────────────────────────────────────────────────────────────────


async def find(visit: Visit) -> m.RunFound:
    """The run that the path names."""
    return expect(await visit.ask(m.GetRun(run=visit.request.path_params["run"])), m.RunFound)


async def show(visit: Visit) -> Response:
    """One run, as it happens or as it ended."""
    found = await find(visit)
    return await page_of(visit, found, "run.html.j2")


async def page_of(
    visit: Visit, found: m.RunFound, template: str, status: int = 200, **more: object
) -> Response:
    """A page about a run: everything that is derived from it, at once and beside the loop."""
    facts = await asyncio.to_thread(_facts, found, drawn=not visit.live)
    return await visit.page(template, status, **(facts | {"values": {}, "problem": "", "sure": False} | more))


def _facts(found: m.RunFound, *, drawn: bool) -> dict[str, object]:
    story = told.story_of(found)
    going = found.state in _OPEN
    return {
        "found": found,
        "head": found.head,
        "story": story,
        "state": found.state,
        "word": found.state if found.state in {*_OPEN, "waiting"} else story.outcome,
        "going": going,
        "inputs": inputs_of(found.head),
        "pauses": pauses(story.run),
        "pending": told.waits_with(story.run) if found.state == "waiting" else None,
        "step": told.step_now(story.run) if going else None,
        "goal": told.goal(story),
        "lines": tuple(told.lines(story.run)),
        "charts": _drawn(_Drawing(story, found.last)) if drawn else (),
        "flames": _has_flames(story),
        "until": time.time() if going else story.ended_at,
    }


def _has_flames(story: Story) -> bool:
    """Whether the report holds a flame graph, which needs more room than this page."""
    tables = (rows for seen in story.evidence for rows in seen.tables.values() if rows)
    return any(rows[0].keys() >= folded.COLUMNS for rows in tables)


class _Drawing:
    """A story as a key: the same run at the same row is drawn once."""

    def __init__(self, story: Story, last: int) -> None:
        self.story = story
        self._key = (story.run.head.id, last, len(story.run.events))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Drawing) and self._key == other._key


@lru_cache(maxsize=32)
def _drawn(drawing: _Drawing) -> tuple[charts.Chart, ...]:
    story = drawing.story
    axis = Axis(story.run.head.started_at, story.ended_at, pauses(story.run))
    return tuple(charts.draw(story.evidence, story.attempts, axis))


async def show_series(visit: Visit) -> Response:
    """The numbers of a run so far, for the charts of a run that goes on."""
    found = await find(visit)

    def made() -> bytes:
        story = told.story_of(found)
        end = time.time() if found.state in _OPEN else story.ended_at
        return msgspec.json.encode(series.document(story, end))

    return Response(await asyncio.to_thread(made), headers=HEADERS, media_type="application/json")


# ── its report ──────────────────────────────────────────────────────────────────


async def report(visit: Visit) -> Response:
    """The report, to be looked at in a page of its own."""
    body = await asyncio.to_thread(_rendered, await find(visit), "html")
    script = f"; script-src '{flame.script_hash()}'" if "<script" in body else ""
    headers = {**HEADERS, "Content-Security-Policy": _REPORT_CSP + script}
    return Response(body, headers=headers, media_type=_TYPES["html"])


async def download(visit: Visit) -> Response:
    """The report as a file."""
    form = visit.request.path_params["form"]
    if form not in _TYPES:
        raise UsageError(f"there is no report format {form!r}", fix="one of: html, md, txt, json")
    found = await find(visit)
    body = await asyncio.to_thread(_rendered, found, form)
    name = "".join(letter if letter.isalnum() or letter in ".-_" else "-" for letter in found.head.id)
    headers = {
        **HEADERS,
        "Content-Security-Policy": _REPORT_CSP,
        "Content-Disposition": f'attachment; filename="{name}.{form}"',
    }
    return Response(body, headers=headers, media_type=_TYPES[form])


def _rendered(found: m.RunFound, form: str) -> str:
    run: Run = told.read(found)
    return reports.render(run, reports.format_named(form))


# ── what can be done with it ────────────────────────────────────────────────────


async def stop(visit: Visit) -> Response:
    """Ask it to stop in good order."""
    return await _do(visit, m.StopRun(run=visit.request.path_params["run"]))


async def undo(visit: Visit) -> Response:
    """Take back what it changed."""
    return await _do(visit, m.UndoRun(run=visit.request.path_params["run"]))


async def _do(visit: Visit, request: m.StopRun | m.UndoRun) -> Response:
    done = expect(await visit.ask(request, timeout_s=UNDO_S), m.Done)
    return visit.go(visit.request.url.path.rpartition("/")[0], done.sentence)
