"""Who owns an entry of a map, and whether that process or thread is gone.

Its promise: in doubt an owner is alive. Gone is who has no entry in /proc under his number (threads answer
there too), or whose number a process has that started a second or more after the entry's own moment.

Not here: the entries (``map_elements``).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from remediations.knobs import processes

_PROC = Path("/proc")
_FIRST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, linux/proc_ns.h
_SLACK_NS = 1_000_000_000


class Ownership(msgspec.Struct, frozen=True, kw_only=True):
    """Where the owner's id stands in a key and, if known, the moment of last use in a value; bytes."""

    pid_at: int
    pid_size: int = 4
    time_at: int | None = None

    def owner(self, key: bytes) -> int:
        """The id in a key."""
        return int.from_bytes(key[self.pid_at : self.pid_at + self.pid_size], sys.byteorder)

    def moment_ns(self, value: bytes) -> int | None:
        """The moment in a value, on the kernel's monotonic clock; None where it holds none."""
        if self.time_at is None or self.time_at + 8 > len(value):
            return None
        return int.from_bytes(value[self.time_at : self.time_at + 8], sys.byteorder) or None


class Roll:
    """Answers whether owners are gone, each asked for once; make a new one to ask again."""

    def __init__(self) -> None:
        self._started: dict[int, int | None] = {}
        self._asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        self._tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def gone(self, entries: Ownership, key: bytes, value: bytes) -> bool:
        """Whether the owner of an entry is gone."""
        number = entries.owner(key)
        if number not in self._started:
            self._started[number] = self._start(number)
        start = self._started[number]
        if start is None:
            return True
        moment = entries.moment_ns(value)
        return moment is not None and start > 0 and moment < start - _SLACK_NS

    def _start(self, number: int) -> int | None:
        """When it started, on the kernel's monotonic clock; 0: it is there; None: it is gone."""
        if not number or os.access(f"{_PROC}/{number}", os.F_OK):  # 0 is the idle task
            ticks = processes.started_ticks(number) if number else None
            return 0 if ticks is None else ticks * self._tick_ns - self._asleep  # a zombie is not gone yet
        return None


def blind(proc: Path = _PROC) -> str:
    """Why ids in maps can't be looked up here; empty when they can."""
    try:
        if (proc / "self/ns/pid").stat().st_ino == _FIRST_NAMESPACE:
            return ""
    except OSError:
        return "procfs is not mounted"
    return "we run in a pid namespace of our own, where the numbers in BPF maps mean nothing"
