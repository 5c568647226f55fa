"""A journal as the release before keys wrote it: its tables, its plain hashes, its anchor."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from engine.journal import chain, derived
from engine.journal.rows import Begun, encode
from engine.record import Applied, Ended, Event, Intended, Resumed, RunHead, Settled

SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, started_at REAL NOT NULL, head BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_run ON events (run);
CREATE TABLE IF NOT EXISTS attempts (
    run INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, target TEXT NOT NULL,
    remediation TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'intended', intended_at REAL NOT NULL,
    settled_at REAL, lease_until REAL, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempts_by_time ON attempts (intended_at);
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_last BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
PRAGMA user_version = 1;
COMMIT;
"""


def write(directory: Path, runs: Iterable[tuple[RunHead, Iterable[Event]]]) -> None:
    """Runs, one after the other, with the anchor at the end."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = sqlite3.connect(directory / "journal.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    seq, tip = 0, chain.ROOT
    for number, (begun, events) in enumerate(runs, 1):
        head = begun
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (number, head.id, head.started_at, encode(head)))
        for event in (Begun(head=head), *events):
            body, seq, before = encode(event), seq + 1, tip
            tip = chain.link(before, seq, head.id, body)
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (seq, number, before, tip, body))
            if isinstance(event, Intended | Applied | Settled):
                _follow(db, number, head, event, seq)
            elif isinstance(event, Ended | Resumed):
                head = derived.head_after(head, event)
                db.execute("UPDATE runs SET head = ? WHERE number = ?", (encode(head), number))
    db.close()
    (directory / "journal.anchor").write_bytes(b"%020d %s\n" % (seq, tip.hex().encode()))


def _follow(
    db: sqlite3.Connection, number: int, head: RunHead, event: Intended | Applied | Settled, seq: int
) -> None:
    at = (number, event.attempt)
    if isinstance(event, Intended):
        row = (*at, seq, head.target_ref, event.remediation, event.at, event.lease_until)
        db.execute(
            "INSERT INTO attempts (run, number, seq, target, remediation, intended_at, lease_until)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    elif isinstance(event, Applied):
        db.execute("UPDATE attempts SET state = 'applied' WHERE run = ? AND number = ?", at)
    else:
        db.execute(
            "UPDATE attempts SET state = ?, settled_at = ? WHERE run = ? AND number = ?",
            (event.state, event.at, *at),
        )
