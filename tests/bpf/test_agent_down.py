"""How an agent ended, put together from unit, log and kernel log; and the cause that is named from it."""

from __future__ import annotations

import subprocess

import pytest

from bpf.diagnoses.agent_down import AgentDown
from bpf.down import ending, last_words, systemd
from bpf.down.crashes import crashes
from bpf.system.kmsg import Line
from bpf.system.oom_kills import kills
from engine.values import Case, Evidence, Process, Reading, Reload, Target

NOW = 1_700_000_000.0
OOM = (
    Line(NOW, 6, "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task_memcg=/a,task=agent,pid=812,uid=0"),
    Line(NOW, 3, "Memory cgroup out of memory: Killed process 812 (agent) total-vm:1kB, anon-rss:1kB"),
)
SEGFAULT = Line(
    NOW, 6, "reader[815]: segfault at 0 ip 0055 sp 007f error 6 in agent[8fa0,5600+18000] likely on CPU 1"
)
WHO = ending.Who(names=frozenset({"agent"}), pids=frozenset({812}), since=NOW - 60)

SHOW = """\
LoadState=loaded
ActiveState=failed
SubState=failed
Result=core-dump
NRestarts=4
MainPID=0
ExecMainPID=812
ExecMainCode=3
ExecMainStatus=11
ExecMainStartTimestampMonotonic=5000000
ExecMainExitTimestampMonotonic=9000000
"""
STOPPING, STARTED = "de5b426a63be47a7b6ac3eaac82e2f6f", "39f53479d3a045ac8e11786248231fbf"


class Systemctl:
    """Stands for systemctl and journalctl: answers recorded on a machine where systemd is the init."""

    def __init__(self, show=SHOW, journal=()):
        self.show = show
        self.journal = "\n".join(
            f'{{"MESSAGE_ID": "{what}", "MESSAGE": "{text}", "__REALTIME_TIMESTAMP": "{int(NOW * 1e6)}"}}'
            for what, text in journal
        )

    def __call__(self, command):
        return self.show if command[0] == "systemctl" else self.journal


# ── systemd ─────────────────────────────────────────────────────────────────────


def test_a_unit_s_last_end_is_read_as_systemd_tells_it():
    """A dumped core is a signal, not an exit code: 11 is SIGSEGV, not "ended with 11"."""
    unit = systemd.show("agent.service", Systemctl())
    assert (unit.active_state, unit.result, unit.pid, unit.restarts) == ("failed", "core-dump", 812, 4)
    assert (unit.exit_signal, unit.exit_code) == (11, None)
    assert (unit.started_s, unit.ended_s) == (5.0, 9.0)


def test_an_exit_code_is_no_signal():
    """The other way round."""
    text = SHOW.replace("ExecMainCode=3", "ExecMainCode=1").replace("ExecMainStatus=11", "ExecMainStatus=2")
    unit = systemd.show("agent.service", Systemctl(text))
    assert (unit.exit_signal, unit.exit_code) == (None, 2)


def test_a_stop_is_somebody_s_wish_only_when_nothing_started_after_it():
    """An update stops and starts a unit: that is no reason to leave a crashed one alone."""
    stopped = Systemctl(journal=[(STARTED, "Started agent."), (STOPPING, "Stopping agent...")])
    again = Systemctl(journal=[(STOPPING, "Stopping agent..."), (STARTED, "Started agent.")])
    asked = systemd.show("agent.service", stopped).stop_asked
    assert asked is not None
    assert asked.text == "Stopping agent..."
    assert systemd.show("agent.service", again).stop_asked is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError("systemctl"), "there is no systemctl here"),
        (
            subprocess.CalledProcessError(1, "systemctl", stderr="not been booted with systemd\nmore"),
            "not been booted",
        ),
        (subprocess.TimeoutExpired("systemctl", 2), "timed out"),
    ],
)
def test_where_systemd_is_not_the_init_it_says_so(error, says):
    """The process table is asked instead; the operator learns why the unit's state is missing."""

    def refuses(_command):
        raise error

    with pytest.raises(systemd.NoSystemd, match=says):
        systemd.show("agent.service", refuses)


