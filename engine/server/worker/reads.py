"""What the page and commands look at: the journal, the queue, the runbooks; nothing here writes.

One promise: looking never holds up an alert: each thread reads on connections of its own (SQLite's WAL lets
readers and the writer pass each other), and evidence is passed on undecoded. Of CPU it takes its share:
a list with a filter decodes up to ``LOOKED_THROUGH`` heads.

Not here: who may look (``answering``), agents (``errands``).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from engine.errors import UnknownName
from engine.journal import Journal, locks, rows
from engine.journal.trouble import explained
from engine.record import RunHead
from engine.server.messages import (
    AlertRow,
    GetAlerts,
    GetRun,
    GetRuns,
    Happened,
    RunFound,
    RunRow,
    TargetRow,
)
from engine.server.worker.job import Job
from engine.server.worker.queue import Queue

T = TypeVar("T")

#: So many threads read at once.
THREADS = 2
#: So many runs are looked through for those that are wanted, and so many given at most.
LOOKED_THROUGH, MOST = 20_000, 1000
_HEADS = (
    "SELECT head FROM runs WHERE instr(id, '.') = 0 AND started_at < ? "
    "ORDER BY started_at DESC, number DESC LIMIT ?"
)


class Sight(NamedTuple):
    """One thread's connections."""

    journal: Journal
    queue: Queue
    db: sqlite3.Connection


