"""The queue on disk: alerts, what was decided about each, and the runs that they ask for.

One promise: an alert and the run that it asks for are on disk in one transaction before anybody is
told that they were taken; nothing accepted is lost, and no alert asks for two runs.

``queue.db`` in the state directory (0600, SQLite, WAL, ``synchronous=FULL``). One writer, the worker, in
one thread. Cost: offers that come together share a commit; 0.1 ms of CPU an alert.

Not here: decisions (``engine.server.worker.intake``), which run is next (``schedule``), runs themselves:
the journal alone tells what a run did.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from engine.errors import RunbookError
from engine.journal import rows
from engine.journal.trouble import way_out
from engine.server.alerts.alert import Alert
from engine.server.messages import AlertRow, Considered, GetAlerts
from engine.server.worker import tables
from engine.server.worker.intake import Before, Decided
from engine.server.worker.job import Job

#: So many rows of the past go at once, so that nobody waits for it.
PRUNED_AT_ONCE = 500


class QueueUnavailable(RunbookError):
    """The queue can't be written: nothing is taken."""


class Queue:
    """The queue. Open it with ``Queue.open``; use it from one thread at a time."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self.db = db

    @classmethod
    def open(cls, directory: Path, *, write: bool = True) -> Self:
        """Open the queue of a state directory, making it when ``write`` is set.

        Raises:
            QueueUnavailable: It can't be opened, or written.
        """
        path = directory / "queue.db"
        with explained(path):
            if write:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            address = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
            db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10, check_same_thread=False)
            try:
                _prepare(db, write=write)
            except BaseException:
                db.close()
                raise
            return cls(path, db)

    def make(self, schema: str) -> None:
        """Make further tables in the same file, where they are missing."""
        with explained(self.path):
            self.db.executescript(schema)

    def close(self) -> None:
        """Let the file go."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when this ends.

        Raises:
            QueueUnavailable: Nothing of it was written.
        """
        with explained(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a transaction that may fail without the rest."""
        self.db.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO part")
            raise
        finally:
            self.db.execute("RELEASE part")

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement finds. Raises ``QueueUnavailable``."""
        with explained(self.path):
            return self.db.execute(statement, values).fetchall()

    def do(self, statement: str, *values: object) -> int:
        """Change rows; gives how many. Raises ``QueueUnavailable``."""
        with explained(self.path):
            return self.db.execute(statement, values).rowcount

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self.db.execute(statement, values).fetchone()
        return row

    # ── what an alert is decided from ───────────────────────────────────────────

    def known(self, alert: str) -> Before | None:
        """What became of an alert that came before; None for news."""
        row = self._one(tables.ALERT, alert)
        return Before(*row) if row else None

    def has_resolved(self, fingerprint: str, starts_at: float) -> bool:
        """Whether it is known that this alert, begun then or later, is over."""
        return self._one(tables.RESOLVED, fingerprint, starts_at) is not None

    def run_of(self, fingerprint: str, starts_at: float) -> str:
        """The run that a firing alert started or joined; empty for none."""
        row = self._one(tables.RUN_OF, fingerprint, starts_at)
        return str(row[0]) if row else ""

    def last_job(self, runbook: str, target: str, *, dry_run: bool) -> Job | None:
        """The newest run of a runbook on a target; dry-runs only where one is wanted."""
        row = self._one(tables.LAST_JOB, runbook, target, dry_run)
        return job_of(row) if row else None

    def last_of(self, fingerprint: str) -> tuple[Job, float] | None:
        """The run of this alert when it fired last, and since when it fired then."""
        row = self._one(tables.JOB_OF_ALERT, fingerprint)
        return (job_of(row[:-1]), row[-1]) if row else None

    def is_still_firing(self, run: str) -> bool:
        """Whether some alert of a run has not resolved."""
        return self._one(tables.STILL_FIRING, run) is not None

    # ── writing ─────────────────────────────────────────────────────────────────

    def due(self, now: float, at_most: int, *, has_room: bool) -> list[tuple[Alert, str, float]]:
        """Alerts to be judged again, each with its sender and when it came last.

        Those that found no room come first, and only while there is some.
        """
        found = self.rows(tables.DUE, 0.0 if has_room else 1e-9, now, at_most)
        return [(msgspec.json.decode(body, type=Alert), sender, last_at) for body, sender, last_at in found]

    def add_alert(self, alert: Alert, sender: str, decided: Decided, now: float, *, told: bool) -> None:
        """Write down an alert and what became of it; ``told``: its run need not be told of it.

        The alert comes without secrets (``desk``), so nothing that was decided from it holds any.
        """
        self.db.execute(
            tables.ADD_ALERT,
            (
                alert.key, rows.plain(alert), sender, now, now, decided.fate, decided.because, decided.run,
                rows.plain(decided.trace), alert.name, alert.fingerprint, alert.starts_at, alert.status,
                told, decided.due,
            ),
        )  # fmt: skip

    def change_alert(self, alert: str, decided: Decided) -> None:
        """An alert that came before has got another fate, or the same for another reason."""
        fate = decided.still or decided.fate
        told = fate not in {"started", "joined"}
        values = (fate, decided.because, decided.run, rows.plain(decided.trace), told, decided.due)
        self.db.execute(tables.CHANGE_ALERT, (*values, alert))

    def move_alerts(self, job: Job, new: Job, because: str) -> None:
        """Alerts of a run that fire still ask for another one; its journal is told of the one that asked."""
        self.db.execute(tables.MOVE_ALERTS, (new.id, because, job.alert, job.id))

    def not_due(self, alert: str) -> None:
        """An alert is judged again only when it comes."""
        self.db.execute(tables.NOT_DUE, (alert,))

    def see_again(self, alert: str, now: float) -> None:
        """An alert came that is known already."""
        self.db.execute(tables.SEEN_AGAIN, (now, alert))

    def add_job(self, job: Job) -> None:
        """Write down a run that is to be."""
        self.do(
            tables.ADD_JOB,
            job.id, job.runbook, job.path, job.target, rows.encode(job.inputs), job.alert, job.by,
            job.dry_run, job.doing, job.state, job.tries, job.queued_at, job.started_at, job.ended_at,
            job.outcome, job.due,
        )  # fmt: skip

    def change_job(self, job: Job) -> Job:
        """How a run stands now."""
        values = (job.doing, job.state, job.tries, job.started_at, job.ended_at, job.outcome, job.due)
        self.do(tables.CHANGE_JOB, *values, job.id)
        return job

    def count(self, kind: str, name: str, by: float = 1) -> None:
        """Add to a counter."""
        self.do(tables.ADD_TO, kind, name, by)

    def prune(self, before: float) -> int:
        """Forget some alerts not heard of since ``before``, and runs that no alert asks for any more."""
        with self.transaction():
            alerts = self.do(tables.OLD_ALERTS, before, PRUNED_AT_ONCE)
            return alerts + self.do(tables.OLD_JOBS, before, PRUNED_AT_ONCE)

    # ── looking ─────────────────────────────────────────────────────────────────

    def job(self, run: str) -> Job | None:
        """A run that was accepted; None when it was not, here."""
        found = self.rows(tables.JOB, run)
        return job_of(found[0]) if found else None

    def queued(self) -> int:
        """How many runs wait for their turn."""
        return int(self.rows(tables.QUEUED)[0][0])

    def without_room(self) -> int:
        """How many alerts wait until there is room for a run of theirs."""
        return int(self.rows(tables.FULL)[0][0])

    def open_jobs(self) -> list[Job]:
        """All that have not ended, oldest first."""
        return [job_of(row) for row in self.rows(tables.OPEN_JOBS)]

    def counted(self) -> dict[str, dict[str, float]]:
        """All counters, by kind."""
        found: dict[str, dict[str, float]] = {}
        for kind, name, value in self.rows(tables.COUNTERS):
            found.setdefault(kind, {})[name] = value
        return found

    def alerts(self, asked: GetAlerts) -> list[AlertRow]:
        """Alerts with what was decided about each, newest first."""
        before = float("inf") if asked.before is None else asked.before
        wanted = (asked.alert, asked.name, asked.fate, asked.run, before, max(0, min(asked.limit, 1000)))
        return [_alert_row(row) for row in self.rows(tables.ALERTS, *wanted)]


def job_of(row: tuple[Any, ...]) -> Job:
    """A row as a job."""
    (id_, runbook, path, target, inputs, alert, by, dry_run, doing, state, tries, *times) = row
    queued_at, started_at, ended_at, outcome, due = times
    return Job(
        id=id_, runbook=runbook, path=path, target=target, inputs=msgspec.json.decode(inputs), alert=alert,
        by=by, dry_run=bool(dry_run), doing=doing, state=state, tries=tries, queued_at=queued_at,
        started_at=started_at, ended_at=ended_at, outcome=outcome, due=due,
    )  # fmt: skip


def _alert_row(row: tuple[Any, ...]) -> AlertRow:
    id_, sender, body, received_at, seen, last_at, fate, because, run, trace = row
    return AlertRow(
        id=id_,
        sender=sender,
        alert=msgspec.json.decode(body, type=Alert),
        received_at=received_at,
        seen=seen,
        last_at=last_at,
        fate=fate,
        because=because,
        run=run,
        trace=msgspec.json.decode(trace, type=tuple[Considered, ...]),
    )


def _prepare(db: sqlite3.Connection, *, write: bool) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > tables.VERSION:
        raise OSError(None, f"it was written by a later release (tables {version}, we know {tables.VERSION})")
    if not write:
        db.execute("PRAGMA query_only = ON")
        return
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if version == 1:
        db.execute(tables.FROM_1)
    if version < tables.VERSION:
        db.executescript(tables.SCHEMA)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into the operator's words.

    Raises:
        QueueUnavailable: In place of every ``sqlite3.Error`` and ``OSError``.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        told = error.strerror if isinstance(error, OSError) else None
        reason = told or str(error) or type(error).__name__
        raise QueueUnavailable(
            f"the queue {path} can't be used: {reason}; nothing was taken", fix=way_out(reason, path)
        ) from error
