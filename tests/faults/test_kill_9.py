"""Kill -9 of the engine anywhere: resume or undo always possible, nothing twice, nothing lost.

Over 200 kills: before and after every commit of the journal, before and after every write to
the agent, in the middle of a resume and of an undo, and at random moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from engine.journal import Journal
from engine.journal.rows import Attempt
from engine.record import Run
from tests.faults.mortal import BEFORE, FIXED, FileAgent, Mortal, When, begin, ended, first, later

pytestmark = pytest.mark.slow

#: Commits of an undisturbed run; the first test holds it to the truth.
COMMITS = 29
WRITES = 3
KILLED = -signal.SIGKILL
WHENS: tuple[When, ...] = ("before", "after")


def told(directory: Path) -> tuple[Run | None, list[Attempt]]:
    """The last run and all changes. Closed before the next fork, as SQLite asks for."""
    with Journal.open(directory) as journal:
        assert journal.verify() == []
        runs = journal.runs()
        return (runs[0] if runs else None), journal.attempts()


def check(directory: Path) -> None:
    """What must be true after any kill, before anybody mends anything."""
    assert FileAgent(directory).read() in ({"ring": r, "poll": p} for r in (1, 4) for p in (10, 5))
    for one in told(directory)[1]:
        assert one.captured == {"value": BEFORE[one.remediation]}, "a value before was lost"


def finish(directory: Path) -> None:
    """Resume, and then undo: first fixed, then exactly as it was."""
    run, _ = told(directory)
    if run is None:
        return  # killed before its head was on disk: there never was a run
    if run.state == "interrupted":
        assert later(directory, "resume") == 0
        run, _ = told(directory)
    assert run is not None
    assert (run.state, run.head.outcome, FileAgent(directory).read()) == ("ended", "fixed", FIXED)
    assert later(directory, "undo") == 0
    mended(directory)


def mended(directory: Path) -> None:
    """Nothing stands, nothing was done twice, the chain is whole."""
    run, _ = told(directory)
    assert run is None or run.state == "ended"
    as_before(directory)


def as_before(directory: Path) -> None:
    """The agent is as it was, and was written to once for each change at most."""
    agent, (_, attempts) = FileAgent(directory), told(directory)
    assert agent.read() == BEFORE
    assert {one.state for one in attempts} <= {"undone", "not-made"}
    assert agent.writes_of("ring", 4) <= 1
    assert agent.writes_of("poll", 5) <= 1


def test_an_undisturbed_run_has_that_many_commits_and_writes(tmp_path: Path) -> None:
    """The kills below must reach every one of them."""
    Mortal.commits, Mortal.when = 0, "never"
    agent = FileAgent(tmp_path)
    begin(tmp_path, agent)

    assert (Mortal.commits, agent._count) == (COMMITS, WRITES)
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_killed_at_a_commit_then_resumed_and_undone(tmp_path: Path, number: int, when: When) -> None:
    """Every event of the record is a moment at which the machine may die."""
    assert ended(first(tmp_path, commit=(number, when))) == KILLED
    check(tmp_path)
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_killed_at_a_commit_then_undone(tmp_path: Path, number: int, when: When) -> None:
    """An operator who does not want to go on gets everything back."""
    assert ended(first(tmp_path, commit=(number, when))) == KILLED
    check(tmp_path)
    if told(tmp_path)[0] is not None:
        assert later(tmp_path, "undo") == 0
    mended(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_a_write_then_resumed_and_undone(tmp_path: Path, number: int, when: When) -> None:
    """Between the intent and its outcome only the target knows what happened."""
    assert ended(first(tmp_path, write=(number, when))) == KILLED
    check(tmp_path)
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, 13))
def test_killed_again_while_it_is_taken_up(tmp_path: Path, number: int, when: When) -> None:
    """Mending must survive what it mends; the first kill is right after the ring was written."""
    assert ended(first(tmp_path, write=(3, "after"))) == KILLED
    assert later(tmp_path, "undo" if number <= 3 else "resume", (number, when)) in {KILLED, 0}
    check(tmp_path)
    run, _ = told(tmp_path)
    if run is not None and run.state == "interrupted" and number > 3:
        assert later(tmp_path, "resume") == 0
    assert later(tmp_path, "undo") == 0
    mended(tmp_path)


@pytest.mark.parametrize("seed", range(60))
def test_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    """Also between the lines: in the middle of a commit, of a lock, of a window."""
    pid = first(tmp_path)
    time.sleep(random.Random(seed).uniform(0.0, 0.06))
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) in {KILLED, 0}
    check(tmp_path)
    finish(tmp_path)
