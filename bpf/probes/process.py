"""What a target's processes take of the machine, and what holds them back.

Its promise: CPU is told by thread, in nanoseconds where the kernel keeps them; a limit counts
wherever in the cgroup tree it stands; several processes of one target are summed.

Not here: the price of its BPF programs (``bpf.probes.program_cost``), which runs on the account
of whoever triggers them.
Source: proc(5); Linux Documentation/scheduler/sched-stats.rst ("schedstat").
Cost: two file reads per thread at either end, a few reads per process in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from bpf.probes.asked import named
from bpf.probes.process_fields import FIELDS
from bpf.system import cgroups
from bpf.system.procfs import PROC, alive, must_live, read_text, readable
from bpf.system.procstat import Moment, Thread, allowed_cpus, light, moment_of
from engine.contracts import Window
from engine.values import Evidence, Field, Reading, Scalar, Series, Support, Target

#: (epoch seconds, CPU seconds so far, resident bytes), one per look.
Points = list[tuple[float, float, int]]
#: What a thread that began in the window had used before it.
NEW = Thread("", 0.0, 0.0, 0.0, 0.0, 0)
MOST_POINTS = 300
LOOK_EVERY_S = 0.25


class ProcessProbe:
    """The probe ``process``."""

    name = "process"
    short = "process"
    summary = "CPU by thread, waiting, throttling, memory and limits of the target"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {}
    needs_target = True
    cpu_ceiling = 0.1

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc

    def supported(self, target: Target | None) -> Support:
        """Needs /proc, and a process to look at."""
        return readable(target, self._proc)

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch the target for one window."""
        target = named(target, self.name)
        clock, proc = window.clock, self._proc
        started_at = window.begin()
        first = moment_of(target, clock.monotonic(), proc)
        points: Points = []
        for at in window.ticks(max(LOOK_EVERY_S, window.seconds / MOST_POINTS)):
            points.append((at, *light(alive(target, proc), proc)))
            if len(points) > 1:
                window.show("CPU", _rate(points[-2], points[-1]), "cores")
        must_live(target, proc)
        last = moment_of(target, clock.monotonic(), proc)
        return evidence_of(target, (started_at, clock.now()), (first, last), points, proc)


def _rate(a: tuple[float, float, int], b: tuple[float, float, int]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0]) if b[0] > a[0] else 0.0


def evidence_of(
    target: Target,
    span: tuple[float, float],
    ends: tuple[Moment, Moment],
    points: Points,
    proc: Path = PROC,
) -> Evidence:
    """Readings from what was seen at the window's ends and between them."""
    rows = _rows(*ends)
    readings = {
        **_cpu(rows, *ends),
        **_limits(target, rows, *ends, proc),
        **_memory(target, points, *ends, proc),
    }
    times = tuple(at for at, _, _ in points)
    used = tuple(_rate(a, b) for a, b in pairwise(points))
    return Evidence(
        probe="process",
        short="process",
        target=target.name,
        started_at=span[0],
        ended_at=span[1],
        readings=readings,
        series={
            "cpu": Series(label="CPU", unit="cores", times=times[1:], values=used),
            "rss": Series(
                label="resident", unit="bytes", times=times, values=tuple(float(p[2]) for p in points)
            ),
        },
        tables={"threads": tuple(rows)},
    )


def _rows(first: Moment, last: Moment) -> list[dict[str, Scalar]]:
    """One row per thread that lived at the window's end, the busiest first."""
    seconds = last.at - first.at or 1.0
    rows: list[dict[str, Scalar]] = []
    for (pid, tid), now in last.threads.items():
        before = first.threads.get((pid, tid), NEW)
        rows.append(
            {
                "pid": pid,
                "tid": tid,
                "name": now.name,
                "cores": (now.ran_s - before.ran_s) / seconds,
                "user_cores": (now.user_s - before.user_s) / seconds,
                "system_cores": (now.system_s - before.system_s) / seconds,
                "waiting_share": (now.waited_s - before.waited_s) / seconds,
                "switches_per_s": (now.switches - before.switches) / seconds,
            }
        )
    return sorted(rows, key=lambda row: -_of(row, "cores"))


