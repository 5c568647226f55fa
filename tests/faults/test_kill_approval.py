"""Kill -9 of a change that waits for a yes: at its request, its ruling, the resumption, the write, the end.

Whatever is killed: the request can still be answered, nothing is made without its yes, and nothing twice.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from engine.errors import Refused
from engine.journal import Journal
from engine.pending import open_request
from engine.record import Intended, Requested, Ruled, Run, Settled
from engine.running import resume, unanswered
from engine.running.approval import Ruling, rule
from engine.running.runner import Order, run
from engine.running.scene import Tools
from tests.engine.rehearsed import of_type
from tests.faults.mortal import FIXED, TEXT, FileAgent, Mortal, When, child, ended, parsed, tools
from tests.faults.test_kill_9 import KILLED, WHENS, check, told

pytestmark = pytest.mark.slow

#: As ``mortal.TEXT`` with one rung, and as a called runbook.
ONE = TEXT.replace("      - change: poll\n", "")
CALLER = "runbook: outer\nsteps:\n  - call: events-lost\n"
#: More commits than a process of these makes; ``test_the_kills_reach_every_commit`` holds them to it.
ASKING, ANSWERING, USING, CALLED = 11, 1, 20, 26
#: Long after any yes.
NOW = 1_767_603_700.0

Answer = Literal["approved", "denied"]


def nobody(directory: Path, agent: FileAgent) -> Tools:
    """Tools of a process at which nobody sits."""
    everything = tools(directory, agent)
    return dataclasses.replace(everything, yes=False, runbook=lambda _name, _where: parsed(ONE))


def process(work: Callable[[], object], commit: tuple[int, When] = (0, "never")) -> int:
    """Some work in a child that dies at this commit; its exit code."""

    def doomed() -> None:
        Mortal.commits, (Mortal.at, Mortal.when) = 0, commit
        work()

    return ended(child(doomed))


def ask(directory: Path, commit: tuple[int, When] = (0, "never"), text: str = ONE) -> int:
    """A fresh run, which comes to its request."""
    agent = FileAgent(directory)

    def work() -> None:
        with (everything := nobody(directory, agent)).journal:
            run(Order(runbook=parsed(text).document, text=text, target=agent.target), everything)

    return process(work, commit)


def answer(
    directory: Path, commit: tuple[int, When] = (0, "never"), said: Answer = "approved", by: str = "anna"
) -> int:
    """Somebody's answer, if something waits for one."""

    def work() -> None:
        with Mortal.open(directory) as journal:
            waiting = open_request(journal.run("last"))
            if waiting is not None:
                ruling = Ruling(digest=waiting.requested.digest, answer=said, by=by)
                rule(journal.run("last").head.id.partition(".")[0], ruling, journal, NOW)

    return process(work, commit)


def go_on(
    directory: Path, commit: tuple[int, When] = (0, "never"), write: tuple[int, When] = (0, "never")
) -> int:
    """The run, taken up by another process."""

    def work() -> None:
        with (everything := nobody(directory, FileAgent(directory, *write))).journal:
            first = everything.journal.run("last").head.id.partition(".")[0]
            resume.resume(first, everything)

    return process(work, commit)


def finish(directory: Path, writes: int = 1) -> None:
    """Answer and resume, as often as it takes; then look at what was done."""
    for _ in range(4):
        lawful(directory)
        last = outermost(directory)
        if last is None or last.head.outcome not in {None, "waiting"}:
            break
        assert answer(directory) == 0
        assert go_on(directory) == 0
    lawful(directory)
    last = outermost(directory)
    if last is None:
        return  # killed before its head was on disk: there never was a run
    assert (last.state, last.head.outcome) in {("ended", "fixed"), ("ended", "unfixed")}
    assert FileAgent(directory).writes_of("ring", 4) == writes
    if last.head.outcome == "fixed":
        assert FileAgent(directory).read() == FIXED


def outermost(directory: Path) -> Run | None:
    last, _ = told(directory)
    if last is None:
        return None
    with Journal.open(directory) as journal:
        return journal.run(last.head.id.partition(".")[0])


def lawful(directory: Path) -> None:
    """The chain is whole; every change had a yes of its own; what was requested can be answered."""
    check(directory)
    last = outermost(directory)
    for one in (last, *last.called) if last else ():
        with_a_yes(one)
        requests, rulings = of_type(one, Requested), of_type(one, Ruled)
        still_open = {each.digest for each in requests} - {each.digest for each in rulings}
        if still_open and last is not None and last.head.outcome in {None, "waiting"}:
            assert open_request(last) is not None


def with_a_yes(one: Run) -> None:
    """Each change used up one yes, unless it was never made."""
    yes = 0
    for event in one.events:
        if isinstance(event, Ruled):
            yes = 1 if event.answer == "approved" else 0
        elif isinstance(event, Intended):
            assert yes == 1
            yes = 0
        elif isinstance(event, Settled) and event.state == "not-made":
            yes = 1


def commits(work: Callable[[], object]) -> int:
    """How many commits some work makes, in this process."""
    Mortal.commits, Mortal.when = 0, "never"
    work()
    return Mortal.commits


