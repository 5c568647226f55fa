"""The journal's tables: their shape, the statements on them, and what is wrong when they fail.

One promise: rows of the chain are only ever added; a trigger refuses anything else, so that a
slip of ours can't rewrite the past.

Not here: transactions (``engine.journal``), hashes (``engine.journal.chain``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.journal.chain import Damage
from engine.record import Applied, ChangeState, Ended, Intended, Resumed, RunHead, Settled

if TYPE_CHECKING:
    import sqlite3

#: Of the tables; a journal with a higher one was written by a later release.
VERSION = 1

SCHEMA = f"""
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
PRAGMA user_version = {VERSION};
COMMIT;
"""

TIP = "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
CHAIN = (
    "SELECT e.seq, coalesce(r.id, '?'), CAST(e.prev AS BLOB), CAST(e.hash AS BLOB), CAST(e.body AS BLOB) "
    "FROM events e LEFT JOIN runs r ON r.number = e.run ORDER BY e.seq"
)
ADD_EVENT = "INSERT INTO events (seq, run, prev, hash, body) VALUES (?, ?, ?, ?, ?)"
EVENTS_OF_RUN = "SELECT body FROM events WHERE run = ? ORDER BY seq"
BODIES = (
    "SELECT e.seq, CAST(e.body AS BLOB) FROM events e JOIN runs r ON r.number = e.run "
    "WHERE r.id = ? AND e.seq > ? ORDER BY e.seq"
)

ADD_RUN = "INSERT INTO runs (id, started_at, head) VALUES (?, ?, ?)"
END_RUN = "UPDATE runs SET head = ? WHERE number = ?"
HEAD_BY_NUMBER = "SELECT head FROM runs WHERE number = ?"
RUN_BY_ID = "SELECT number, head FROM runs WHERE id = ?"
RUNS = "SELECT head FROM runs ORDER BY started_at DESC, number DESC LIMIT ?"
#: A called run's id holds a full stop: it is meant only where it is named itself.
LAST_RUN = (
    "SELECT number, head FROM runs WHERE instr(id, '.') = 0 ORDER BY started_at DESC, number DESC LIMIT 1"
)
RUNS_BY_PREFIX = (
    "SELECT number, head, id FROM runs WHERE substr(id, 1, length(?1)) = ?1 "
    "AND (instr(id, '.') = 0 OR instr(?1, '.') > 0) ORDER BY id LIMIT 20"
)
CALLED_BY = "SELECT id FROM runs WHERE substr(id, 1, length(?1) + 1) = ?1 || '.' ORDER BY number"

ADD_ATTEMPT = (
    "INSERT INTO attempts (run, number, seq, target, remediation, intended_at, lease_until) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
EXTEND_ATTEMPT = "UPDATE attempts SET lease_until = ? WHERE run = ? AND number = ?"
APPLY_ATTEMPT = "UPDATE attempts SET state = 'applied' WHERE run = ? AND number = ?"
SETTLE_ATTEMPT = "UPDATE attempts SET state = ?, settled_at = ? WHERE run = ? AND number = ?"
_ATTEMPT_ROWS = (
    "SELECT r.id, a.number, a.target, a.remediation, a.state, "
    "a.intended_at, a.settled_at, a.lease_until, e.body "
    "FROM attempts a JOIN runs r ON r.number = a.run JOIN events e ON e.seq = a.seq "
)
ATTEMPTS = _ATTEMPT_ROWS + (
    "WHERE (? IS NULL OR r.id = ?) AND a.intended_at >= ? AND (? IS NULL OR a.target = ?) ORDER BY a.seq"
)
LEASES = _ATTEMPT_ROWS + "WHERE a.state = 'leased' AND a.lease_until <= ? ORDER BY a.seq DESC"


def prepare(db: sqlite3.Connection, *, write: bool) -> None:
    """Set a fresh connection up, and make the tables where they are missing.

    Raises:
        sqlite3.Error: The file is no journal, can't be written, or is a later release's.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise OSError(None, f"it was written by a later release (tables {version}, we know {VERSION})")
    if not write:
        db.execute("PRAGMA query_only = ON")
        return
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if version < VERSION:
        db.executescript(SCHEMA)
    # A journal that can be read but not written must be found out now, not before a change.
    db.execute("BEGIN IMMEDIATE")
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def disagreements(db: sqlite3.Connection, decode: Callable[[bytes], object]) -> list[Damage]:
    """Where the tables of runs and attempts say something else than the chain they derive from."""
    heads: dict[int, RunHead] = {}
    states: dict[tuple[int, int], ChangeState] = {}
    for run, body in db.execute("SELECT run, body FROM events ORDER BY seq"):
        event = decode(body)
        if isinstance(head := getattr(event, "head", None), RunHead):
            heads[run] = head
        elif isinstance(event, Ended | Resumed) and run in heads:
            heads[run] = head_after(heads[run], event)
        elif isinstance(event, Intended):
            states[run, event.attempt] = "intended"
        elif isinstance(event, Applied):
            states[run, event.attempt] = "applied"
        elif isinstance(event, Settled):
            states[run, event.attempt] = event.state
    found = []
    for number, name, text in db.execute("SELECT number, id, head FROM runs"):
        if heads.pop(number, None) != _head(text):
            found.append(Damage(seq=0, run=name, what="head", sentence=f"the head of run {name} was altered"))
    found += [
        Damage(seq=0, run=head.id, what="head", sentence=f"the head of run {head.id} was removed")
        for head in heads.values()
    ]
    if dict(_states(db)) != states:
        found.append(Damage(seq=0, what="head", sentence="the table of changes was altered"))
    return found


def head_after(head: RunHead, event: Ended | Resumed) -> RunHead:
    """A run's head once it has ended; or once a run that waited is gone on with."""
    if isinstance(event, Ended):
        return msgspec.structs.replace(
            head, ended_at=event.at, outcome=event.outcome, sentence=event.sentence, signal=event.signal
        )
    if event.doing != "resume":
        return head
    return msgspec.structs.replace(head, ended_at=None, outcome=None, sentence="", signal=0)


def _head(text: bytes) -> RunHead | None:
    try:
        return msgspec.json.decode(text, type=RunHead)
    except msgspec.DecodeError:
        return None


def _states(db: sqlite3.Connection) -> list[tuple[tuple[int, int], str]]:
    return [
        ((run, number), state) for run, number, state in db.execute("SELECT run, number, state FROM attempts")
    ]


def way_out(reason: str, path: Path) -> str:
    """What to do about what SQLite or the system said."""
    for words, advice in (
        ("full", f"free space on the file system of {path}, or choose another place with --state"),
        ("No space", f"free space on the file system of {path}, or choose another place with --state"),
        ("locked", "another runbook is writing: try again, or see runbook runs"),
        ("malformed", f"move {path} aside, keep it for the audit, and start again"),
        ("not a database", f"move {path} aside, keep it for the audit, and start again"),
        ("later release", "use that release, or another place with --state"),
        ("append-only", "report this: the journal refused to be rewritten"),
        ("UNIQUE", "try again: two runs chose the same id or number"),
    ):
        if words in reason:
            return advice
    return "run as the user who owns it (root for /var/lib/runbook), or choose another place with --state"
