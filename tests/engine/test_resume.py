"""What a later process does with a run: finish it, take it back, end its leases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import Refused, TargetNotFound, UsageError
from engine.guarding.policy import Policy, RiskAnswers, fingerprint
from engine.journal import Journal
from engine.journal.locks import hold_run
from engine.language import loader
from engine.launch import policy_of
from engine.record import Run, Settled
from engine.reports.story import tell
from engine.running import leases, resume
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import START, FakeClock, FakeDiagnosis, FakeRemediation, FakeTarget, fake_tools
from engine.values import Case, Plan, Target
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


def test_a_question_stays_open_beside_a_change_that_was_kept(tmp_path: Path) -> None:
    """What helped in part is kept, what needs a yes waits, and a later yes finishes both."""
    text = TEXT.replace("change: poll", "change: low").replace("hold: 20s", "hold: 20s, means: none is lost")
    lab = agent(low=0)
    lost = lambda: max(0, 300 - 100 * int(lab.settings["low"]) - 100 * (int(lab.settings["ring"]) - 1))  # type: ignore[arg-type] # noqa: E731
    low = FakeRemediation(lab, "low", 1)
    parts = [flow(lab, lost), FakeDiagnosis(VERDICT), riskier(ring(lab)), low]
    policy = Policy(risk=RiskAnswers(low="auto", medium="ask"))
    document = loader.parse(text.encode(), Path("events-lost.yaml")).document
    with (everything := fake_tools(tmp_path, parts, lab, yes=False, policy=policy)).journal:
        done = run(Order(runbook=document, text=text, target=lab.target), everything)
    assert (done.head.outcome, lab.settings["low"], lab.settings["ring"]) == ("waiting", 1, 1)
    assert "ring needs a yes" in done.head.sentence
    assert "In force because it helped: low" in done.head.sentence
    after = resume.resume("last", fake_tools(tmp_path, parts, lab, yes=True, policy=policy))

    assert (after.head.outcome, lab.settings["ring"]) == ("fixed", 4)
    assert after.head.sentence.startswith("Fixed by low and ring: none is lost, held for 20 s")


def riskier(hand: FakeRemediation) -> FakeRemediation:
    """The same of medium risk."""
    hand.risk = "medium"
    return hand


def test_an_undo_says_that_a_start_is_not_taken_back(tmp_path: Path) -> None:
    """It runs on: it is not undone, not in force to be taken back, and said each time."""
    lab = agent()
    everything = tools(tmp_path, lab)
    hand = everything.parts.remediation("ring")
    plan = hand.plan

    def final(case: Case) -> Plan:
        made = plan(case)
        changes = tuple(msgspec.structs.replace(one, final="it was started") for one in made.changes)
        return msgspec.structs.replace(made, changes=changes)

    hand.plan = final  # type: ignore[method-assign]
    text = TEXT.replace("      - change: poll\n", "")
    document = loader.parse(text.encode(), Path("events-lost.yaml")).document
    with everything.journal:
        done = run(Order(runbook=document, text=text, target=lab.target), everything)
    assert done.head.outcome == "fixed"
    for _ in range(2):
        settled = resume.undo("last", tools(tmp_path, lab))
        assert [(one.state, one.because) for one in settled] == [
            ("kept", "nothing is to be taken back: it was started")
        ]
    journal = tools(tmp_path, lab).journal
    assert (states(journal), resume.runs_in_force(tools(tmp_path, lab))) == (["kept"], [])
    story = tell(journal.run("last"))
    assert (story.later, story.standing) == ("", [])


def test_a_run_that_changed_nothing_is_not_offered_an_undo(tmp_path: Path) -> None:
    """There is nothing to take back."""
    lab = agent()
    lab.settings["ring"] = 4
    ran(tmp_path, lab)
    with pytest.raises(UsageError) as refusal:
        resume.resume("last", tools(tmp_path, lab))

    assert "undo" not in refusal.value.fix


def test_a_run_is_taken_up_under_the_policy_it_was_started_with(tmp_path: Path) -> None:
    """By its file, as long as that is the same."""
    rules = tmp_path / "policy.yaml"
    rules.write_text("policy: 1\n")
    lab, state = agent(), tmp_path / "state"
    ran(state, lab, policy_file=str(rules), policy_hash=fingerprint(rules))
    assert policy_of("last", state) == rules
    rules.write_text("policy: 1\nyes: []\n")
    with pytest.raises(Refused, match="changed since"):
        policy_of("last", state)
    ran(state, lab)

    assert policy_of("last", state) is None