def test_the_kills_reach_every_commit(tmp_path: Path) -> None:
    """The numbers above are those of undisturbed processes."""
    agent = FileAgent(tmp_path)
    with (everything := nobody(tmp_path, agent)).journal:
        order = Order(runbook=parsed(ONE).document, text=ONE, target=agent.target)
        asking = commits(lambda: run(order, everything))
        digest = of_type(everything.journal.run("last"), Requested)[0].digest
        ruling = Ruling(digest=digest, answer="approved", by="anna")
        answering = commits(lambda: rule("last", ruling, everything.journal, NOW))
        using = commits(lambda: resume.resume("last", everything))

    assert (asking, answering, using) == (ASKING, ANSWERING, USING)
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, ASKING + 1))
def test_killed_while_it_asks(tmp_path: Path, number: int, when: When) -> None:
    """A request that is on disk can be answered; one that is not is made again."""
    assert ask(tmp_path, (number, when)) == KILLED
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
def test_killed_while_somebody_answers(tmp_path: Path, when: When) -> None:
    """The yes is on disk or it is not, and then it can be given again."""
    assert ask(tmp_path) == 0
    assert answer(tmp_path, (ANSWERING, when)) == KILLED
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, USING + 1))
def test_killed_while_the_yes_is_used(tmp_path: Path, number: int, when: When) -> None:
    """The yes is used up by the change, and by nothing else."""
    assert (ask(tmp_path), answer(tmp_path)) == (0, 0)
    assert go_on(tmp_path, (number, when)) == KILLED
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
def test_killed_at_the_write_itself(tmp_path: Path, when: When) -> None:
    """A write that was never made may be made with the same yes."""
    assert (ask(tmp_path), answer(tmp_path)) == (0, 0)
    assert go_on(tmp_path, write=(1, when)) == KILLED
    finish(tmp_path)


@pytest.mark.parametrize("number", range(1, USING + 1))
def test_killed_twice_while_the_yes_is_used(tmp_path: Path, number: int) -> None:
    """What takes it up again may die as well."""
    assert (ask(tmp_path), answer(tmp_path)) == (0, 0)
    assert go_on(tmp_path, (number, "after")) == KILLED
    assert go_on(tmp_path, (5, "before")) in {KILLED, 0, 1}
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, USING + 1))
def test_killed_while_a_no_is_taken(tmp_path: Path, number: int, when: When) -> None:
    """A no stays a no: nothing is ever written."""
    assert ask(tmp_path) == 0
    assert answer(tmp_path, said="denied") == 0
    go_on(tmp_path, (number, when))
    if (last := outermost(tmp_path)) and last.head.outcome in {None, "waiting"}:
        assert go_on(tmp_path) == 0

    assert outermost(tmp_path).head.outcome == "refused"  # type: ignore[union-attr]
    assert FileAgent(tmp_path).writes_of("ring", 4) == 0


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("number", range(1, CALLED + 1))
def test_a_called_run_killed_while_the_yes_is_used(tmp_path: Path, number: int, when: When) -> None:
    """Its caller takes it up, and the change is made once."""
    assert (ask(tmp_path, text=CALLER), answer(tmp_path)) == (0, 0)
    assert go_on(tmp_path, (number, when)) in {KILLED, 0}
    finish(tmp_path)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("doing", ["expire", "withdraw", "stop"])
@pytest.mark.parametrize("text", [ONE, CALLER], ids=["one", "called"])
def test_killed_while_it_ends_what_waits(tmp_path: Path, doing: str, text: str, when: When) -> None:
    """All of it is on disk, the callers' ends included, or nothing of it."""
    assert ask(tmp_path, text=text) == 0

    def end() -> None:
        with Mortal.open(tmp_path) as journal:
            first = journal.run("last").head.id.partition(".")[0]
            if doing == "expire":
                unanswered.expire(first, journal, NOW + 86400)
            elif doing == "withdraw":
                unanswered.withdraw(first, "the alert has resolved", journal, NOW)
            else:
                unanswered.stop(first, "anna", journal, NOW)

    assert process(end, (1, when)) == KILLED
    waits = outermost(tmp_path)
    assert waits is not None
    assert (open_request(waits) is not None) == (when == "before")
    assert process(end) == 0
    if doing == "withdraw":
        assert go_on(tmp_path) == 0
    last = outermost(tmp_path)

    assert last is not None
    outcomes = {one.head.outcome for one in (last, *last.called)}
    assert outcomes == {"interrupted" if doing == "stop" else "refused"}
    assert FileAgent(tmp_path).writes_of("ring", 4) == 0


def test_of_many_who_answer_at_once_one_counts(tmp_path: Path) -> None:
    """Twelve processes, half of them with yes and half with no."""
    assert ask(tmp_path) == 0
    with Journal.open(tmp_path) as journal:
        waiting = open_request(journal.run("last"))
    assert waiting is not None

    def one_of(number: int) -> Callable[[], None]:
        said: Answer = "approved" if number % 2 else "denied"
        ruling = Ruling(digest=waiting.requested.digest, answer=said, by=f"person {number}")

        def work() -> None:
            with Journal.open(tmp_path) as journal:
                try:
                    rule("last", ruling, journal, NOW)
                except Refused:
                    return
                raise SystemExit(f"person {number} counts")

        return work

    Mortal.when = "never"
    codes = [ended(pid) for pid in [child(one_of(number)) for number in range(12)]]
    done = outermost(tmp_path)

    assert done is not None
    assert (codes.count(1), codes.count(0)) == (1, 11)
    assert len(of_type(done, Ruled)) == 1
    assert signal.SIGKILL.value not in codes
