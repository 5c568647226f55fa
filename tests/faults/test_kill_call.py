"""Kill -9 of a run that has called another: both are finished, or both taken back, through the caller.

Before and after every commit of both records, and before and after every write to the agent.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.journal import Journal
from tests.faults.mortal import FIXED, FileAgent, Mortal, When, begin, ended, first, later
from tests.faults.test_kill_9 import KILLED, WHENS, WRITES, as_before, check, told

pytestmark = pytest.mark.slow

CALLER = """
runbook: agent-ill
steps:
  - look: event-flow
  - call: events-lost
    when: flow.dropped_per_s > 0
  - tell: "{{ events_lost.outcome }}"
"""
#: Commits of an undisturbed run; the first test holds it to the truth.
COMMITS = 38


def finish(directory: Path) -> None:
    """Resume, and then undo, both of the caller."""
    run, _ = told(directory)
    if run is None:
        return
    with Journal.open(directory) as journal:
        outer = journal.run("last")
    if outer.state == "interrupted":
        assert later(directory, "resume") == 0
    with Journal.open(directory) as journal:
        outer = journal.run("last")
    assert (outer.state, outer.head.outcome, FileAgent(directory).read()) == ("ended", "fixed", FIXED)
    assert [one.head.outcome for one in outer.called] == ["fixed"], "it was called once"
    assert later(directory, "undo") == 0
    mended(directory)


def mended(directory: Path) -> None:
    """Nothing of either stands, nothing was done twice."""
    with Journal.open(directory) as journal:
        assert {one.state for one in journal.runs()} <= {"ended"}
    as_before(directory)


def test_an_undisturbed_call_has_that_many_commits(tmp_path: Path) -> None:
    """The kills below must reach every one of them."""
    Mortal.commits, Mortal.when = 0, "never"
    begin(tmp_path, FileAgent(tmp_path), CALLER)

    assert Mortal.commits == COMMITS
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_killed_at_a_commit_then_resumed_and_undone(tmp_path: Path, number: int, when: When) -> None:
    """The caller is what an operator knows of; the rest follows."""
    assert ended(first(tmp_path, commit=(number, when), text=CALLER)) == KILLED
    check(tmp_path)
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, COMMITS + 1, 2))
def test_killed_at_a_commit_then_undone(tmp_path: Path, number: int, when: When) -> None:
    """Undo of the caller ends both."""
    assert ended(first(tmp_path, commit=(number, when), text=CALLER)) == KILLED
    if told(tmp_path)[0] is not None:
        assert later(tmp_path, "undo") == 0
    mended(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_a_write_then_resumed_and_undone(tmp_path: Path, number: int, when: When) -> None:
    """Only the agent knows what happened."""
    assert ended(first(tmp_path, write=(number, when), text=CALLER)) == KILLED
    check(tmp_path)
    finish(tmp_path)
