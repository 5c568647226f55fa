"""Temporary changes: listed, given more time, ended, kept; once each, whoever else does the same."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from engine.cli import main
from engine.errors import Refused, UsageError
from engine.fakes import FakeTarget
from engine.guarding.policy import Lease, Policy
from engine.journal import Journal, locks
from engine.journal.rows import decode
from engine.record import Extended, Resumed, Settled
from engine.reports import story
from engine.running import leases
from engine.testing import START, FakeClock
from tests.engine.rehearsed import agent, of_type
from tests.engine.test_resume import LEASED, ran, tools

BOTH = LEASED.replace("- change: poll", "- {change: poll, keep: always, lease: 30m}")


def leased(directory: Path, text: str = LEASED) -> FakeTarget:
    """An agent with temporary changes in force."""
    lab = agent()
    ran(directory, lab, text)
    return lab


def test_a_lease_is_listed_with_all_that_one_decides_by(tmp_path: Path) -> None:
    """What, where, since when, until when, by whom."""
    lab = leased(tmp_path)
    everything = tools(tmp_path, lab)
    (one,) = leases.standing(everything.journal, everything.parts)

    assert (one.attempt, one.target, one.remediation, one.before, one.after) == (2, "fake", "ring", "1", "4")
    assert one.until == pytest.approx(one.since + 3600)
    assert (one.by, "4" in one.lines) == ("tester", True)


def test_more_time_moves_the_end(tmp_path: Path) -> None:
    """At the old end nothing happens; at the new one it is undone. Who did it is on record."""
    lab = leased(tmp_path)
    (event,) = leases.extend("last", tools(tmp_path, lab), seconds=1800.0, comment="the burst goes on")
    assert leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 3700))) == []
    assert lab.settings["ring"] == 4
    settled = leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 5600)))

    assert ([one.state for one in settled], lab.settings["ring"]) == (["undone"], 1)
    journal = Journal.open(tmp_path)
    assert of_type(journal.run("last"), Extended) == [event]
    assert (event.by, event.comment) == ("tester", "the burst goes on")
    assert journal.verify() == []


def test_less_time_ends_it_sooner_but_not_before_now(tmp_path: Path) -> None:
    """Somebody who takes away more than is left means: now."""
    lab = leased(tmp_path)
    now = FakeClock(START + 600)
    (event,) = leases.extend("last", tools(tmp_path, lab, clock=now), seconds=-86400.0)

    assert event.lease_until == pytest.approx(START + 600, abs=1)
    assert len(leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 601)))) == 1


@pytest.mark.parametrize("seconds", [1e308, float("inf"), float("-inf"), float("nan"), 4e7])
def test_a_lease_is_given_no_time_that_leads_to_no_date(tmp_path: Path, seconds: float) -> None:
    """Also where the policy bounds nothing: at most a year at once."""
    lab = leased(tmp_path)
    with pytest.raises(UsageError, match="no time that a lease can be given"):
        leases.extend("last", tools(tmp_path, lab), seconds=seconds)

    assert of_type(Journal.open(tmp_path).run("last"), Extended) == []


def test_a_journal_with_an_end_that_is_no_date_can_still_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written before there was a bound: audit, report and the list of leases tell it as it is."""
    leased(tmp_path)
    with Journal.open(tmp_path) as journal:
        run = journal.run("last").head.id
        journal.continue_(run).record(Extended(at=START, attempt=2, lease_until=1e308, by="otto"))
    for command in (["audit"], ["audit", "--json"], ["report", run], ["leases"]):
        main([*command, "--state", str(tmp_path)])

    assert "no date (1e+308)" in capsys.readouterr().out


def test_a_policy_bounds_how_long_a_lease_lasts_in_all(tmp_path: Path) -> None:
    """However often it is given more time; less is always allowed."""
    lab = leased(tmp_path)
    policy = Policy(lease=Lease(at_most=7200.0))
    leases.extend("last", tools(tmp_path, lab, policy=policy), seconds=3500.0)
    with pytest.raises(Refused, match="lets a lease last 2 h at most") as caught:
        leases.extend("last", tools(tmp_path, lab, policy=policy), seconds=3500.0)
    leases.extend("last", tools(tmp_path, lab, policy=Policy(lease=Lease(at_most=60.0))), seconds=-60.0)

    assert "runbook leases keep" in caught.value.fix
    assert len(of_type(Journal.open(tmp_path).run("last"), Extended)) == 2


def test_a_policy_bounds_the_lease_that_a_runbook_gives(tmp_path: Path) -> None:
    """Else the bound would be one sentence in a runbook away."""
    lab = agent()
    ran(tmp_path, lab, LEASED, policy=Policy(lease=Lease(at_most=60.0)), yes=True)
    (one,) = Journal.open(tmp_path).leases(float("inf"))

    assert one.lease_until == pytest.approx(one.intended_at + 60)


def test_one_of_two_leases_can_be_ended_now(tmp_path: Path) -> None:
    """The other one stays."""
    lab = leased(tmp_path, BOTH)
    settled = leases.end_now("last", tools(tmp_path, lab), attempt=1)

    assert ([one.because for one in settled], lab.settings) == (
        ["its lease was ended by tester"],
        {"ring": 4, "poll": 10},
    )
    assert [one.number for one in Journal.open(tmp_path).leases(float("inf"))] == [2]


