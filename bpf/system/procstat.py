"""A target's threads, CPU, waiting and throttling at one moment, from /proc and the cgroup files.

Its promise: counters since the beginning, as the kernel keeps them; a difference of two moments
is for whoever asks. Nanoseconds where the kernel has schedstat (since 2.6.23, CONFIG_SCHED_INFO),
clock ticks elsewhere.

Not here: rates and limits (``bpf.probes.process``).
Source: proc(5); Linux Documentation/scheduler/sched-stats.rst.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from bpf.system import cgroups
from bpf.system.procfs import PROC, alive, read_text, stat_fields
from engine.values import Target

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Thread(msgspec.Struct, frozen=True):
    """One thread at one moment; seconds since it began.

    Attributes:
        waited_s: Time it was ready to run and had no CPU.
    """

    name: str
    user_s: float
    system_s: float
    ran_s: float
    waited_s: float
    switches: int


class Moment(msgspec.Struct, frozen=True):
    """Everything about a target at one moment.

    Attributes:
        at: Monotonic seconds.
        idle_s: Idle CPU seconds of the host so far.
        cpus: CPUs that are online.
        quotas, throttling: By cgroup path, for those with a quota.
        oom_kills: In the target's memory cgroups, so far; None when the kernel does not tell.
    """

    at: float
    threads: dict[tuple[int, int], Thread]
    idle_s: float
    cpus: int
    quotas: dict[Path, float]
    throttling: dict[Path, cgroups.Throttling]
    oom_kills: int | None


def moment_of(target: Target, at: float, proc: Path = PROC) -> Moment:
    """Read everything that only the window's ends need."""
    pids = alive(target, proc)
    groups = {group.path: group for pid in pids for group in cgroups.groups(pid, "cpu", proc)}
    quotas = {path: cores for path, group in groups.items() if (cores := cgroups.quota_cores(group))}
    own = {group.path: group for pid in pids for group in cgroups.groups(pid, "memory", proc)[:1]}
    kills = [count for group in own.values() if (count := cgroups.oom_kills(group)) is not None]
    stat = read_text(proc / "stat").splitlines()
    return Moment(
        at=at,
        threads={(pid, tid): thread for pid in pids for tid, thread in threads_of(pid, proc).items()},
        idle_s=idle_seconds(stat),
        cpus=sum(line.startswith("cpu") for line in stat) - 1,
        quotas=quotas,
        throttling={path: cgroups.throttling(groups[path]) for path in quotas},
        oom_kills=sum(kills) if kills else None,
    )


def threads_of(pid: int, proc: Path = PROC) -> dict[int, Thread]:
    """All threads of a process; those that end meanwhile are left out. 40 µs a thread."""
    found = {}
    for place in (proc / str(pid) / "task").glob("*"):
        fields = stat_fields(pid, proc, int(place.name))
        if len(fields) < 13:
            continue
        user, system = int(fields[11]) * TICK_S, int(fields[12]) * TICK_S
        sched = read_text(place / "schedstat").split()
        ran, waited = (int(sched[0]) / 1e9, int(sched[1]) / 1e9) if len(sched) > 1 else (user + system, 0.0)
        status = read_text(place / "status")
        switches = sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)
        name = read_text(place / "comm").strip()
        found[int(place.name)] = Thread(name, user, system, ran, waited, switches)
    return found


def idle_seconds(stat: list[str]) -> float:
    """Seconds in which the host's CPUs had nothing to do, waiting for disks included."""
    fields = stat[0].split() if stat else []
    return (int(fields[4]) + int(fields[5])) * TICK_S if len(fields) > 5 else 0.0


def allowed_cpus(pid: int, proc: Path = PROC) -> int:
    """CPUs the process may run on: its affinity within its cpuset."""
    for line in read_text(proc / str(pid) / "status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            spans = [span.partition("-") for span in line.split()[1].split(",")]
            return sum(int(b or a) - int(a) + 1 for a, _, b in spans)
    return os.cpu_count() or 1


def light(pids: list[int], proc: Path) -> tuple[float, int]:
    """CPU seconds so far and resident bytes, over all processes. 20 µs a process."""
    cpu, resident = 0.0, 0
    for pid in pids:
        fields = stat_fields(pid, proc)
        if len(fields) > 21:
            cpu += (int(fields[11]) + int(fields[12])) * TICK_S
            resident += int(fields[21]) * PAGE
    return cpu, resident
