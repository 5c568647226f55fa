"""The durable record of all runs on this machine: the only authority on what was applied.

One promise: what announces a change is on disk before the change is made, and nothing written
is ever changed. Events are rows of an append-only, hash-chained SQLite table; the tables of
runs and attempts beside it are written in the same transaction and can be derived from it.

Layout of the state directory (0700): ``journal.db`` (0600, WAL, ``synchronous=FULL``),
``journal.anchor`` (end of the chain), ``locks/``, ``sealed/`` (what undo needs and no row may hold).
Cost: 0.1 ms a commit.

Not here: hashes (``chain``), locks (``locks``), SQL text (``tables``), JSON
(``engine.journal.rows``), what the events mean (``engine.record``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from engine.errors import JournalUnavailable, RunbookError, UnknownName, UsageError, nearest
from engine.journal import chain, locks, tables
from engine.journal.rows import Attempt, Begun, attempt_of, decode, encode, head_of
from engine.journal.sealed import Sealed
from engine.record import (
    Applied,
    Ended,
    Event,
    Extended,
    Intended,
    Resumed,
    Run,
    RunHead,
    Settled,
)

if TYPE_CHECKING:
    import sqlite3
    from types import TracebackType


class Journal:
    """The record of all runs. Open it with ``Journal.open``; use it from one thread."""

    def __init__(self, directory: Path, db: sqlite3.Connection) -> None:
        self.directory = directory
        self._db = db
        self._anchor = chain.Anchor(directory / "journal.anchor")
        self._sealed = Sealed(directory)
        self._tip: tuple[int, bytes] | None = None

    # ── opening ─────────────────────────────────────────────────────────────────

    @classmethod
    def open(cls, directory: Path | None = None, *, write: bool = True) -> Self:
        """Open the journal, making it when ``write`` is set.

        Args:
            directory: The state directory; by default ``default_directory()``.
            write: False to read only: nothing is made, and an absent journal is an empty one.

        Raises:
            JournalUnavailable: It can't be opened, read or (for ``write``) written.
        """
        import sqlite3  # noqa: PLC0415 - not every command needs the journal

        place = directory or default_directory()
        path = place / "journal.db"
        with explained(path):
            if write:
                _make_private(place, path)
            elif not path.exists():
                db = sqlite3.connect(":memory:", isolation_level=None)
                db.executescript(tables.SCHEMA)
                return cls(place, db)
            mode = "rw" if write else "ro"
            db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10
            )
            try:
                tables.prepare(db, write=write)
            except BaseException:
                db.close()
                raise
            journal = cls(place, db)
            if write:
                journal._anchor.begin(empty=db.execute(tables.TIP).fetchone() is None)
            return journal

    def close(self) -> None:
        """Let the files go."""
        self._anchor.close()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── writing ─────────────────────────────────────────────────────────────────

    def begin(self, head: RunHead) -> RunLog:
        """Write a run's head; on disk when this returns.

        Raises:
            JournalUnavailable: It could not be written: the run must not begin.
        """
        log = RunLog(self, head.id, 0, head.target_ref)
        with self.transaction():
            log.number = (
                self._db.execute(tables.ADD_RUN, (head.id, head.started_at, encode(head))).lastrowid or 0
            )
            self.append(log, Begun(head=head))
        return log

    def continue_(self, run: str) -> RunLog:
        """Take up a run that was begun before, to write more of it.

        Raises:
            UnknownName: There is no such run.
        """
        with explained(self.directory):
            row = self._db.execute(tables.RUN_BY_ID, (run,)).fetchone()
        if row is None:
            raise self._no_run(run)
        number, head = row
        return RunLog(self, run, number, head_of(head).target_ref)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when this ends; the anchor follows the commit.

        Raises:
            JournalUnavailable: Nothing of it was written.
        """
        with explained(self.directory):
            self._tip = None
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.commit()
            except BaseException:
                self._sealed.keep()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._sealed.sweep()
            if self._tip is not None:
                self._anchor.write(*self._tip)

    def commit(self) -> None:
        """End the transaction: the one moment at which things become durable."""
        self._db.execute("COMMIT")

    def append(self, log: RunLog, event: Event | Begun) -> int:
        """Add one row to the chain within a transaction, and what the tables derive from it."""
        if self._tip is None:
            self._tip = self._db.execute(tables.TIP).fetchone() or (0, chain.ROOT)
        seq, prev = self._tip[0] + 1, self._tip[1]
        body = self._sealed.body(log.run, event)
        digest = chain.link(prev, seq, log.run, body)
        self._db.execute(tables.ADD_EVENT, (seq, log.number, prev, digest, body))
        self._tip = (seq, digest)
        self._derive(log, event, seq)
        return seq

    def _derive(self, log: RunLog, event: Event | Begun, seq: int) -> None:
        """Keep the tables beside the chain in step with it."""
        if isinstance(event, Intended):
            row = (
                log.number,
                event.attempt,
                seq,
                log.target_ref,
                event.remediation,
                event.at,
                event.lease_until,
            )
            self._db.execute(tables.ADD_ATTEMPT, row)
        elif isinstance(event, Applied):
            self._db.execute(tables.APPLY_ATTEMPT, (log.number, event.attempt))
        elif isinstance(event, Settled):
            self._db.execute(tables.SETTLE_ATTEMPT, (event.state, event.at, log.number, event.attempt))
        elif isinstance(event, Extended):
            self._db.execute(tables.EXTEND_ATTEMPT, (event.lease_until, log.number, event.attempt))
        elif isinstance(event, Ended | Resumed):
            (head,) = self._db.execute(tables.HEAD_BY_NUMBER, (log.number,)).fetchone()
            self._db.execute(tables.END_RUN, (encode(tables.head_after(head_of(head), event)), log.number))

    # ── reading ─────────────────────────────────────────────────────────────────

    def runs(self, limit: int | None = None) -> list[Run]:
        """Heads of runs, newest first; without their events."""
        with explained(self.directory):
            rows = self._db.execute(tables.RUNS, (-1 if limit is None else limit,)).fetchall()
        return [self._run(head_of(head), ()) for (head,) in rows]

    def run(self, wanted: str = "last") -> Run:
        """A whole run, by its id, the beginning of its id, or ``last``.

        Raises:
            UnknownName: There is none.
            UsageError: The beginning fits several.
        """
        with explained(self.directory):
            number, head = self._find(wanted)
            bodies = self._db.execute(tables.EVENTS_OF_RUN, (number,)).fetchall()
        events = tuple(event for (body,) in bodies if not isinstance(event := decode(body), Begun))
        found = self._run(head_of(head), events)
        children = [one for one in self.called_by(found.head.id) if one.rpartition(".")[0] == found.head.id]
        return msgspec.structs.replace(found, called=tuple(self.run(one) for one in children))

    def head(self, run: str) -> RunHead:
        """A run's head, by its full id.

        Raises:
            UnknownName: There is no such run.
        """
        with explained(self.directory):
            row = self._db.execute(tables.RUN_BY_ID, (run,)).fetchone()
        if row is None:
            raise self._no_run(run)
        return head_of(row[1])

    def bodies(self, run: str, after: int = 0) -> list[tuple[int, bytes]]:
        """Rows of one run that follow row ``after``, as they were written: row number and JSON.

        The first row of a run is its head (``rows.Begun``). For whoever passes a run on as it grows.
        Cost: one look into an index when there is nothing new.

        Args:
            run: Its full id; an unknown one has no rows.
            after: The number of the last row that is known already.
        """
        with explained(self.directory):
            return self._db.execute(tables.BODIES, (run, after)).fetchall()

    def called_by(self, run: str) -> list[str]:
        """Ids of all runs that a run called, those that they called included, oldest first."""
        with explained(self.directory):
            return [name for (name,) in self._db.execute(tables.CALLED_BY, (run,))]

    def attempts(
        self, run: str | None = None, *, since: float = 0.0, target_ref: str | None = None
    ) -> list[Attempt]:
        """Announced changes in the order they were announced.

        Args:
            run: Only of this run (its full id).
            since: Only those announced at or after this moment (epoch seconds).
            target_ref: Only of this target.
        """
        with explained(self.directory):
            rows = self._db.execute(tables.ATTEMPTS, (run, run, since, target_ref, target_ref)).fetchall()
        return [attempt_of(row) for row in rows]

    def leases(self, now: float) -> list[Attempt]:
        """Leased changes whose time was up at ``now``, newest first."""
        with explained(self.directory):
            rows = self._db.execute(tables.LEASES, (now,)).fetchall()
        return [attempt_of(row) for row in rows]

    def whole(self, attempt: Attempt) -> Attempt:
        """A change with the secrets that undo needs: for undo only, never to be shown."""
        return self._sealed.whole(attempt)

    def verify(self) -> list[chain.Damage]:
        """Every place where the journal is not what was written; empty when it is whole."""
        with explained(self.directory):
            rows = (chain.Row(*row) for row in self._db.execute(tables.CHAIN))
            found = chain.damages(rows, self._anchor.read())
            return found + tables.disagreements(self._db, decode)

    def tip(self) -> tuple[int, str]:
        """The end of the chain, row and hash (hex): copy it elsewhere to detect a rewritten journal."""
        with explained(self.directory):
            seq, digest = self._db.execute(tables.TIP).fetchone() or (0, chain.ROOT)
        return seq, digest.hex()

    def _find(self, wanted: str) -> tuple[int, bytes]:
        if wanted == "last":
            row = self._db.execute(tables.LAST_RUN).fetchone()
            if row is None:
                raise UsageError("the journal holds no run yet", fix="runbook run NAME")
            return row[0], row[1]
        rows = self._db.execute(tables.RUNS_BY_PREFIX, (wanted,)).fetchall()
        exact = [row for row in rows if row[2] == wanted]
        if len(rows) == 1 or exact:
            row = exact[0] if exact else rows[0]
            return row[0], row[1]
        if not rows:
            raise self._no_run(wanted)
        names = ", ".join(row[2] for row in rows[:4])
        raise UsageError(f"{wanted!r} is the beginning of several runs: {names}", fix="give more of the id")

    def _no_run(self, wanted: str) -> RunbookError:
        known = [run.head.id for run in self.runs(50)]
        return UnknownName("run", wanted, known, fix=_nearby(wanted, known))

    def _run(self, head: RunHead, events: Sequence[Event]) -> Run:
        if head.ended_at is not None:
            return Run(head=head, events=tuple(events))
        held = locks.run_is_held(self.directory, head.id)
        return Run(head=head, events=tuple(events), state="running" if held else "interrupted")


