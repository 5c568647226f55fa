"""The journal's tables: their shape, how an earlier release's become these, what is wrong when they fail.

One promise: rows of the chain are only ever added; triggers refuse anything else, so that a slip of ours
can't rewrite the past. One thing is let pass: the content of a row gives way to its digest, in a run whose
``Pruned`` event is on record and comes after it, where the row is a detail.

Not here: the statements (``statements``), transactions (``store``), hashes (``chain``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.journal.rows import DETAILS

if TYPE_CHECKING:
    import sqlite3

#: Of the tables; a journal with a higher one was written by a later release.
VERSION = 2

#: Parts that an earlier release has already are left as they are.
_TABLES = (
    """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, started_at REAL NOT NULL, pruned INTEGER,
    head BLOB NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind TEXT, seal TEXT, prev BLOB NOT NULL,
    hash BLOB NOT NULL, body BLOB NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS attempts (
    run INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, target TEXT NOT NULL,
    remediation TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'intended', intended_at REAL NOT NULL,
    settled_at REAL, lease_until REAL, PRIMARY KEY (run, number)
) WITHOUT ROWID""",
    # The moment of the last event of a run that somebody may have to answer for; also behind its end.
    "CREATE TABLE IF NOT EXISTS moments (run INTEGER PRIMARY KEY, last_at REAL NOT NULL)",
)
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS events_by_kind ON events (run, kind)",
    "CREATE INDEX IF NOT EXISTS runs_by_time ON runs (started_at)",
    "CREATE INDEX IF NOT EXISTS attempts_by_time ON attempts (intended_at)",
)
_TRIGGERS = (
    """
CREATE TRIGGER events_stay BEFORE UPDATE ON events WHEN NOT (
    NEW.seq = OLD.seq AND NEW.run = OLD.run AND NEW.kind IS OLD.kind AND NEW.seal IS OLD.seal
    AND NEW.prev = OLD.prev AND NEW.hash = OLD.hash
    AND substr(CAST(NEW.body AS TEXT), 1, 7) = 'sha256:' AND length(NEW.body) = 71
    AND substr(CAST(OLD.body AS TEXT), 1, 7) <> 'sha256:'
    AND (OLD.kind IS NULL OR OLD.kind IN (DETAILS))
    AND EXISTS (SELECT 1 FROM runs WHERE number = OLD.run AND pruned > OLD.seq)
) BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """
CREATE TRIGGER events_last BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    # A process of an earlier release that is still there must not write rows that look forged.
    """
CREATE TRIGGER events_sealed BEFORE INSERT ON events WHEN NEW.seal IS NULL OR NEW.kind IS NULL
    BEGIN SELECT RAISE(ABORT, 'written by a later release'); END""",
)
#: What version 1 lacks, by table and column; its rows hold nothing there.
_ADDED = (("runs", "pruned INTEGER"), ("events", "kind TEXT"), ("events", "seal TEXT"))
_OBSOLETE = ("DROP INDEX IF EXISTS events_of_run",)
_NAMES = ("events_stay", "events_last", "events_sealed")


def version_of(db: sqlite3.Connection) -> int:
    """Of the tables on disk; 0 for an empty file.

    Raises:
        sqlite3.Error: The file is no journal.
        OSError: It is a later release's.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise OSError(None, f"it was written by a later release (tables {version}, we know {VERSION})")
    return int(version)


def prepare(db: sqlite3.Connection, then: Callable[[], None]) -> None:
    """Set a connection up for writing; make the tables, or bring an earlier release's along.

    Args:
        db: The connection.
        then: What else belongs into the same transaction.

    Raises:
        sqlite3.Error: The file is no journal, or can't be written.
        OSError: It is a later release's.
    """
    version = version_of(db)
    if version == 0:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before the first table
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    # A journal that can be read but not written must be found out now, not before a change.
    db.execute("BEGIN IMMEDIATE")
    try:
        if version < VERSION:
            make(db)
        then()
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def make(db: sqlite3.Connection) -> None:
    """All tables, within a transaction; what is there already is kept. Cost: an index over all rows."""
    for statement in _TABLES:
        db.execute(statement)
    for table, column in _ADDED:
        if column.split()[0] not in columns(db, table):
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    for name in _NAMES:
        db.execute(f"DROP TRIGGER IF EXISTS {name}")
    details = ", ".join(f"'{kind}'" for kind in sorted(DETAILS))
    for statement in (*_OBSOLETE, *_INDEXES, *_TRIGGERS):
        db.execute(statement.replace("DETAILS", details))


def columns(db: sqlite3.Connection, table: str) -> set[str]:
    """The names of a table's columns; none where there is no such table."""
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
