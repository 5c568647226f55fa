"""The process probe, on a made-up /proc and cgroup tree of either version, and on ourselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpf.probes.process import ProcessProbe, evidence_of
from bpf.system import cgroups
from bpf.system.procfs import started_ticks
from bpf.system.procstat import Moment, Thread, allowed_cpus, moment_of
from engine.testing import check_probe
from engine.values import Process, Target

ME = Process(pid=os.getpid(), started_ticks=started_ticks(os.getpid()))
TARGET = Target(name="me", ref="me", processes=(ME,))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "self").mkdir()
    return tmp_path / "proc"


def mounted(proc: Path, kind: str, at: Path, options: str = "rw", root: str = "/") -> None:
    with (proc / "self" / "mountinfo").open("a") as out:
        out.write(f"30 20 0:26 {root} {at} rw,nosuid shared:4 - {kind} none {options}\n")


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def test_the_tightest_limit_of_the_tree_is_found_on_v2(proc, tmp_path):
    """A pod's limit stands above the container's; the tighter one rules."""
    top = tmp_path / "cg"
    mounted(proc, "cgroup2", top)
    write(top / "pod", cpu__max="50000 100000", memory__max="1000", memory__current="400")
    write(top / "pod" / "box", cpu__max="max 100000", memory__max="max", memory__current="300")
    write(top / "pod", cpu__stat="nr_periods 10\nnr_throttled 4\nthrottled_usec 2000000\n")
    (proc / "7" / "cgroup").write_text("0::/pod/box\n")
    groups = cgroups.groups(7, "cpu", proc)
    assert [group.path.name for group in groups] == ["box", "pod"]
    assert [cgroups.quota_cores(group) for group in groups] == [None, 0.5]
    assert cgroups.throttling(groups[1]) == cgroups.Throttling(10, 4, 2.0)
    assert [cgroups.memory_limit(group) for group in cgroups.groups(7, "memory", proc)] == [None, 1000]


def test_the_same_is_found_on_v1(proc, tmp_path):
    """v1 has other files, other units, and a number for 'no limit'."""
    cpu, memory = tmp_path / "cpu", tmp_path / "memory"
    mounted(proc, "cgroup", cpu, "rw,cpu,cpuacct")
    mounted(proc, "cgroup", memory, "rw,memory")
    mounted(proc, "cgroup2", tmp_path / "unified")
    write(cpu / "agent", cpu__cfs_quota_us="20000", cpu__cfs_period_us="100000")
    write(cpu / "agent", cpu__stat="nr_periods 8\nnr_throttled 8\nthrottled_time 1500000000\n")
    write(memory / "agent", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="5000")
    write(memory / "agent", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (proc / "7" / "cgroup").write_text("5:cpu,cpuacct:/agent\n4:memory:/agent\n0::/\n")
    (group,) = cgroups.groups(7, "cpu", proc)
    assert cgroups.quota_cores(group) == 0.2
    assert cgroups.throttling(group).seconds == 1.5
    (group,) = cgroups.groups(7, "memory", proc)
    assert cgroups.memory_limit(group) is None
    assert cgroups.oom_kills(group) == 3


def test_a_group_in_a_mounted_part_of_the_tree_is_found(proc, tmp_path):
    """In a container the mount shows only its own part."""
    mounted(proc, "cgroup2", tmp_path / "cg", root="/pod")
    write(tmp_path / "cg" / "box", cpu__max="max 100000")
    (proc / "7" / "cgroup").write_text("0::/pod/box\n")
    assert [group.path for group in cgroups.groups(7, "cpu", proc)] == [tmp_path / "cg" / "box"]


def test_a_process_that_is_gone_has_no_groups(proc):
    """What vanishes while being read is absent, not an error."""
    assert cgroups.groups(99, "cpu", proc) == []


def moment(at: float, ran: float, waited: float = 0.0, throttled: int = 0, idle: float = 0.0) -> Moment:
    threads = {
        (ME.pid, 1): Thread("reader", ran, 0.0, ran, waited, int(ran * 10)),
        (ME.pid, 2): Thread("idle", 0, 0, 0, 0, 0),
    }
    stats = cgroups.Throttling(int(at * 10), throttled, throttled / 20)
    return Moment(at, threads, idle, 2, {Path("/q"): 0.5}, {Path("/q"): stats}, 1)


def test_rates_are_differences_over_the_window():
    """What happened before the window is not of it."""
    ends = (moment(10.0, 3.0, 1.0, 50), moment(20.0, 7.0, 2.0, 90, idle=12.0))
    seen = evidence_of(TARGET, (0.0, 10.0), ends, [(10.0, 3.0, 4096), (20.0, 7.0, 8192)])
    assert seen.number("busiest_thread_cores") == pytest.approx(0.4)
    assert seen.text("busiest_thread") == "reader (1)"
    assert seen.number("runq_wait_share") == pytest.approx(0.1)
    assert seen.number("throttled_share") == pytest.approx(0.4)
    assert seen.number("throttled_s_per_s") == pytest.approx(0.2)
    assert seen.number("cpu_quota_cores") == 0.5
    assert seen.number("cpu_quota_left") == pytest.approx(0.1)
    assert seen.number("host_idle_cores") == pytest.approx(1.2)
    assert seen.number("oom_kills") == 0
    assert seen.series["cpu"].values == (pytest.approx(0.4),)
    check_probe(ProcessProbe(), seen)


def test_a_thread_that_began_in_the_window_counts_from_zero():
    """A worker started by a reload has no 'before'."""
    first = moment(10.0, 3.0)
    ends = (Moment(10.0, {}, 0.0, 2, {}, {}, None), moment(20.0, 7.0))
    assert first.threads
    assert evidence_of(TARGET, (0.0, 10.0), ends, []).number("cpu_cores") == pytest.approx(0.7)


def test_we_can_be_looked_at_ourselves():
    """The real /proc of this machine, whatever it is, gives threads, a stat line and CPUs."""
    now = moment_of(TARGET, 1.0)
    assert (ME.pid, ME.pid) in now.threads
    assert now.cpus >= 1
    assert allowed_cpus(ME.pid) == len(os.sched_getaffinity(0))
