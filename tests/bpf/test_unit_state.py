"""The probe ``unit-state`` without root: systemd recorded, files and processes of our own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bpf.down import systemd
from bpf.probes.unit_state import UnitState
from engine.errors import ProbeFailed
from engine.fakes import FakeClock
from engine.values import Process, Target

SHOW = """\
LoadState=loaded
ActiveState=inactive
Result=oom-kill
NRestarts=0
MainPID=0
ExecMainPID=999999
ExecMainCode=2
ExecMainStatus=9
"""


class Moment:
    """A window of some looks, whose time passes by looking."""

    seconds, options, directory = 1.0, {}, "."

    def __init__(self, looks=3, between=lambda: None):
        self.clock = FakeClock()
        self._looks, self._between = looks, between

    def begin(self):
        return self.clock.now()

    def ticks(self, every_s):
        for _ in range(self._looks):
            self._between()
            self.clock.sleep(every_s)
            yield self.clock.now()

    def wait(self):
        """Not used."""

    def show(self, label, value, unit=""):
        """Nobody watches."""

    def say(self, words):
        """Nobody listens."""


def looked(target, tmp_path, window=None, run=None):
    """Where the kernel's log can't be read, so that nothing of this machine comes in."""
    probe = UnitState(run, tmp_path / "no-kmsg")
    return probe.collect(target, window or Moment())


def refuses(_command):
    raise systemd.NoSystemd("not booted with systemd")


@pytest.fixture
def process(tmp_path):
    """A process whose command line holds its configuration file, as an agent's does."""
    config = str(tmp_path / "agent.yaml")
    started = []

    def start():
        one = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)", config])
        started.append(one)
        deadline = time.monotonic() + 10
        while config.encode() not in Path(f"/proc/{one.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline  # its new program is not there at once
        return one

    yield start
    for one in started:
        one.kill()
        one.wait()


def agent(tmp_path, *pids, **facts):
    comm = Path(sys.executable).name[:15]
    return Target(
        name="agent",
        ref="agent",
        processes=tuple(Process(pid=pid, comm=comm) for pid in pids),
        config_file=str(tmp_path / "agent.yaml"),
        log_file=str(tmp_path / "agent.log"),
        facts={"executable": f"/usr/bin/{comm}", **facts},
    )


def test_a_target_without_any_process_is_looked_at(tmp_path):
    """The usual case here; every other probe would give up."""
    (tmp_path / "agent.log").write_text("ready\ninfo ends: Terminated\n")
    seen = looked(agent(tmp_path), tmp_path)
    assert seen.readings["running"].value is False
    assert seen.text("stopped_by") == "human"
    assert seen.tables["last_lines"][-1]["line"] == "info ends: Terminated"
    assert seen.readings["pid"].missing == "it does not run"


def test_what_could_not_be_read_is_unknown_and_said(tmp_path):
    """No log, no kernel log, no unit: nothing of it may look like a no."""
    seen = looked(agent(tmp_path), tmp_path)
    for name in ("oom_killed", "failed_load", "stopped_by", "exit_signal", "last_seen_s"):
        assert seen.readings[name].value is None
        assert seen.readings[name].missing
    assert any("its log was not read" in note for note in seen.notes)
    assert any("kernel's log" in note for note in seen.notes)


def test_systemd_tells_a_kill_that_the_kernel_log_has_lost(tmp_path):
    """It has the result for as long as the unit is loaded; the kernel's ring is overwritten."""
    seen = looked(
        agent(tmp_path, unit="agent"), tmp_path, run=lambda command: SHOW if command[0] == "systemctl" else ""
    )
    assert seen.readings["oom_killed"].value is True
    assert (seen.text("unit"), seen.text("active_state"), seen.number("exit_signal")) == (
        "agent.service", "inactive", 9.0,
    )  # fmt: skip


def test_where_systemd_is_not_the_init_the_process_table_is_asked(tmp_path, process):
    """A unit is named, and nobody can be asked about it: told, and gone on."""
    one = process()
    seen = looked(agent(tmp_path, one.pid, unit="agent"), tmp_path, run=refuses)
    assert seen.readings["running"].value is True
    assert "systemd was not asked: not booted with systemd" in seen.notes
    assert seen.text("stopped_by") == "none"


def test_one_process_all_through_the_window_is_steady(tmp_path, process):
    """And its uptime is that of the process, not of the look."""
    one = process()
    seen = looked(agent(tmp_path, one.pid), tmp_path)
    assert (seen.readings["steady"].value, seen.number("starts"), seen.number("pid")) == (True, 0.0, one.pid)
    assert seen.number("uptime_s") is not None


def test_one_that_dies_and_is_started_again_while_we_look_is_not(tmp_path, process):
    """Each new process counts; the target that was found at first is long gone."""
    runs = [process()]
    first = runs[0].pid

    def replace():
        runs[-1].kill()
        runs[-1].wait()
        runs.append(process())

    seen = looked(agent(tmp_path, first), tmp_path, Moment(looks=2, between=replace))
    assert (seen.readings["running"].value, seen.readings["steady"].value) == (True, False)
    assert seen.number("starts") == 2.0


def test_an_agent_that_dies_in_the_window_is_an_answer(tmp_path, process):
    """Not an error: this is what the probe is for."""
    one = process()

    def end():
        one.kill()
        one.wait()

    seen = looked(agent(tmp_path, one.pid), tmp_path, Moment(looks=1, between=end))
    assert (seen.readings["running"].value, seen.readings["steady"].value) == (False, False)


def test_a_failed_load_is_explained(tmp_path):
    """The reason stands in its log; the rules that read it are those of ``runbook explain``."""
    (tmp_path / "agent.log").write_text(
        "libbpf: prog 'x': BPF program load failed: Permission denied\n"
        "0: (85) call bpf_map_lookup_elem#1\nR0 invalid mem access 'map_value_or_null'\n"
        "failed to load BPF programs: Permission denied\n"
    )
    seen = looked(agent(tmp_path), tmp_path)
    assert seen.readings["failed_load"].value is True
    assert seen.text("load_cause") == "verifier_null_check"


def test_without_a_target_it_says_what_to_do():
    """There is nothing that could be down."""
    with pytest.raises(ProbeFailed, match="needs a target"):
        UnitState().collect(None, Moment())
