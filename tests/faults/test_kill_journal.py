"""The journal is killed: while an old one is brought along, while details go, while a lease is extended.

After every kill: the chain verifies, nothing that one answers for is lost, and the same work done anew ends.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.journal import Journal, retention, tables
from engine.record import Ended, Extended, Seen
from engine.running import leases
from engine.testing import FakeClock, fake_tools
from tests.engine import old_journal
from tests.engine.chains import DAY, events, head, seen
from tests.faults.mortal import Mortal, child, die, ended

pytestmark = pytest.mark.slow

RUNS = 12
NOW = 1000 * DAY


class Step:
    """Ends the process right before the n-th statement that the database is asked for."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __call__(self, statement: str) -> None:
        self._left -= 1
        if self._left == 0:
            die()


def whole(directory: Path, *, runs: int = RUNS) -> Journal:
    """The journal as the next process finds it: whole, with all that one answers for."""
    journal = Journal.open(directory)
    assert journal.verify() == []
    assert len(journal.runs()) == runs
    for run in journal.runs():
        names = [type(event).__name__ for event in journal.run(run.head.id).events]
        assert [
            one for one in ("Planned", "Intended", "Applied", "Settled", "Ended") if one not in names
        ] == []
    return journal


def old(directory: Path) -> None:
    """A journal of the release before keys."""
    old_journal.write(
        directory, [(head(f"old-{n}", n * DAY), events(n * DAY, undone=True)) for n in range(1, RUNS + 1)]
    )


def killed(work: Callable[[], None]) -> bool:
    """Do it in a child; whether it was killed, and did not fail in another way."""
    code = ended(child(work))
    assert code in {0, -signal.SIGKILL}
    return code != 0


def opened_until(directory: Path, statement: int) -> None:
    """Open an old journal, dying before a statement of the way along."""
    prepare = tables.prepare

    def watched(db: sqlite3.Connection, then: Callable[[], None]) -> None:
        db.set_trace_callback(Step(statement))
        prepare(db, then)

    tables.prepare = watched  # of the child only
    Journal.open(directory).close()


def pruned_until(directory: Path, statement: int) -> None:
    with Journal.open(directory) as journal:
        journal._db.set_trace_callback(Step(statement))
        retention.prune(journal, keep_s=400 * DAY, now=NOW, by="anna")


def test_killed_at_any_statement_while_an_old_journal_is_brought_along(tmp_path: Path) -> None:
    """It is one transaction: as before, or as after."""
    for statement in range(1, 60):
        place = tmp_path / str(statement)
        old(place)
        if not killed(lambda at=statement, where=place: opened_until(where, at)):  # type: ignore[misc]
            break
        with Journal.open(place, write=False) as reader:
            assert reader.verify() == []
        with whole(place) as journal:
            assert len(journal.notes()) == 1
            assert journal.verify() == []
    assert 15 < statement < 59


def test_killed_at_any_statement_while_details_go(tmp_path: Path) -> None:
    """Each run is whole or done, and who did it is on record for exactly those."""
    old(tmp_path / "s")
    with Journal.open(tmp_path / "s") as journal:
        for number in range(RUNS):
            log = journal.begin(head(f"new-{number}", (20 + number) * DAY))
            for event in events((20 + number) * DAY, undone=True):
                log.record(event)
    kills = 0
    for statement in range(3, 400, 7):
        if not killed(lambda at=statement: pruned_until(tmp_path / "s", at)):  # type: ignore[misc]
            break
        kills += 1
        whole(tmp_path / "s", runs=2 * RUNS).close()
    with whole(tmp_path / "s", runs=2 * RUNS) as journal:
        retention.prune(journal, keep_s=400 * DAY, now=NOW, by="anna")
        assert journal.verify() == []
        assert journal.examine().dropped == 2 * RUNS * 3
    assert kills > 5


def test_killed_at_any_moment_while_details_go_and_others_write(tmp_path: Path) -> None:
    """By the clock, not by the statement: also within a write to the disk."""
    dice = random.Random(7)
    with Journal.open(tmp_path) as journal:
        log = journal.begin(head("large", DAY))
        for event in events(DAY, undone=True)[:-1]:
            log.record(event)
        for _ in range(300):
            log.note(seen(DAY))
        log.record(Ended(at=2 * DAY, outcome="unfixed", sentence=""))
    for number in range(25):
        with Journal.open(tmp_path) as journal:
            log = journal.begin(head(f"run-{number}", 3 * DAY))
            for event in events(3 * DAY, undone=True):
                log.record(event)
        pid = child(lambda: pruned_until(tmp_path, -1))
        time.sleep(dice.uniform(0.0, 0.03))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        whole(tmp_path, runs=number + 2).close()
    with Journal.open(tmp_path) as journal:
        retention.prune(journal, keep_s=400 * DAY, now=NOW, by="anna")
        assert not [
            e for run in journal.runs() for e in journal.run(run.head.id).events if isinstance(e, Seen)
        ]
        assert journal.verify() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_a_lease_is_extended(tmp_path: Path, when: str) -> None:
    """It has the old end or the new one, and the chain and the table say the same."""
    with Journal.open(tmp_path) as journal:
        log = journal.begin(head("run", DAY))
        for event in events(DAY, undone=False):
            log.record(event)

    def extend() -> None:
        Mortal.commits, Mortal.at, Mortal.when = 0, 1, when  # type: ignore[assignment]
        tools = fake_tools(tmp_path, [], journal=Mortal.open(tmp_path), clock=FakeClock(DAY + 60))
        leases.extend("run", tools, seconds=600.0)

    assert killed(extend)
    with Journal.open(tmp_path) as journal:
        assert journal.verify() == []
        (one,) = journal.leases(float("inf"))
        made = [event for event in journal.run("run").events if isinstance(event, Extended)]
        assert (one.lease_until, len(made)) == ((DAY + 3600, 0) if when == "before" else (DAY + 4200, 1))