class Reads:
    """Reads in threads of their own. Its methods raise ``RunbookError``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pool = ThreadPoolExecutor(THREADS, "reads")
        self._local = threading.local()

    async def do(self, what: Callable[[Sight], T]) -> T:
        """Look at something. Raises ``RunbookError``, whatever SQLite said."""

        def look() -> T:
            with explained(self.directory / "journal.db"):
                return what(self._sight())

        return await asyncio.get_running_loop().run_in_executor(self._pool, look)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _sight(self) -> Sight:
        sight: Sight | None = getattr(self._local, "sight", None)
        if sight is None:
            journal = Journal.open(self.directory, write=False)
            address = f"{(self.directory / 'journal.db').absolute().as_uri()}?mode=ro"
            db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
            db.execute("PRAGMA query_only = ON")
            sight = Sight(journal, Queue.open(self.directory, write=False), db)
            self._local.sight = sight
        return sight


# ── runs ────────────────────────────────────────────────────────────────────────


def runs(asked: GetRuns, sight: Sight, jobs: Iterable[Job]) -> tuple[RunRow, ...]:
    """Runs in a list, newest first: those that wait for their turn, then those that were begun."""
    limit = max(0, min(asked.limit, MOST))
    first = asked.before is None
    found = [_queued(job) for job in jobs if first and job.doing == "start" and not _is_begun(job, sight)]
    found = [one for one in found if _is_wanted(one, asked)]
    before = float("inf") if asked.before is None else asked.before
    for (text,) in sight.db.execute(_HEADS, (before, LOOKED_THROUGH)):
        if len(found) >= limit:
            break
        row = _row(rows.head_of(text), sight.journal.directory)
        if _is_wanted(row, asked):
            found.append(row)
    return tuple(found[:limit])


def run(asked: GetRun, sight: Sight, job: Job | None) -> RunFound:
    """A whole run, and those that it called. Raises ``UnknownName``."""
    try:
        head = sight.journal.head(asked.run)
    except UnknownName:
        if job is None:
            raise
        return RunFound(head=_head_of_job(job), state="queued")
    bodies = [(seq, body) for seq, body in sight.journal.bodies(head.id, asked.after) if not _is_head(body)]
    inner = [one for one in sight.journal.called_by(head.id) if one.rpartition(".")[0] == head.id]
    called = tuple(run(GetRun(run=one, after=asked.after), sight, None) for one in inner)
    last = max((asked.after, *(seq for seq, _ in bodies), *(one.last for one in called)))
    return RunFound(
        head=head,
        state=state_of(head, sight.journal.directory),
        events=tuple(msgspec.Raw(body) for _, body in bodies),
        called=called,
        last=last,
    )


def waits(run: str, sight: Sight, job: Job | None) -> bool:
    """Whether a run waits for an answer. Raises ``UnknownName`` where there is neither run nor job."""
    try:
        return sight.journal.head(run).outcome == "waiting"
    except UnknownName:
        if job is None:
            raise
        return False


def missed(run: str, after: int, sight: Sight) -> list[Happened]:
    """Rows of a run, and of all that it called, behind a row; in order."""
    found = []
    for one in (run, *sight.journal.called_by(run)):
        found += [
            Happened(run=one, state="running", seq=seq, event=msgspec.Raw(body))
            for seq, body in sight.journal.bodies(one, after)
            if not _is_head(body)
        ]
    return sorted(found, key=lambda happened: happened.seq)


def state_of(head: RunHead, directory: Path) -> str:
    """``running``, ``waiting``, ``interrupted`` or ``ended``."""
    if head.outcome == "waiting":
        return "waiting"
    if head.ended_at is not None:
        return "ended"
    return "running" if locks.run_is_held(directory, head.id) else "interrupted"


def _row(head: RunHead, directory: Path) -> RunRow:
    return RunRow(
        id=head.id,
        runbook=head.runbook,
        target=head.target,
        state=state_of(head, directory),
        outcome=head.outcome,
        sentence=head.sentence,
        by=head.by,
        alert=head.alert,
        dry_run=head.dry_run,
        started_at=head.started_at,
        ended_at=head.ended_at,
    )


def _is_begun(job: Job, sight: Sight) -> bool:
    return sight.db.execute("SELECT 1 FROM runs WHERE id = ?", (job.id,)).fetchone() is not None


def _queued(job: Job) -> RunRow:
    return RunRow(
        id=job.id, runbook=job.runbook, target=job.target, state="queued", by=job.by, alert=job.alert,
        dry_run=job.dry_run, started_at=job.queued_at,
    )  # fmt: skip


def _head_of_job(job: Job) -> RunHead:
    return RunHead(
        id=job.id, runbook=job.runbook, target=job.target, inputs=dict(job.inputs), dry_run=job.dry_run,
        started_at=job.queued_at, by=job.by, alert=job.alert,
    )  # fmt: skip


def _is_wanted(row: RunRow, asked: GetRuns) -> bool:
    return (
        (not asked.target or row.target == asked.target)
        and (not asked.runbook or row.runbook == asked.runbook)
        and (not asked.outcome or asked.outcome in {row.outcome, row.state})
    )


def _is_head(body: bytes) -> bool:
    return body.startswith(b'{"kind":"begun"')


# ── alerts ──────────────────────────────────────────────────────────────────────


def alerts(asked: GetAlerts, sight: Sight) -> tuple[AlertRow, ...]:
    """Alerts with what was decided about each, newest first."""
    return tuple(sight.queue.alerts(asked))


def last_ends(sight: Sight) -> Mapping[str, tuple[str, str]]:
    """Target (by its ref where the run has found it, else as it was named) → its last run and its end."""
    found: dict[str, tuple[str, str]] = {}
    for (text,) in sight.db.execute(_HEADS, (float("inf"), 500)):
        head = rows.head_of(text)
        target = head.target_ref or head.target
        if target and head.ended_at is not None:
            found.setdefault(target, (head.id, head.outcome or ""))
    return found


def health(
    row: TargetRow, firing: Iterable[tuple[str, str]], ends: Mapping[str, tuple[str, str]]
) -> TargetRow:
    """An agent with what alerts and runs tell of it."""
    names = {row.name, row.ref, f"{row.name}:{row.pid}"}
    alerts = tuple(sorted({name for name, target in firing if target in names}))
    told = (row.ref, f"{row.name}:{row.pid}", row.name)
    last, outcome = next((ends[name] for name in told if name in ends), ("", ""))
    state, because = row.health, row.because
    if state != "down" and (alerts or outcome in {"unfixed", "failed"}):
        state = "troubled"
        because = f"{alerts[0]} fires" if alerts else f"run {last} ended {outcome}"
    return msgspec.structs.replace(
        row, health=state, because=because, firing=alerts, last_run=last, last_outcome=outcome
    )