def test_a_unit_that_does_not_exist_is_none():
    """systemctl answers for any name, as if it were merely inactive."""
    with pytest.raises(systemd.NoSystemd, match="knows no unit"):
        systemd.show(
            "agnet.service", Systemctl("LoadState=not-found\nActiveState=inactive\nResult=success\n")
        )


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        (Target(name="a", ref="a", facts={"unit": "agent"}), "agent.service"),
        (Target(name="a", ref="a", start=Reload(by="systemd", unit="x.service")), "x.service"),
        (
            Target(name="a", ref="a", processes=(Process(pid=1, cgroup="/system.slice/y.service"),)),
            "y.service",
        ),
        (Target(name="a", ref="a", processes=(Process(pid=1, cgroup="/user.slice"),)), ""),
    ],
)
def test_the_unit_is_the_profile_s_else_the_cgroup_s(target, unit):
    """A profile knows best; an agent nobody described still tells its unit by its cgroup."""
    assert systemd.unit_of(target) == unit


# ── last words ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "line",
    [
        "info ends: Terminated; received 12",
        "received signal: terminated, SIGTERM",
        "shutting down gracefully",
    ],
)
def test_who_says_that_it_was_told_to_stop_is_believed(line):
    """Agents announce a stop; they do not announce a death."""
    words = last_words.read(["ready", line])
    assert words.stopped == line
    assert not words.died


@pytest.mark.parametrize(
    ("line", "signal", "code"),
    [
        ("supervisor: agent[812] ended by signal 11 (Segmentation fault); restart 3 in 1 s", 11, None),
        ("agent.service: main process exited with code 2", None, 2),
        ("[signal SIGSEGV: segmentation violation code=0x1]", 11, None),
        ("panic: runtime error: index out of range", None, None),
    ],
)
def test_a_death_is_read_with_its_number(line, signal, code):
    """Whoever watches over it may say what the kernel's log has lost."""
    words = last_words.read(["ready", line])
    assert (words.died, words.signal, words.code) == (line, signal, code)


def test_a_failed_load_counts_until_a_start_goes_well():
    """What was mended yesterday must not be the reason of today."""
    failed = ["libbpf: failed to load object", "error failed to load BPF programs: Permission denied"]
    assert last_words.read(failed).load
    assert not last_words.read([*failed, "ready: metrics on :9435", "info ends: Terminated"]).load


def test_an_agent_that_ends_itself_politely_after_a_failed_load_was_not_stopped():
    """ "Shutting down" after "failed to load" is nobody's wish."""
    assert not last_words.read(["failed to load BPF programs", "shutting down"]).stopped


def test_restarts_are_counted_by_the_stamps_of_their_lines():
    """The log of a week must not make a loop of ten minutes."""
    lines = [
        f"2023-11-14T22:{minute:02}:00.000Z supervisor: restart {minute} in 1 s" for minute in (0, 11, 12, 13)
    ]
    again = last_words.read(lines).again
    assert ending.restarts(again, 0, NOW, None) == (3, pytest.approx(3 / (140 / 60)))


# ── whose death it was ──────────────────────────────────────────────────────────


def test_a_kill_is_the_agent_s_by_its_pid():
    """Other agents of the same name may have been killed on the same machine."""
    words = last_words.Words()
    assert ending.of(WHO, words, kills(OOM), ()).kill
    other = ending.Who(names=frozenset({"agent"}), pids=frozenset({900}), since=NOW - 60)
    assert not ending.of(other, words, kills(OOM), ()).kill


def test_a_kill_before_the_last_start_is_not_this_end():
    """Pids are used again within hours on a busy machine."""
    later = ending.Who(names=frozenset({"agent"}), pids=frozenset({812}), since=NOW + 60)
    assert not ending.of(later, last_words.Words(), kills(OOM), ()).kill


