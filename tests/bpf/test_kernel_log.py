"""What the kernel's log says is read whole, dated, and held against the right agent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.probes.kernel_log import KernelLog
from bpf.system import kmsg, oom_kills
from engine.errors import ProbeFailed
from engine.testing import START, FakeClock, check_probe
from engine.values import Process, Target

#: As kernel 6.1 wrote them when a memory cgroup of ours was at its limit.
KILLED = (
    "6,1201,52000000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    "oom_memcg=/agent,task_memcg=/agent,task=lab-agent,pid=812,uid=0",
    "3,1202,52000900,-;Memory cgroup out of memory: Killed process 812 (lab-agent) total-vm:91232kB, "
    "anon-rss:65312kB, file-rss:1424kB, shmem-rss:0kB, UID:0 pgtables:180kB oom_score_adj:0",
)
AGENT = Target(name="lab", ref="lab:x", processes=(Process(pid=900, comm="lab-agent"),))
OTHER = Target(name="falco", ref="falco:x", processes=(Process(pid=7, comm="falco"),))


class Still:
    """A window that is over as soon as it begins."""

    seconds = 0.0
    clock = FakeClock()

    def begin(self) -> float:
        return START

    def wait(self) -> None:
        pass


def lines(*raw: str) -> tuple[kmsg.Line, ...]:
    return tuple(line for one in raw if (line := kmsg.parse(one, boot=1000.0)))


def test_a_kill_is_told_with_its_process_cgroup_and_moment() -> None:
    """Which agent was killed, and whether its own limit or the machine's was the reason."""
    (kill,) = oom_kills.kills(lines(*KILLED))
    assert (kill.pid, kill.comm, kill.cgroup, kill.limited) == (812, "lab-agent", "/agent", True)
    assert kill.at == pytest.approx(1052.0009)


def test_a_kill_for_want_of_the_machines_memory_is_told_apart() -> None:
    """A larger limit does not help where the machine has no more."""
    (kill,) = oom_kills.kills(lines("3,9,1,-;Out of memory: Killed process 42 (a (b) c) total-vm:1kB"))
    assert (kill.pid, kill.limited) == (42, False)


@given(st.text())
def test_no_record_breaks_the_reader(raw: str) -> None:
    """The log is written by whoever can; its text is data."""
    line = kmsg.parse(raw, boot=0.0)
    if line:
        oom_kills.kills((line,))


def test_a_log_that_cannot_be_read_gives_no_numbers(tmp_path: Path) -> None:
    """Absent is unknown, not zero."""
    probe = KernelLog(tmp_path / "none")
    assert probe.supported(None).answer == "no"
    with pytest.raises(ProbeFailed):
        probe.collect(None, Still())


def test_kills_of_other_processes_are_not_the_agents(tmp_path: Path) -> None:
    """An OOM kill elsewhere on the machine says nothing of this agent."""
    log = tmp_path / "kmsg"
    log.write_text(KILLED[1])
    probe = KernelLog(log)
    assert probe.collect(AGENT, Still()).number("kills") == 1
    assert probe.collect(OTHER, Still()).number("kills") == 0


def test_errors_about_bpf_are_found_and_others_are_not(tmp_path: Path) -> None:
    """A disk's error is no sign of trouble with BPF."""
    seen = {}
    for name, text in (("bpf", "4,1,1,-;bpf: Failed to load program"), ("disk", "3,2,1,-;sda: I/O error")):
        log = tmp_path / name
        log.write_text(text)
        seen[name] = KernelLog(log).collect(None, Still()).number("errors")
    assert seen == {"bpf": 1, "disk": 0}


def test_it_keeps_its_promises(tmp_path: Path) -> None:
    """Every reading declared, every gap with its reason."""
    log = tmp_path / "kmsg"
    log.write_text(KILLED[1])
    probe = KernelLog(log)
    check_probe(probe, probe.collect(AGENT, Still()))