def test_the_report_says_who_ended_a_lease(tmp_path: Path) -> None:
    """By hand it has not ended of itself."""
    lab = leased(tmp_path)
    leases.end_now("last", tools(tmp_path, lab))
    later = story.tell(Journal.open(tmp_path).run("last")).later
    assert "since its lease was ended by tester" in later


def test_one_of_two_leases_can_be_kept(tmp_path: Path) -> None:
    """The other one ends in its time; the lines are those of the kept one."""
    lab = leased(tmp_path, BOTH)
    everything = tools(tmp_path, lab)
    settled = leases.make_lasting("last", everything, attempt=2)
    leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 9000)))

    assert [(one.attempt, one.state) for one in settled] == [(2, "kept")]
    assert lab.settings == {"ring": 4, "poll": 10}
    assert leases.lines_of("last", settled, everything).splitlines()[-1] == "4"


def test_what_is_no_lease_is_told(tmp_path: Path) -> None:
    """Wrong numbers must not end something else."""
    lab = leased(tmp_path)
    everything = tools(tmp_path, lab)
    for act in (leases.end_now, leases.make_lasting):
        with pytest.raises(UsageError, match="its change 7 is not temporary"):
            act("last", everything, 7)
    leases.make_lasting("last", everything)
    with pytest.raises(UsageError, match="no change of it is temporary"):
        leases.extend("last", everything, seconds=60.0)


def test_a_run_that_is_worked_on_is_left_alone(tmp_path: Path) -> None:
    """Its own process decides; a lease that is due waits for it."""
    lab = leased(tmp_path)
    late = tools(tmp_path, lab, clock=FakeClock(START + 9000))
    with locks.hold_run(tmp_path, late.journal.run("last").head.id, now=START):
        assert leases.end_leases(late) == []
        for act in (lambda: leases.extend("last", late, seconds=60.0), lambda: leases.end_now("last", late)):
            with pytest.raises(Refused, match="works on"):
                act()

    assert [one.state for one in leases.end_leases(late)] == ["undone"]


def test_two_that_end_the_same_lease_end_it_once(tmp_path: Path) -> None:
    """The worker and the watch of a command that is still there: one undo, one row, whoever is first."""
    lab = leased(tmp_path)
    done: list[list[Settled]] = []
    barrier = threading.Barrier(2)

    def ends() -> None:
        mine = tools(tmp_path, lab, clock=FakeClock(START + 9000))
        with mine.journal:
            barrier.wait()
            done.append(leases.end_leases(mine))

    both = [threading.Thread(target=ends) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()

    run = Journal.open(tmp_path).run("last")
    assert sorted(map(len, done)) == [0, 1]
    assert [event.doing for event in of_type(run, Resumed)] == ["lease-end"]
    assert [event.state for event in of_type(run, Settled)].count(
        "undone"
    ) == 2  # the poll interval before it


def test_what_was_due_before_the_lock_and_is_not_any_more_is_left(tmp_path: Path) -> None:
    """Between the look and the lock somebody has given it more time."""
    lab = leased(tmp_path)
    late = tools(tmp_path, lab, clock=FakeClock(START + 3700))
    looked = late.journal.leases(late.clock.now())
    leases.extend("last", tools(tmp_path, lab), seconds=3600.0)
    late.journal.leases = lambda now: looked if now < START + 9000 else Journal.open(tmp_path).leases(now)  # type: ignore[method-assign]

    assert leases.end_leases(late) == []
    assert lab.settings["ring"] == 4


def test_a_lease_that_fell_due_while_nothing_ran_is_ended_at_the_next_start(tmp_path: Path) -> None:
    """The machine was off for a week: whoever comes first ends it, from the journal alone."""
    lab = leased(tmp_path)
    leases.extend("last", tools(tmp_path, lab), seconds=600.0)
    settled = leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 7 * 86400)))

    assert ([one.state for one in settled], lab.settings["ring"]) == (["undone"], 1)


def test_extending_never_touches_the_agent(tmp_path: Path) -> None:
    """It is a row in the journal and nothing else."""
    lab = leased(tmp_path)
    before = dict(lab.settings)
    leases.extend("last", tools(tmp_path, lab), seconds=60.0)

    assert lab.settings == before
    assert [
        type(decode(body)) for _, body in Journal.open(tmp_path).bodies(Journal.open(tmp_path).run().head.id)
    ][-1] is Extended


def test_the_command_extends_keeps_and_prints_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, by the run's id or `last`."""
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path))
    monkeypatch.setattr("engine.running.watch.start", lambda journal: None)
    monkeypatch.setattr("engine.running.leases.made_of", lambda one, run, tools: fake_made(one.number))
    leased(tmp_path)
    assert main(["leases", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert main(["leases", "extend", "last", "2", "--by", "1h30m"]) == 0
    assert capsys.readouterr().out.startswith("change 2: until 2")
    assert main(["leases"]) == 0
    assert row["run"] in capsys.readouterr().out
    assert main(["leases", "extend", "last", "--by", "soon"]) == 2
    assert main(["keep", "last"]) == 0
    out = capsys.readouterr().out
    assert "kept" in out
    assert "into the configuration" in out
    assert main(["leases"]) == 0
    assert capsys.readouterr().out == "no change is temporary\n"


def fake_made(number: int) -> object:
    """The fake remediation is not installed; keeping needs no hands."""

    class Made:
        step = ""
        attempt = number

    return Made()
