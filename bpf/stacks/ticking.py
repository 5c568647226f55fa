"""Where no BPF program can sample: what procfs tells of a target's threads, tick by tick.

Its promise: user and kernel share are the kernel's own accounts, exact to a clock tick; functions are only
guessed at in the kernel, from the stacks of threads that were ready to run, and said to be.

2 file reads for each thread and tick. Not here: real stacks (``bpf.stacks.sampler``).
Source: ``/proc/PID/task/TID/stat`` and ``stack``: proc(5).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bpf.stacks.folding import Rows
from bpf.system.procfs import PROC, alive, read_text
from bpf.system.procstat import Thread, threads_of
from engine.contracts import Window
from engine.values import Reading, Target

EVERY_S = 0.05
_NO_STACKS = "functions need stacks, and stacks need perf events in BPF"
_RUNNING = "R"


def watch(target: Target, window: Window, proc: Path = PROC) -> tuple[dict[str, Reading], dict[str, Rows]]:
    """Readings and tables of one window."""
    first = _threads(target, proc)
    last = first
    kernel: Counter[str] = Counter()
    looks = 0
    for _ in window.ticks(max(EVERY_S, window.seconds / 1000)):
        last = {**last, **_threads(target, proc)} if not looks % 20 else last
        for pid, tid in list(last):
            looks += 1
            kernel.update(_innermost(proc / str(pid) / "task" / str(tid)))
    last = {**last, **_threads(target, proc)}
    return _told(first, last, kernel, window.seconds)


def _threads(target: Target, proc: Path) -> dict[tuple[int, int], Thread]:
    return {
        (pid, tid): thread for pid in alive(target, proc) for tid, thread in threads_of(pid, proc).items()
    }


def _innermost(place: Path) -> list[str]:
    """The innermost kernel function of a thread that is ready to run; nothing for one that is not."""
    if read_text(place / "stat").rpartition(")")[2].split()[:1] != [_RUNNING]:
        return []
    lines = read_text(place / "stack").splitlines()
    return [lines[0].split()[-1].partition("+")[0]] if lines else []


def _told(
    first: dict[tuple[int, int], Thread],
    last: dict[tuple[int, int], Thread],
    kernel: Counter[str],
    seconds: float,
) -> tuple[dict[str, Reading], dict[str, Rows]]:
    none = Thread("", 0.0, 0.0, 0.0, 0.0, 0)
    spent = {
        (thread.name, tid): (
            thread.user_s - first.get((pid, tid), none).user_s,
            thread.system_s - first.get((pid, tid), none).system_s,
        )
        for (pid, tid), thread in last.items()
    }
    user, system = (sum(each[place] for each in spent.values()) for place in (0, 1))
    whole = user + system
    idle = "" if whole else "the target used no CPU in the window"
    source = "clock ticks in /proc/PID/task/TID/stat"
    sampled = sum(kernel.values())
    readings = {
        "cpu_cores": Reading(value=whole / seconds, unit="cores", source=source),
        "user_share": _share(user, whole, idle, source),
        "kernel_share": _share(system, whole, idle, source),
        "source": Reading(value="clock ticks of threads, no stacks", source="/proc"),
    }
    if sampled and system:
        name, count = kernel.most_common(1)[0]
        guess = "stacks of its threads that were ready to run"
        readings["top_kernel_function"] = Reading(value=name, source=guess)
        readings["top_kernel_share"] = Reading(
            value=count / sampled * system / whole, unit="share", source=guess
        )
    busiest = sorted(spent.items(), key=lambda item: -sum(item[1]))
    rows: Rows = tuple(
        {"thread": name, "tid": tid, "share": sum(each) / whole if whole else 0.0}
        for (name, tid), each in busiest
    )
    return readings, {"threads": rows}


def _share(part: float, whole: float, missing: str, source: str) -> Reading:
    if missing:
        return Reading(unit="share", missing=missing)
    return Reading(value=part / whole, unit="share", source=source)


def missing(name: str) -> str:
    """Why this rung has no such reading."""
    return "clock ticks are no samples" if name in {"samples", "hz", "lost_share"} else _NO_STACKS
