"""Kill -9 of a run that asks people: asked once more if need be, answered once, done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import pending
from engine.journal import Journal
from engine.record import Answered
from engine.running import resume
from tests.engine.rehearsed import of_type
from tests.faults.mortal import FileAgent, Mortal, When, child, ended, first, tools
from tests.faults.test_kill_9 import KILLED, WHENS, check

pytestmark = pytest.mark.slow

TEXT = """
runbook: ask-first
steps:
  - look: event-flow
  - ask: May it be?
  - change: ring
    keep: always
    when: answer.yes
"""
#: Commits of a run that waits, and of the resumption that answers it.
ASKING, ANSWERING = 6, 14


def answer(directory: Path, commit: tuple[int, When] = (0, "never")) -> int:
    def work() -> None:
        Mortal.commits, (Mortal.at, Mortal.when) = 0, commit
        with Journal.open(directory) as journal:
            asked = pending.open_question(journal.run("last"))
        given = {"yes": "yes"} if asked else {}
        resume.resume("last", tools(directory, FileAgent(directory)), given)

    return ended(child(work))


def finish(directory: Path) -> None:
    """Answer it, however often that takes; then the change was made once, and taken back where unproven."""
    for _ in range(3):
        with Journal.open(directory) as journal:
            runs = journal.runs()
        if not runs or runs[0].head.outcome not in {None, "waiting"}:
            break
        assert answer(directory) == 0
    check(directory)
    if not runs:
        return
    with Journal.open(directory) as journal:
        done = journal.run("last")
        attempts = journal.attempts()
    assert len(of_type(done, Answered)) == 1
    assert [one.state for one in attempts] in (["kept"], ["undone"], ["not-made", "kept"])
    assert FileAgent(directory).writes_of("ring", 4) == 1


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, ASKING + 1))
def test_killed_while_it_asks(tmp_path: Path, number: int, when: When) -> None:
    """A question that nobody has seen is asked again."""
    assert ended(first(tmp_path, commit=(number, when), text=TEXT)) in {KILLED, 0}
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, ANSWERING + 1))
def test_killed_while_it_is_answered(tmp_path: Path, number: int, when: When) -> None:
    """An answer that is on disk is not asked for again."""
    assert ended(first(tmp_path, text=TEXT)) == 0
    assert answer(tmp_path, (number, when)) in {KILLED, 0}
    finish(tmp_path)
