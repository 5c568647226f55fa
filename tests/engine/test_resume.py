"""What a later process does with a run: finish it, take it back, end its leases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import Refused, TargetNotFound, UsageError
from engine.journal import Journal
from engine.journal.locks import hold_run
from engine.language import loader
from engine.record import Run, Settled
from engine.running import leases, resume
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import START, FakeClock, FakeDiagnosis, FakeTarget, fake_tools
from engine.values import Target
from tests.engine.rehearsed import VERDICT, agent, flow, of_type, poll, ring, states

TEXT = """
runbook: events-lost
goal: {look: event-flow, until: flow.dropped_per_s == 0, hold: 20s}
steps:
  - look: event-flow
  - decide: loss
  - try:
      - change: poll
      - change: ring
"""


class Crash(BaseException):
    """Stands for a process that ends between two lines."""


def tools(directory: Path, of: FakeTarget, **further: Any) -> Tools:
    return fake_tools(directory, [flow(of), FakeDiagnosis(VERDICT), ring(of), poll(of)], of, **further)


def ran(directory: Path, of: FakeTarget, text: str = TEXT, **further: Any) -> Run:
    document = loader.parse(text.encode(), Path("events-lost.yaml")).document
    everything = tools(directory, of, **further)
    with everything.journal:
        return run(Order(runbook=document, text=text, target=of.target), everything)


def crashed_before_write(directory: Path, of: FakeTarget) -> None:
    everything = tools(directory, of)

    def die(*_: object) -> None:
        raise Crash

    hand = everything.parts.remediation("ring")
    hand.apply = hand.undo = die  # type: ignore[method-assign,assignment]
    hand.state = die  # type: ignore[method-assign,assignment]
    document = loader.parse(TEXT.encode(), Path("events-lost.yaml")).document
    with everything.journal, pytest.raises(Crash):
        run(Order(runbook=document, text=TEXT, target=of.target), everything)


def test_undo_takes_a_run_back_exactly(tmp_path: Path) -> None:
    """Newest first, and only what stands."""
    lab = agent()
    ran(tmp_path, lab)
    settled = resume.undo("last", tools(tmp_path, lab))

    assert [one.state for one in settled] == ["undone"]
    assert lab.settings == {"ring": 1, "poll": 10}


def test_undo_twice_says_there_is_nothing_left(tmp_path: Path) -> None:
    """And writes nothing, to the agent or to the record."""
    lab = agent()
    ran(tmp_path, lab)
    resume.undo("last", tools(tmp_path, lab))
    writes, tip = list(lab.writes), Journal.open(tmp_path).tip()

    assert resume.undo("last", tools(tmp_path, lab)) == []
    assert (lab.writes, Journal.open(tmp_path).tip()) == (writes, tip)


def test_undo_leaves_what_somebody_else_has_set_since(tmp_path: Path) -> None:
    """Never fight a human; say how to take it back by hand."""
    lab = agent()
    ran(tmp_path, lab)
    lab.settings["ring"] = 9  # the operator
    (settled,) = resume.undo("last", tools(tmp_path, lab))

    assert (settled.state, lab.settings["ring"]) == ("left", 9)
    assert "set ring back to 1" in settled.undo_by_hand


def test_what_somebody_else_has_put_back_counts_as_undone(tmp_path: Path) -> None:
    """It was made once, and stands no more."""
    lab = agent()
    ran(tmp_path, lab)
    lab.settings["ring"] = 1  # the operator

    assert [one.state for one in resume.undo("last", tools(tmp_path, lab))] == ["undone"]


def test_undo_needs_no_running_agent(tmp_path: Path) -> None:
    """Its file is still there: the record knows the target as it was."""
    lab = agent()
    ran(tmp_path, lab)

    def gone(_: str) -> Target:
        raise TargetNotFound("no such agent", fix="start it")

    assert [one.state for one in resume.undo("last", tools(tmp_path, lab, find=gone))] == ["undone"]


def test_a_run_that_is_worked_on_is_not_touched(tmp_path: Path) -> None:
    """Two processes would undo each other's work."""
    lab = agent()
    done = ran(tmp_path, lab)
    with hold_run(tmp_path, done.head.id, now=START), pytest.raises(Refused, match=done.head.id):
        resume.undo("last", tools(tmp_path, lab))


def test_an_ended_run_cannot_be_resumed(tmp_path: Path) -> None:
    """The way out names undo."""
    lab = agent()
    ran(tmp_path, lab)
    with pytest.raises(UsageError, match="has ended") as caught:
        resume.resume("last", tools(tmp_path, lab))

    assert "runbook undo" in caught.value.fix


