"""A journal with everything in it that can be tampered with, and an intruder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.journal import Journal, chain, retention
from engine.journal.chain import Row
from engine.journal.keys import Key
from engine.record import (
    Alerted,
    Applied,
    Ended,
    Event,
    Extended,
    Intended,
    Planned,
    RunHead,
    Seen,
    Settled,
    StepStarted,
)
from engine.values import Evidence, Plan
from tests.engine import old_journal
from tests.engine.test_journal import CHANGE

DAY = 86400.0
TABLES = ("events", "runs", "attempts", "moments")


def head(name: str, at: float) -> RunHead:
    return RunHead(id=name, runbook="t", target="lab", target_ref="fake:x", started_at=at, by="anna")


def seen(at: float) -> Seen:
    return Seen(
        at=at, step="1", evidence=Evidence(probe="p", short="p", target="lab", started_at=at, ended_at=at)
    )


def events(at: float, *, undone: bool) -> list[Event]:
    """A run with a change that was taken back, or is leased."""
    intended = Intended(at=at + 3, attempt=1, remediation="ring", change=CHANGE, lease_until=at + 3600)
    return [
        StepStarted(at=at + 1, title="look"),
        seen(at + 2),
        Planned(at=at + 2, plan=Plan(remediation="ring", changes=(CHANGE,))),
        intended,
        Applied(at=at + 4, attempt=1),
        seen(at + 5),
        Settled(at=at + 6, attempt=1, state="undone" if undone else "leased", because="a test"),
        Ended(at=at + 7, outcome="unfixed" if undone else "mitigated", sentence="done"),
    ]


def make(directory: Path) -> None:
    """Two runs of the release before keys, two keyed ones side by side; the first of each has been pruned."""
    old_journal.write(
        directory,
        [
            (head("old-1", 1 * DAY), events(1 * DAY, undone=True)),
            (head("old-2", 50 * DAY), events(50 * DAY, undone=False)),
        ],
    )
    with Journal.open(directory) as journal:
        first, second = journal.begin(head("new-1", 2 * DAY)), journal.begin(head("new-2", 60 * DAY))
        for one, other in zip(events(2 * DAY, undone=True), events(60 * DAY, undone=False), strict=True):
            first.record(one)
            second.record(other)
        journal.continue_("new-2").record(
            Extended(at=61 * DAY, attempt=1, lease_until=62 * DAY, by="anna", comment="still needed")
        )
        done = retention.prune(journal, keep_s=30 * DAY, now=70 * DAY, by="anna")
        assert (done.runs, done.rows) == (2, 6)
        journal.continue_("new-2").record(
            Alerted(at=71 * DAY, alert="a", name="Dropping", sender="am", did="resolved")
        )
        assert journal.verify() == []


def opened(directory: Path) -> sqlite3.Connection:
    """The file as somebody opens it who may write it: nothing stops them."""
    db = sqlite3.connect(directory / "journal.db", isolation_level=None)
    for name in ("events_stay", "events_last", "events_sealed"):
        db.execute(f"DROP TRIGGER IF EXISTS {name}")
    return db


def rows(db: sqlite3.Connection) -> list[Row]:
    """All rows of the chain, in order."""
    found = db.execute(
        "SELECT e.seq, coalesce(r.id, ''), e.kind, e.seal, CAST(e.prev AS BLOB), CAST(e.hash AS BLOB),"
        " CAST(e.body AS BLOB) FROM events e LEFT JOIN runs r ON r.number = e.run ORDER BY e.seq"
    )
    return [Row(*row) for row in found]


def made_anew(db: sqlite3.Connection, key: Key | None) -> bytes:
    """Give all rows new hashes, with a key of the intruder's own or, without one, as the old release did."""
    tip = chain.ROOT
    for row in rows(db):
        seal = chain.SEAL + key.id if key else None
        bare = row._replace(prev=tip, seal=seal, kind=(row.kind or chain.kind_of(row.body)) if key else None)
        tip_now = chain.keyed(key, bare) if key else chain.link(tip, row.seq, row.run, row.body)
        db.execute(
            "UPDATE events SET prev = ?, hash = ?, seal = ?, kind = ? WHERE seq = ?",
            (tip, tip_now, seal, bare.kind, row.seq),
        )
        tip = tip_now
    return tip


def found(directory: Path) -> list[str]:
    """What verify says: kinds and sentences."""
    with Journal.open(directory, write=False) as journal:
        return [f"{one.what}: {one.sentence}" for one in journal.verify()]
