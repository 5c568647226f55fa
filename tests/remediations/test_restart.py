"""Starting an agent that is down: when it may be, after which pause, and what is left of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Case, Cause, Evidence, KnobValue, Process, Reading, Reload, Target, Verdict
from remediations.knobs.processes import started_ticks
from remediations.restart import Restart

START = Reload(by="command", argv=("true",), settle_s=1)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.at = 0.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at

    def sleep(self, seconds):
        self.at += seconds


def case(*, ran=False, start=START, cause="crashed", options=None, repeats=(), ended_at=0.0, **readings):
    unit = {"running": ran, **readings}
    seen = Evidence(
        probe="unit-state", short="unit", target="agent", started_at=ended_at, ended_at=ended_at,
        readings={name: Reading(value=value) for name, value in unit.items()},
    )  # fmt: skip
    causes = (Cause(name=cause, sentence=f"because of {cause}", confidence=0.8),) if cause else ()
    return Case(
        target=Target(name="agent", ref="agent", profile="agent", start=start),
        evidence={"unit": seen},
        verdict=Verdict(diagnosis="agent-down", sentence="", causes=causes),
        knobs={"restart": KnobValue(value="running" if ran else "stopped")},
        options=options or {},
        repeats=tuple(repeats),
    )


def test_an_agent_that_crashed_is_started_at_once():
    """The first start needs no pause, and foretells what is then to be seen."""
    plan = Restart().plan(case())
    (change,) = plan.changes
    assert (change.before, change.after) == ("stopped", {"state": "running", "pause_s": 0.0})
    assert (plan.risk, plan.predictions[0].after) == ("low", 1.0)
    assert change.final


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"stopped_by": "human", "stopped_line": "Stopping agent..."}, r"had agent stopped \(Stopping agent"),
        ({"cause": "crash-loop"}, "one more start would end so too"),
        ({"cause": "failed-load"}, "one more start would end so too"),
        ({"start": Reload()}, "does not say how agent is started"),
        ({"ran": True}, "agent runs"),
        ({"options": {"at": "never"}}, "ruled out"),
        ({"options": {"at": "soon"}}, "neither now nor never"),
        ({"repeats": (3000.0, 900.0, 60.0)}, "3 times within the hour, and 3 are allowed"),
    ],
)
def test_it_is_left_alone_and_told_why(given, says):
    """Never against a human, never where it would not help, never without end."""
    plan = Restart().plan(case(**given))
    assert not plan.changes
    assert re.search(says, plan.reason)


@pytest.mark.parametrize(
    ("repeats", "pause"),
    [((), 0), ((7200.0,), 0), ((2.0,), 8), ((600.0, 2.0), 18), ((600.0, 300.0, 2.0, 1.0), 79), ((900.0,), 0)],
)
def test_the_pause_grows_with_each_start_within_the_hour(repeats, pause):
    """10 s, 20 s, 40 s …, less what has passed since the last one."""
    plan = Restart().plan(case(repeats=repeats, options={"at_most": 9}))
    assert plan.changes[0].after["pause_s"] == pause


def test_a_running_agent_is_started_anew_only_at_the_chosen_moment():
    """A leak is ended at night, not when the evidence happens to be ready."""
    at_three = time.mktime((2026, 5, 4, 3, 10, 0, 0, 0, -1))
    at_noon = time.mktime((2026, 5, 4, 12, 0, 0, 0, 0, -1))
    now = Restart().plan(case(ran=True, options={"at": "now"}))
    assert (now.changes[0].after_text, now.risk) == ("started anew", "medium")
    assert now.loses
    assert Restart().plan(case(ran=True, options={"at": "03:00"}, ended_at=at_three)).changes
    later = Restart().plan(case(ran=True, options={"at": "03:00"}, ended_at=at_noon))
    assert not later.changes
    assert "it is 12:00, and 03:00 was chosen" in later.reason


def test_a_service_is_started_through_its_unit_where_the_profile_does_not_say_how():
    """systemd would otherwise not know that it runs."""
    target = Target(name="agent", ref="agent", facts={"unit": "agent"})
    knob = Restart().planner.find(target)
    assert (knob.reload.by, knob.reload.unit) == ("systemd", "agent.service")


# ── starting ────────────────────────────────────────────────────────────────────


class Agent:
    """A real process that a real command starts, and the target an engine would make of it."""

    def __init__(self, directory):
        self.pid_file = directory / "pid"
        script = (
            "import subprocess, sys; "
            "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'], "
            f"start_new_session=True); open({str(self.pid_file)!r}, 'w').write(str(p.pid))"
        )
        self.start = Reload(by="command", argv=(sys.executable, "-S", "-c", script), settle_s=30)

    @property
    def target(self):
        pid = int(self.pid_file.read_text()) if self.pid_file.exists() else 0
        ticks = started_ticks(pid) if pid else None
        processes = (Process(pid=pid, started_ticks=ticks),) if ticks else ()
        return Target(name="agent", ref="agent", profile="agent", processes=processes, start=self.start)

    def end(self):
        for process in self.target.processes:
            os.kill(process.pid, 9)


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path)
    yield made
    made.end()


def planned(agent, **options):
    decided = case(start=agent.start, options=options)
    return Restart().plan(decided).changes[0]


def test_it_is_started_and_another_process_runs_then(agent):
    """What tells a start that was made from one that was not."""
    hand, change = Restart(Clock()), planned(agent)
    captured = hand.capture(change, agent.target)
    assert hand.state(change, agent.target, captured) == "before"
    hand.apply(change, agent.target, captured)
    assert hand.state(change, agent.target, captured) == "after"


def test_undo_stops_it_again_only_where_the_plan_says_so(agent):
    """An agent that runs is what everybody wants; a trial may want it back as it was."""
    hand, change = Restart(Clock()), planned(agent, stop_again=True)
    assert not change.final
    captured = hand.capture(change, agent.target)
    hand.apply(change, agent.target, captured)
    assert "stopped again" in hand.undo(change, agent.target, captured)
    assert hand.state(change, agent.target, captured) == "before"


def test_who_was_started_by_another_meanwhile_is_left_alone(agent):
    """A supervisor or an operator was faster: two agents would be worse than none."""
    hand, change = Restart(Clock()), planned(agent)
    captured = hand.capture(change, agent.target)
    subprocess.run(agent.start.argv, check=True)
    with pytest.raises(ChangedSince, match="meanwhile"):
        hand.apply(change, agent.target, captured)
    with pytest.raises(ChangedSince, match="is running"):
        hand.capture(change, agent.target)


def test_a_start_that_fails_says_what_the_command_said():
    """The way out is in its words."""
    start = Reload(by="command", argv=("sh", "-c", "echo no such config >&2; exit 3"), settle_s=30)
    made = case(start=start)
    hand, change = Restart(Clock()), Restart().plan(made).changes[0]
    with pytest.raises(ChangeFailed, match="ended with 3: no such config"):
        hand.apply(change, made.target, hand.capture(change, made.target))


def test_the_pause_is_waited_out(agent):
    """Before the start, not after it."""
    clock = Clock()
    plan = Restart().plan(case(start=agent.start, repeats=(2.0,)))
    hand, change = Restart(clock), plan.changes[0]
    hand.apply(change, agent.target, hand.capture(change, agent.target))
    assert clock.at == 8.0