def test_a_change_that_was_never_made_is_settled_as_such_and_then_made(tmp_path: Path) -> None:
    """The intent was on disk, the write was not: a fresh plan goes through the guards again."""
    lab = agent()
    crashed_before_write(tmp_path, lab)
    done = resume.resume("last", tools(tmp_path, lab))

    assert [one.state for one in of_type(done, Settled)] == ["undone", "not-made", "kept"]
    assert (done.head.outcome, lab.writes.count(("ring", 4))) == ("fixed", 1)


def test_the_cause_is_remembered_when_a_run_is_taken_up(tmp_path: Path) -> None:
    """The outcome's sentence names it, though it was decided by an earlier process."""
    lab = agent()
    crashed_before_write(tmp_path, lab)
    lab.settings["ring"] = 4  # made by hand meanwhile, and it helps

    assert "Bursts are larger" in resume.resume("last", tools(tmp_path, lab)).head.sentence


def test_a_value_that_is_neither_is_left_to_a_human(tmp_path: Path) -> None:
    """Nothing is overwritten that we did not write."""
    lab = agent()
    crashed_before_write(tmp_path, lab)
    lab.settings["ring"] = 2  # the operator, in between
    done = resume.resume("last", tools(tmp_path, lab))
    left = next(one for one in of_type(done, Settled) if one.state == "left")

    assert (lab.settings["ring"], done.head.outcome) == (2, "unfixed")
    assert left.undo_by_hand


def test_resume_refuses_what_it_cannot_know(tmp_path: Path) -> None:
    """A secret input is nowhere on disk."""
    lab = agent()
    text = "inputs: {token: {type: text, secret: true}}" + TEXT
    document = loader.parse(text.encode(), Path("x.yaml")).document
    everything = tools(tmp_path, lab)
    order = Order(runbook=document, text=text, inputs={"token": "hunter2"}, target=lab.target)
    with everything.journal:
        head = run(order, everything).head
        log = everything.journal.begin(msgspec.structs.replace(head, id="z", ended_at=None, outcome=None))
    assert log.run == "z"
    with pytest.raises(UsageError, match="secret"):
        resume.resume("z", tools(tmp_path, lab))


LEASED = TEXT.replace("- change: ring", "- {change: ring, lease: 1h}")


def test_a_lease_ends_when_its_time_is_up_and_not_before(tmp_path: Path) -> None:
    """A temporary change is undone by itself, by any later process."""
    lab = agent()
    assert ran(tmp_path, lab, LEASED).head.outcome == "mitigated"
    assert leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 60))) == []
    assert lab.settings["ring"] == 4
    settled = leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 7200)))

    assert [one.state for one in settled] == ["undone"]
    assert (lab.settings["ring"], states(Journal.open(tmp_path))[-1]) == (1, "undone")


def test_leases_are_waited_for(tmp_path: Path) -> None:
    """One process can keep the promise for all runs."""
    lab, clock = agent(), FakeClock()
    ran(tmp_path, lab, LEASED)
    leases.keep_leases(tools(tmp_path, lab, clock=clock))

    assert lab.settings["ring"] == 1
    assert 3600 <= clock.monotonic() < 3700


def test_waiting_ends_when_the_journal_is_gone(tmp_path: Path) -> None:
    """A state directory that was thrown away must not keep a process alive."""
    lab, clock = agent(), FakeClock()
    ran(tmp_path, lab, LEASED)
    later = tools(tmp_path, lab, clock=clock)
    (tmp_path / "journal.db").unlink()
    leases.keep_leases(later)

    assert (lab.settings["ring"], clock.monotonic()) == (4, 0)


def test_a_lease_can_be_made_lasting(tmp_path: Path) -> None:
    """The operator decides to keep it."""
    lab = agent()
    ran(tmp_path, lab, LEASED)
    leases.make_lasting("last", tools(tmp_path, lab))

    assert leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 7200))) == []
    assert lab.settings["ring"] == 4


def test_the_chain_holds_over_everything_that_later_processes_write(tmp_path: Path) -> None:
    """Resumptions, undos and leases are part of the audit."""
    lab = agent()
    crashed_before_write(tmp_path, lab)
    resume.resume("last", tools(tmp_path, lab))
    resume.undo("last", tools(tmp_path, lab))

    assert Journal.open(tmp_path).verify() == []


def test_the_runs_that_stand_can_be_named(tmp_path: Path) -> None:
    """`runbook undo` of a last run that changed nothing points at the earlier one."""
    of = agent()
    mended = ran(tmp_path, of)
    ran(tmp_path, of)

    assert resume.runs_in_force(tools(tmp_path, of)) == [mended.head.id]
    resume.undo(mended.head.id, tools(tmp_path, of))
    assert resume.runs_in_force(tools(tmp_path, of)) == []
