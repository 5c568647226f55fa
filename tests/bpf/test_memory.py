"""The memory probe on a made-up /proc and cgroup tree, on ourselves, and on what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bpf.memory import limits, processes, telling
from bpf.memory.growth import growth
from bpf.memory.looking import BpfMemory, Look, maps_tell_real_use
from bpf.memory.processes import Split
from bpf.memory.telling import Seen
from bpf.probes.memory import Memory
from bpf.system import cgroups, kmsg, oom_kills
from bpf.system.procfs import started_ticks
from engine.clock import Cancel, SystemClock
from engine.errors import TargetGone
from engine.running.looking import Missed, Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Reading, Target

ME = Process(pid=os.getpid(), started_ticks=started_ticks(os.getpid()), comm="python3")
TARGET = Target(name="me", ref="me", processes=(ME,))
MIB = 1 << 20
LOG = """\
[   12.500000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,oom_memcg=/agents,\
task_memcg=/agents/a,task=agent (old),pid=123,uid=0
[   12.500100] Memory cgroup out of memory: Killed process 123 (agent (old)) total-vm:9000kB, \
anon-rss:2000kB, file-rss:1kB, shmem-rss:0kB, UID:0 pgtables:88kB oom_score_adj:0
[   99.000000] Out of memory: Killed process 7 (mysqld) total-vm:1kB, anon-rss:20kB, file-rss:1kB
"""


def split(anon: int, rss: int = 0) -> Split:
    return Split(rss=rss or anon, anon=anon, file=0, shmem=0, swap=0, peak=anon, exact=True)


def seen_of(anon, maps=lambda _n: {}, groups=lambda _n: {}, looks: int = 41) -> Seen:
    return Seen(
        [
            Look(
                at=n * 0.25,
                splits={7: split(anon(n))},
                maps=maps(n),
                groups=groups(n),
                kernel=None,
            )
            for n in range(looks)
        ]
    )


def looked(target: Target, *, seconds: float = 0.9, options=None, probe: Memory | None = None):
    cancel = Cancel()
    view = View(target=target, seconds=seconds, clock=SystemClock(cancel), cancel=cancel)
    (answer,) = look([Request(probe or Memory(), options or {})], view)
    return answer


def test_our_own_memory_agrees_with_the_kernels_files():
    """The split is the kernel's own, read by another way here."""
    answer = looked(TARGET)
    assert isinstance(answer, Evidence)
    check_probe(Memory(), answer)
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    for name, key in (("rss_bytes", "VmRSS"), ("peak_bytes", "VmHWM"), ("file_bytes", "RssFile")):
        assert answer.number(name) == pytest.approx(int(status[key].split()[0]) * 1024, rel=0.1)
    assert 0 < answer.number("heap_bytes") <= answer.number("anon_bytes") * 1.05
    assert answer.number("pss_bytes") <= answer.number("rss_bytes") * 1.05
    assert len(answer.series["anon"].values) >= 7
    assert answer.readings["map_bytes"].missing


def test_heap_and_maps_are_told_apart():
    """BPF map memory shows in no process: a growing map must not look like a growing heap."""
    seen = seen_of(lambda _n: 50 * MIB, lambda n: {3: 10 * MIB + n * MIB, 4: 5 * MIB})
    facts = {3: BpfMemory("cache", "hash"), 4: BpfMemory("events", "ringbuf")}
    anon, _ = telling.anonymous(seen)
    maps, rows, _ = telling.map_memory(seen, facts, "", real=True)
    assert anon["growing"].value is False
    assert maps["map_growing"].value is True
    assert maps["top_map"].value == "cache (3)"
    assert maps["map_slope_bytes_per_s"].value == pytest.approx(4 * MIB)
    assert [row["grown_bytes"] for row in rows] == [40 * MIB, 0]


def test_the_limit_that_is_reached_first_is_told_not_the_lowest():
    """A roomy pod with a fast neighbour ends the agent sooner than its own tight limit."""
    own, pod = Path("/cg/pod/box"), Path("/cg/pod")
    seen = seen_of(lambda _n: MIB, groups=lambda n: {own: 10 * MIB, pod: (100 + n) * MIB})
    found = limits.groups(seen, own, {own: 20 * MIB, pod: 300 * MIB}, target_slope=0.0)
    assert found["limit_group"].value == str(pod)
    assert found["left_bytes"].value == 160 * MIB
    assert found["limit_in_s"].value == pytest.approx(40, rel=0.05)
    assert found["cgroup_growing"].value is False


def test_without_growth_the_least_room_is_told_and_no_time():
    """'In how long' of something that does not move is no number."""
    own = Path("/cg/box")
    seen = seen_of(lambda _n: MIB, groups=lambda _n: {own: 10 * MIB})
    found = limits.groups(seen, own, {own: 30 * MIB}, target_slope=0.0)
    assert found["left_bytes"].value == 20 * MIB
    assert found["limit_in_s"].value is None
    assert found["limit_in_s"].missing


def test_without_a_memory_controller_everything_else_is_told():
    """Many hosts have none; the reason stands beside each reading."""
    found = limits.groups(seen_of(lambda _n: MIB), None, {}, 0.0)
    assert {name for name, one in found.items() if one.value is None} == set(found)
    assert "memory controller" in found["limit_in_s"].missing


@pytest.mark.parametrize(
    ("version", "files", "kernel"),
    [
        (1, {"memory.kmem.usage_in_bytes": "777\n"}, 777),
        (2, {"memory.stat": "anon 1\nkernel 900\nslab 5\n"}, 900),
        (2, {"memory.stat": "anon 1\nslab 5\npercpu 6\n"}, 11),
        (2, {}, None),
    ],
)
def test_the_kernels_part_is_read_in_both_versions(tmp_path, version, files, kernel):
    """It is where the memory of BPF maps shows."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cgroups.memory_kernel(cgroups.Group(tmp_path, version)) == kernel


def test_a_kill_is_found_by_name_and_by_group_and_others_kills_are_not(tmp_path):
    """The killed process has another pid than the one that runs now."""
    (tmp_path / "log").write_text(LOG)
    lines = kmsg.read(tmp_path / "log", boot=1000.0).lines
    kills = oom_kills.kills(lines)
    assert [(kill.pid, kill.comm, kill.anon_bytes) for kill in kills] == [
        (123, "agent (old)", 2000 << 10),
        (7, "mysqld", 20 << 10),
    ]
    nowhere = tmp_path / "no-proc"
    by_name = Target(name="a", ref="a", processes=(Process(pid=1, comm="agent (old)"),))
    found = limits.last_kill(oom_kills.of_target(kills, by_name, nowhere), now=1112.5)
    assert found["oom_last_pid"].value == 123
    assert found["oom_last_ago_s"].value == pytest.approx(100, abs=0.1)
    other = Target(name="a", ref="a", processes=(Process(pid=1, comm="agent"),))
    assert not oom_kills.of_target(kills, other, nowhere)
    (tmp_path / "1").mkdir()
    (tmp_path / "self").mkdir()
    mounted = "30 20 0:9 / /cg/memory rw - cgroup cgroup rw,memory\n"
    (tmp_path / "self/mountinfo").write_text(mounted)
    (tmp_path / "1/cgroup").write_text("4:memory:/agents/a\n")
    by_group = oom_kills.of_target(kills, other, tmp_path)
    assert [kill.comm for kill in by_group] == ["agent (old)"]
    (tmp_path / "1/cgroup").write_text("4:memory:/agents/b\n")
    assert not oom_kills.of_target(kills, by_name, tmp_path)  # the same name, another agent
    lost = [kill._replace(cgroup="") for kill in kills]  # the line that names it was overwritten
    assert not oom_kills.of_target(lost, by_name, tmp_path)


def test_a_closed_kernel_log_is_told_apart_from_one_without_kills(tmp_path):
    """'No kill' from a log that nobody could read would be a lie."""
    assert "No such file" in kmsg.read(tmp_path / "absent").problem
    answer = looked(TARGET, options={"kernel_log": str(tmp_path / "absent")}, seconds=0.2)
    assert "kernel_log" in answer.readings["oom_last"].missing
    (tmp_path / "empty").write_text("")
    answer = looked(TARGET, options={"kernel_log": str(tmp_path / "empty")}, seconds=0.2)
    assert "no process of it" in answer.readings["oom_last"].missing


def test_a_target_that_dies_in_the_window_is_gone():
    """Half a window of a dead process is no evidence of growth."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.4)"])
    target = Target(name="child", ref="c", processes=(Process(pid=child.pid),))
    answer = looked(target, seconds=5.0)
    child.wait()
    assert isinstance(answer, Missed)
    assert isinstance(answer.error, TargetGone)