def test_without_a_pid_the_name_counts_only_near_the_last_line():
    """The best that can be said of an agent without a pid file; silence for hours says nothing."""
    near = ending.Who(names=frozenset({"agent"}), last_line_at=NOW - 5)
    far = ending.Who(names=frozenset({"agent"}), last_line_at=NOW - 3600)
    words = last_words.Words()
    assert ending.of(near, words, kills(OOM), ()).kill
    assert not ending.of(far, words, kills(OOM), ()).kill
    told = last_words.Words(stopped="ends: Terminated")
    assert not ending.of(near, told, kills(OOM), ()).kill  # it says itself how it ended


def test_a_crash_is_found_by_the_thread_that_did_it():
    """The kernel names the thread, not the process."""
    (crash,) = crashes((SEGFAULT,))
    assert (crash.tid, crash.comm, crash.file, crash.signal) == (815, "reader", "agent", 11)
    end = ending.of(WHO, last_words.Words(), (), (crash,))
    assert (end.exit_signal, end.stopped_by) == (11, "none")


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("traps: agent[812] general protection fault ip:55 sp:7f error:0 in agent[5600+18000]", 11),
        ("traps: agent[812] trap invalid opcode ip:55 sp:7f error:0 in agent[5600+18000]", 4),
        ("agent: potentially unexpected fatal signal 6.", 6),
    ],
)
def test_other_words_for_a_death(text, signal):
    """The kernel has several, by the kind of fault and the architecture."""
    (crash,) = crashes((Line(NOW, 6, text),))
    assert crash.signal == signal


def test_systemd_s_word_counts_before_the_log_s():
    """It reaped the process; the log may be another's words."""
    unit = systemd.show("agent.service", Systemctl(journal=[(STARTED, "a"), (STOPPING, "Stopping agent...")]))
    end = ending.of(WHO, last_words.Words(died="x", signal=6), (), (), unit)
    assert (end.exit_signal, end.stopped_by, end.stopped_line) == (11, "human", "Stopping agent...")


# ── the cause ───────────────────────────────────────────────────────────────────


def decide(**readings):
    seen = Evidence(
        probe="unit-state",
        short="unit",
        target="agent",
        started_at=NOW,
        ended_at=NOW,
        readings={
            name: Reading(value=value)
            for name, value in {"running": False, "steady": False, "restarts": 0, **readings}.items()
        },
    )
    return AgentDown().decide(Case(target=Target(name="agent", ref="agent"), evidence={"unit": seen}))


@pytest.mark.parametrize(
    ("readings", "causes"),
    [
        ({"oom_killed": True, "exit_signal": 9}, ["oom-killed"]),
        ({"oom_killed": True, "exit_signal": 9, "restarts": 5}, ["oom-killed", "crash-loop"]),
        ({"restarts": 5, "exit_signal": 11}, ["crash-loop", "crashed"]),
        ({"restarts": 5, "failed_load": True}, ["failed-load", "crash-loop"]),
        ({"failed_load": True, "stopped_by": "none"}, ["failed-load"]),
        ({"exit_signal": 11, "stopped_by": "none"}, ["crashed"]),
        ({"exit_code": 2}, ["crashed"]),
        ({"exit_code": 0}, ["crashed"]),
        ({}, ["crashed"]),
        ({"stopped_by": "human", "exit_signal": 15}, ["stopped-by-human"]),
        ({"running": True, "steady": True, "uptime_s": 400.0}, []),
        ({"running": True, "steady": True, "uptime_s": 400.0, "restarts": 5}, []),
        (
            {"running": True, "steady": True, "uptime_s": 5.0, "restarts": 5, "exit_signal": 11},
            ["crash-loop", "crashed"],
        ),
        ({"result": "start-limit-hit", "exit_code": 1}, ["crash-loop", "crashed"]),
    ],
)
def test_what_ended_it_each_time_stands_before_that_it_ends_again(readings, causes):
    """The confusable ones: each by its own facts, and the deeper reason first."""
    verdict = decide(**readings)
    assert [cause.name for cause in verdict.causes] == causes
    assert all(cause.name in AgentDown.causes and cause.fix for cause in verdict.causes)


def test_without_evidence_nothing_is_said():
    """Not even that it is down."""
    verdict = AgentDown().decide(Case(target=Target(name="agent", ref="agent")))
    assert not verdict.causes
    assert "not looked at" in verdict.sentence
