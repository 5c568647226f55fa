"""Kill -9 of a run whose changes are commands, one for each item: nothing twice, all of it undone.

Before and after every commit, with and without a command that tells whether the change is in force.
Where nothing can tell, a command that was announced and has no outcome is left to a human.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.guarding.policy import Command, Policy, RiskAnswers
from engine.journal import Journal
from engine.running import resume
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import fake_tools
from tests.engine.rehearsed import agent, flow
from tests.faults.mortal import Mortal, When, child, ended, parsed
from tests.faults.test_kill_9 import KILLED, WHENS

pytestmark = pytest.mark.slow

#: Each command appends a line to a log, so that a command that ran twice can't hide.
LOOKS = "        in_force: [/usr/bin/test, -e, '{directory}/{{{{ item }}}}']\n"
TEXT = """
runbook: make-files
steps:
  - look: event-flow
  - each:
      - run: [{directory}/tool, make, "{directory}/{{{{ item }}}}"]
        undo: [{directory}/tool, remove, "{directory}/{{{{ item }}}}"]
{looks}        keep: always
    in: '["a", "b"]'
  - tell: "{{{{ outcome.sentence }}}}"
"""
TOOL = """#!/bin/sh
echo "$1 $2" >> "$(dirname "$0")/log"
case $1 in
make) : > "$2" ;;
remove) rm "$2" ;;
esac
"""
#: Commits of an undisturbed run; the first test holds it to the truth.
COMMITS = 23


def text(directory: Path, *, looks: bool) -> str:
    return TEXT.format(directory=directory, looks=LOOKS.format(directory=directory) if looks else "")


def tools(directory: Path) -> Tools:
    entries = tuple(
        Command(run=f"{directory}/tool", arguments=(verb, f"{directory}/*"), owner="tests")
        for verb in ("make", "remove")
    )
    test = Command(run="/usr/bin/test", arguments=("-e", f"{directory}/*"), reads=True, owner="tests")
    policy = Policy(commands=(*entries, test), risk=RiskAnswers(medium="auto"))
    lab = agent()
    return fake_tools(directory, [flow(lab)], lab, journal=Mortal.open(directory / "state"), policy=policy)


def begin(directory: Path, *, looks: bool) -> None:
    words, everything = text(directory, looks=looks), tools(directory)
    with everything.journal:
        run(Order(runbook=parsed(words).document, text=words, target=agent().target), everything)


def first(directory: Path, number: int, when: When, *, looks: bool) -> int:
    tool = directory / "tool"
    tool.write_text(TOOL)
    tool.chmod(0o755)

    def work() -> None:
        Mortal.commits, Mortal.at, Mortal.when = 0, number, when
        begin(directory, looks=looks)

    return ended(child(work))


def later(directory: Path, doing: str) -> int:
    def work() -> None:
        Mortal.commits, Mortal.when = 0, "never"
        getattr(resume, doing)("last", tools(directory))

    return ended(child(work))


def made(directory: Path) -> set[str]:
    return {name for name in ("a", "b") if (directory / name).exists()}


def log(directory: Path) -> list[str]:
    path = directory / "log"
    return path.read_text().splitlines() if path.exists() else []


def states(directory: Path) -> set[str]:
    with Journal.open(directory / "state") as journal:
        assert journal.verify() == []
        return {one.state for one in journal.attempts()}


def begun(directory: Path) -> bool:
    with Journal.open(directory / "state") as journal:
        return bool(journal.runs())


def test_an_undisturbed_run_has_that_many_commits(tmp_path: Path) -> None:
    """The kills below must reach every one of them."""
    first(tmp_path, 0, "never", looks=True)
    Mortal.commits, Mortal.when = 0, "never"
    for name in ("a", "b"):
        (tmp_path / name).unlink()
    begin(tmp_path, looks=True)

    assert (Mortal.commits, made(tmp_path)) == (COMMITS, {"a", "b"})


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_killed_at_a_commit_then_resumed_and_undone(tmp_path: Path, number: int, when: When) -> None:
    """Where a command can look, a fresh process knows all."""
    assert first(tmp_path, number, when, looks=True) == KILLED
    if not begun(tmp_path):
        return
    assert later(tmp_path, "resume") in {0, 1}  # 1: it had ended
    assert states(tmp_path) <= {"kept", "undone", "not-made"}
    assert (
        max((log(tmp_path).count(line) for line in log(tmp_path) if line.startswith("make")), default=0) <= 1
    )
    assert later(tmp_path, "undo") == 0
    assert (made(tmp_path), states(tmp_path) <= {"undone", "not-made"}) == (set(), True)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_killed_where_nothing_can_look(tmp_path: Path, number: int, when: When) -> None:
    """What the journal knows is undone; what nobody knows is left, and never run again."""
    assert first(tmp_path, number, when, looks=False) == KILLED
    if not begun(tmp_path):
        return
    assert later(tmp_path, "undo") == 0
    assert states(tmp_path) <= {"undone", "not-made", "left"}
    assert len(made(tmp_path)) <= ("left" in states(tmp_path))
    assert max((log(tmp_path).count(line) for line in log(tmp_path)), default=0) <= 1