def test_great_processes_are_not_walked(tmp_path):
    """Walking 50 GB of pages would hold up the very process that is in trouble."""
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "status").write_text("VmHWM: 60000000 kB\nVmRSS: 50000000 kB\nRssAnon: 40000000 kB\n")
    (tmp_path / "9" / "smaps_rollup").write_text("Pss: 1 kB\nAnonymous: 1 kB\n")
    found = processes.split(9, exact=False, proc=tmp_path)
    assert (found.anon, found.pss, found.exact) == (40000000 << 10, None, False)
    assert processes.split(9, exact=True, proc=tmp_path).anon == 1024
    assert processes.split(10, exact=True, proc=tmp_path) is None


def test_kernels_that_only_estimate_map_memory_are_known():
    """Before 6.4 a map's figure never moves, so 'not growing' would be no news."""
    told = {
        release: maps_tell_real_use(release) for release in ("6.1.0-18-amd64", "6.4.0", "6.12.3+deb", "x")
    }
    assert told == {"6.1.0-18-amd64": False, "6.4.0": True, "6.12.3+deb": True, "x": False}


@pytest.mark.parametrize(
    ("asked", "read_share", "grows", "touching"),
    [(0, 0.9, False, True), (40, 0.9, True, False), (0, 0.1, True, None), (0, None, True, None)],
)
def test_a_buffer_that_is_used_for_the_first_time_is_no_leak(asked, read_share, grows, touching):
    """A young agent touches its queues page by page. Go and Java ask ahead, so of them it can't be told."""
    sizes = [msgspec.structs.replace(split((5 + n) * MIB), reserved=n * asked * MIB // 40) for n in range(41)]
    looks = [
        Look(at=n * 0.25, splits={7: one}, maps={}, groups={}, kernel=None) for n, one in enumerate(sizes)
    ]
    anon, _ = telling.anonymous(Seen(looks))
    found = anon | telling.first_touch(anon, {"heap_read_share": Reading(value=read_share)})
    assert found["growing"].value is grows
    assert found["touching"].value is touching


def test_counters_that_lag_need_more_growth():
    """Kernels 6.2 to 6.15 keep some pages per CPU to themselves: half a MiB may be just that."""
    points = [(n * 0.1, 10.0 * MIB + n * 8192) for n in range(101)]
    assert growth(points).growing
    assert not growth(points, MIB).growing
