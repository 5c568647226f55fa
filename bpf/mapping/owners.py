"""Who is alive: processes, threads and control groups of this machine, by their numbers.

Its promise: an owner is called gone only when nothing answers to its number: not a process, not a thread,
not a zombie. Numbers count in the first pid namespace; from within another one nothing is known, and
nothing is called gone.

Not here: where in a key the number stands (``bpf.mapping.keys``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from bpf.system.procfs import PROC, read_text, stat_fields

_FIRST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, linux/proc_ns.h
_KERNEL_THREADS = 2  # kthreadd, the parent of them all
#: A process may have started this much before its first entry's moment, by two clocks.
SLACK_NS = 1_000_000_000


def why_blind(proc: Path = PROC) -> str:
    """Why process numbers of maps mean nothing to us; empty when they do."""
    try:
        number = (proc / "self/ns/pid").stat().st_ino
    except OSError:
        return "procfs is not mounted"
    if number != _FIRST_NAMESPACE:
        return "we run in a pid namespace of our own: run it in the host's (hostPID: true, --pid=host)"
    return ""


def running(proc: Path = PROC) -> frozenset[int]:
    """Processes of user space; 5 µs each."""
    found = []
    for name in os.listdir(proc):  # noqa: PTH208 - five times faster
        if not name.isdigit():
            continue
        fields = stat_fields(int(name), proc)
        if len(fields) > 1 and fields[1] != str(_KERNEL_THREADS) and name != str(_KERNEL_THREADS):
            found.append(int(name))
    return frozenset(found)


def highest_pid(proc: Path = PROC) -> int:
    """The highest number that a process may have."""
    text = read_text(proc / "sys/kernel/pid_max").strip()
    return int(text) if text.isdigit() else 1 << 22


def gone(numbers: Iterable[int], proc: Path = PROC) -> frozenset[int]:
    """Those of the numbers that are neither process nor thread. 1 µs each; 0.1 µs for most that live."""
    listed = {int(name) for name in os.listdir(proc) if name.isdigit()}  # noqa: PTH208 - as above
    unlisted = (number for number in numbers if number not in listed)
    # threads are not listed, but answer; PID 0 is the idle task and never goes
    return frozenset(n for n in unlisted if n and not os.access(f"{proc}/{n}", os.F_OK))


def started_ns(number: int, proc: Path = PROC) -> int | None:
    """When a process or thread started, on the clock of ``bpf_ktime_get_ns``; None when it is gone."""
    fields = stat_fields(number, proc)
    if len(fields) < 20:
        return None
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return int(fields[19]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK")) - asleep


def control_groups(places: Sequence[Path] | None = None, at_most: int = 20_000) -> frozenset[int] | None:
    """Ids of all control groups of version 2 (inode numbers of their directories); None where unknown."""
    found: set[int] = set()
    for place in _unified() if places is None else places:
        for directory, _, _ in os.walk(place):
            found.add(Path(directory).stat().st_ino)
            if len(found) > at_most:
                return None
    return frozenset(found) or None


def _unified(proc: Path = PROC) -> list[Path]:
    mounts = (line.split() for line in read_text(proc / "self/mounts").splitlines())
    return [Path(words[1]) for words in mounts if len(words) > 2 and words[2] == "cgroup2"]


def confidence(hits: int, of: int) -> tuple[float, float]:
    """Wilson's interval: the true share lies between these with 95 % confidence."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def known_groups(numbers: Collection[int], groups: frozenset[int] | None) -> frozenset[int]:
    """Those of the ids that are no control group any more; none when that is not known."""
    return frozenset(numbers) - groups if groups is not None else frozenset()