def _of(row: dict[str, Scalar], name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else 0.0


def _cpu(rows: list[dict[str, Scalar]], first: Moment, last: Moment) -> dict[str, Reading]:
    def summed(name: str) -> float:
        return sum(_of(row, name) for row in rows)

    busiest = rows[0] if rows else None
    here = "/proc/PID/task/TID/schedstat"
    found = {
        "cpu_cores": _known(summed("cores"), "cores", here),
        "cpu_user_cores": _known(summed("user_cores"), "cores", "/proc/PID/task/TID/stat"),
        "cpu_system_cores": _known(summed("system_cores"), "cores", "/proc/PID/task/TID/stat"),
        "threads": _known(len(rows), "", "/proc/PID/task"),
        "context_switches_per_s": _known(summed("switches_per_s"), "1/s", "/proc/PID/task/TID/status"),
        "host_idle_cores": _known(
            (last.idle_s - first.idle_s) / (last.at - first.at or 1.0), "cores", "/proc/stat"
        ),
        "host_cpus": _known(last.cpus, "", "/proc/stat"),
    }
    if busiest:
        found["busiest_thread"] = _known(f"{busiest['name']} ({busiest['tid']})", "", here)
        found["busiest_thread_cores"] = _known(_of(busiest, "cores"), "cores", here)
        found["runq_wait_share"] = _known(_of(busiest, "waiting_share"), "share", here)
    return found


def _limits(
    target: Target, rows: list[dict[str, Scalar]], first: Moment, last: Moment, proc: Path
) -> dict[str, Reading]:
    """Quota, throttling, and what is left of either the quota, the allowed CPUs or the host."""
    pids = alive(target, proc)
    tightest = min(last.quotas.items(), key=lambda item: item[1], default=None)
    used = sum(_of(row, "cores") for row in rows)
    seconds = last.at - first.at or 1.0
    may_use = float(max((allowed_cpus(pid, proc) for pid in pids), default=last.cpus))
    room = min(may_use, tightest[1] if tightest else may_use) - used
    left = max(0.0, min(room, (last.idle_s - first.idle_s) / seconds))
    found = {
        "cpu_quota_left": _known(
            left, "cores", "quota or allowed CPUs less what is used, at most what is idle"
        ),
        "cpu_quota_cores": Reading(unit="cores", missing="no quota"),
        "throttled_share": _known(0.0, "share", "no quota"),
        "throttled_s_per_s": _known(0.0, "s/s", "no quota"),
    }
    if tightest:
        path, cores = tightest
        now, before = last.throttling[path], first.throttling.get(path, cgroups.Throttling())
        periods = now.periods - before.periods
        found["cpu_quota_cores"] = _known(cores, "cores", str(path))
        found["throttled_share"] = _known(
            (now.throttled - before.throttled) / periods if periods else 0.0, "share", f"{path}/cpu.stat"
        )
        found["throttled_s_per_s"] = _known(
            (now.seconds - before.seconds) / seconds, "s/s", f"{path}/cpu.stat"
        )
    limits = read_text(proc / str(pids[0]) / "limits") if pids else ""
    for name, title in (("memlock_limit_bytes", "Max locked memory"), ("open_files_limit", "Max open files")):
        found[name] = _rlimit(limits, title, "bytes" if "memory" in title else "")
    return found


def _rlimit(limits: str, title: str, unit: str) -> Reading:
    line = next((line for line in limits.splitlines() if line.startswith(title)), "")
    soft = line[len(title) :].split()[:1]
    if soft and soft[0].isdigit():
        return _known(int(soft[0]), unit, "/proc/PID/limits")
    return Reading(unit=unit, missing="unlimited" if soft else "could not be read")


def _memory(target: Target, points: Points, first: Moment, last: Moment, proc: Path) -> dict[str, Reading]:
    """Resident memory, the tightest limit up the tree, and OOM kills."""
    groups = {g.path: g for pid in alive(target, proc) for g in cgroups.groups(pid, "memory", proc)}
    limits = [
        (limit, group) for group in groups.values() if (limit := cgroups.memory_limit(group)) is not None
    ]
    lefts = [limit - (cgroups.memory_used(group) or 0) for limit, group in limits]
    none = "no limit" if groups else "no memory cgroup"
    resident = points[-1][2] if points else light(alive(target, proc), proc)[1]
    found = {
        "rss_bytes": _known(resident, "bytes", "/proc/PID/stat"),
        "memory_limit_bytes": Reading(unit="bytes", missing=none),
        "memory_left_bytes": Reading(unit="bytes", missing=none),
        "oom_kills": Reading(missing="the kernel does not tell it for this cgroup"),
    }
    if limits:
        limit, group = min(limits, key=lambda item: item[0])
        found["memory_limit_bytes"] = _known(limit, "bytes", str(group.path))
        found["memory_left_bytes"] = _known(
            max(0, min(lefts)), "bytes", "tightest limit less what is charged"
        )
    if first.oom_kills is not None and last.oom_kills is not None:
        found["oom_kills"] = _known(
            max(0, last.oom_kills - first.oom_kills), "", "the target's memory cgroup"
        )
    return found


def _known(value: Scalar, unit: str, source: str) -> Reading:
    return Reading(value=value, unit=unit, source=source)