class RunLog:
    """Where one run writes. Made by ``Journal.begin`` and ``Journal.continue_``.

    Attributes:
        number: The run's row.
    """

    def __init__(self, journal: Journal, run: str, number: int, target_ref: str) -> None:
        self.journal = journal
        self.run = run
        self.number = number
        self.target_ref = target_ref
        self._held_back: list[Event] = []

    def note(self, event: Event) -> None:
        """Keep an event for the next commit: for what may be lost in a crash (a step's beginning)."""
        self._held_back.append(event)

    def record(self, event: Event) -> None:
        """Write an event, and those kept back before it; on disk when this returns.

        Raises:
            JournalUnavailable: Nothing was written; kept events stay kept.
        """
        with self.journal.transaction():
            for earlier in self._held_back:
                self.journal.append(self, earlier)
            self.journal.append(self, event)
        self._held_back.clear()

    def next_attempt(self) -> int:
        """The number that the next ``Intended`` must carry."""
        return len(self.journal.attempts(self.run)) + 1


def default_directory() -> Path:
    """``$RUNBOOK_STATE``; else for root ``/var/lib/runbook``; else below the user's state directory."""
    if chosen := os.environ.get("RUNBOOK_STATE"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/runbook")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "runbook"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into the operator's words.

    Raises:
        JournalUnavailable: In place of every ``sqlite3.Error`` and ``OSError``.
    """
    import sqlite3  # noqa: PLC0415

    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = (
            (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        )
        raise JournalUnavailable(
            f"the journal {path} can't be used: {reason}; without it nothing is changed",
            fix=tables.way_out(reason, path),
        ) from error


def _make_private(place: Path, path: Path) -> None:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))


def _nearby(wanted: str, known: list[str]) -> str:
    """The way out when there is no such run; a list of all would hide it."""
    if not known:
        return "the journal is empty: runbook runs"
    near = nearest(wanted, known)
    return f"did you mean {near!r}?" if near else f"see them with: runbook runs; the last is {known[0]}"
