"""The durable record of all runs on this machine: the only authority on what was applied.

One promise: what announces a change is on disk before the change is made, and nothing written
is ever changed. Events are rows of an append-only, hash-chained SQLite table; the tables of
runs and attempts beside it are written in the same transaction and can be derived from it.

Layout of the state directory (0700): ``journal.db`` (0600, WAL, ``synchronous=FULL``),
``journal.anchor`` (end of the chain), ``journal.key`` (unless there is another), ``locks/``,
``sealed/`` (what undo needs and no row may hold). Cost: 0.1 ms a commit.

Not here: reading (``reading``), hashes (``chain``), keys (``keys``), locks (``locks``), tables and
SQL (``tables``, ``statements``, ``derived``), JSON (``rows``), what the events mean (``engine.record``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from engine.errors import JournalUnavailable
from engine.journal import chain, derived, keys, statements, tables
from engine.journal.reading import Reading
from engine.journal.rows import Begun, Cut, Keyed, encode, head_of
from engine.journal.sealed import Sealed
from engine.journal.trouble import explained
from engine.record import Event, RunHead

if TYPE_CHECKING:
    import sqlite3
    from types import TracebackType


class Journal(Reading):
    """The record of all runs. Open it with ``Journal.open``; use it from one thread."""

    def __init__(self, directory: Path, db: sqlite3.Connection, anchor: Path | None = None) -> None:
        self.directory = directory
        self._db = db
        self._key: keys.Key | None = None
        self._anchor = chain.Anchor(anchor or directory / "journal.anchor")
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
                tables.make(db)
                return cls(place, db)
            if not write:
                return cls._reading(path, path.with_suffix(".anchor"))
            db = _connect(path, "mode=rw")
            try:
                journal = cls(place, db)
                tables.prepare(db, journal._go_on)
                journal._begin()
                keys.settle(place)
            except BaseException:
                db.close()
                raise
            return journal

    @classmethod
    def copy(cls, place: Path) -> Self:
        """Open a copy of a journal, by its file or directory, to read it; nothing is written beside it.

        Raises:
            JournalUnavailable: It is not there, or no journal.
        """
        path = place / "journal.db" if place.is_dir() else place
        with explained(path):
            path.stat()
            return cls._reading(path, path.with_suffix(".anchor"), alone=not _has_log(path))

    @classmethod
    def _reading(cls, path: Path, anchor: Path, *, alone: bool = False) -> Self:
        """A journal that is only read; an earlier release's is brought along in a copy that nobody sees."""
        db = _connect(path, "mode=ro&immutable=1" if alone else "mode=ro")
        try:
            version = tables.version_of(db)
            if version < tables.VERSION:
                db = _brought_along(db)
            db.execute("PRAGMA query_only = ON")
        except BaseException:
            db.close()
            raise
        journal = cls(path.parent, db, anchor=anchor)
        journal._version = version
        return journal

    def _begin(self) -> None:
        """Make the anchor of an empty journal; have it follow a chain that has just gone on."""
        if self._tip is None:
            self._anchor.begin(empty=self._db.execute(statements.TIP).fetchone() is None)
        else:
            self._anchor.write(*self._tip)

    def _go_on(self) -> None:
        """Find the key for new rows; say in the chain that it goes on with it, if it is new.

        Within a transaction, so that two processes that come first do not both make one.
        """
        self._key = self._anchor.key = keys.own(self.directory)
        self._note_cut(self._anchor.read())
        row = self._db.execute(statements.TIP_SEAL).fetchone()
        if row is not None and row[0] != chain.SEAL + self._key.id:
            self._add(0, "", encode(Keyed(at=time.time(), key=self._key.id)))

    def _note_cut(self, anchor: chain.End | None) -> None:
        """Write down that rows are gone, before new ones take their numbers and the anchor forgets them."""
        seq, _ = self._db.execute(statements.TIP).fetchone() or (0, chain.ROOT)
        if anchor is not None and anchor.seq > seq and chain.is_ours(anchor, self._key):
            cut = Cut(at=time.time(), first=seq + 1, last=anchor.seq, hash=anchor.hash.hex())
            self._add(0, "", encode(cut))

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
                self._db.execute(statements.ADD_RUN, (head.id, head.started_at, encode(head))).lastrowid or 0
            )
            self.append(log, Begun(head=head))
        return log

    def continue_(self, run: str) -> RunLog:
        """Take up a run that was begun before, to write more of it.

        Raises:
            UnknownName: There is no such run.
        """
        with explained(self.directory):
            row = self._db.execute(statements.RUN_BY_ID, (run,)).fetchone()
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
        seq = self._add(log.number, log.run, self._sealed.body(log.run, event))
        derived.follow(self._db, log.number, log.target_ref, event, seq)
        return seq

    def _add(self, number: int, run: str, body: bytes) -> int:
        """Add one row to the chain; gives its number."""
        if self._key is None:
            raise JournalUnavailable(
                f"the journal {self.directory} was opened to be read", fix="open it anew"
            )
        if self._tip is None:
            self._tip = self._db.execute(statements.TIP).fetchone() or (0, chain.ROOT)
        seq, prev = self._tip[0] + 1, self._tip[1]
        row = chain.Row(seq, run, chain.kind_of(body), chain.SEAL + self._key.id, prev, b"", body)
        digest = chain.keyed(self._key, row)
        self._db.execute(statements.ADD_EVENT, (seq, number, row.kind, row.seal, prev, digest, body))
        self._tip = (seq, digest)
        return seq


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


def _connect(path: Path, how: str) -> sqlite3.Connection:
    import sqlite3  # noqa: PLC0415

    uri = f"{path.absolute().as_uri()}?{how}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)


def _has_log(path: Path) -> bool:
    """Whether a write-ahead log with something in it lies beside a database."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _brought_along(db: sqlite3.Connection) -> sqlite3.Connection:
    """An earlier release's journal with the tables of this one, in a file without a name."""
    import sqlite3  # noqa: PLC0415

    ours = sqlite3.connect("", isolation_level=None)
    db.backup(ours)
    db.close()
    tables.make(ours)
    return ours


def _make_private(place: Path, path: Path) -> None:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
