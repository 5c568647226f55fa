"""The kernel's log, as ``/dev/kmsg`` gives it: who was killed for want of memory, what BPF said.

Its promise: it never waits, never takes a line away from anybody, and reads no more than the
kernel's buffer holds. What was overwritten before we came is gone, and told in ``Log.lost``.

Needs CAP_SYSLOG where ``kernel.dmesg_restrict`` is 1 (root has it).
Source: Documentation/ABI/testing/dev-kmsg (kernel 3.5). Cost: 1 µs per record, some hundred records.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DEVICE = Path("/dev/kmsg")
#: The longest record: ``CONSOLE_EXT_LOG_MAX``.
_RECORD_BYTES = 8192
#: ``Out of memory: Killed process 42 (agent) …``, ``Memory cgroup out of memory: Killed process …``
_KILLED = re.compile(
    r"(?P<why>Memory cgroup out of memory|Out of memory)[^:]*: "
    r"Kill(?:ed)? process (?P<pid>\d+) \((?P<comm>.*?)\)"
)
#: ``oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/agent,task_memcg=/agent,task=agent,pid=42,uid=0``
_CHOSEN = re.compile(r"oom-kill:.*?task_memcg=(?P<cgroup>[^,]*),.*?pid=(?P<pid>\d+)")


class Line(NamedTuple):
    """One record.

    Attributes:
        at: Epoch seconds; some milliseconds off, and more after a suspend (the kernel's clock stood).
        level: 0 (emergency) to 7 (debug).
    """

    at: float
    level: int
    text: str


class Log(NamedTuple):
    """What could be read. ``problem``: why nothing could; ``fix``: what mends that."""

    lines: tuple[Line, ...] = ()
    lost: bool = False
    problem: str = ""
    fix: str = ""


class Kill(NamedTuple):
    """One process that the kernel killed for want of memory.

    Attributes:
        cgroup: Its memory cgroup; empty when the log does not say (before kernel 4.19).
        limited: Its cgroup was at its limit; else the machine was out of memory.
    """

    at: float
    pid: int
    comm: str
    cgroup: str
    limited: bool
    text: str


def read(device: Path = DEVICE, *, boot: float | None = None) -> Log:
    """All records that the kernel still holds.

    Args:
        device: Another file of this form, for a test or a copy.
        boot: Epoch seconds of the kernel's zero; now minus its clock when not given.
    """
    zero = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) if boot is None else boot
    try:
        fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        fix = "run as root, or: sysctl kernel.dmesg_restrict=0" if error.errno in {1, 13} else ""
        return Log(problem=f"{device}: {error.strerror}", fix=fix)
    lost, lines = False, []
    try:
        for raw in _records(fd):
            if raw is None:
                lost = True
            elif line := parse(raw, zero):
                lines.append(line)
    finally:
        os.close(fd)
    return Log(tuple(lines), lost or bool(lines and not _is_first(lines[0])))


def parse(raw: str, boot: float) -> Line | None:
    """One record ``LEVEL,SEQUENCE,MICROSECONDS,FLAGS;text``; None for what is none."""
    head, found, text = raw.partition(";")
    fields = head.split(",")
    if not found or len(fields) < 3 or not (fields[0].isdigit() and fields[2].isdigit()):
        return None
    first = text.partition("\n")[0]  # what follows are KEY=value lines of the device
    return Line(boot + int(fields[2]) / 1e6, int(fields[0]) & 7, first)


def kills(lines: tuple[Line, ...]) -> tuple[Kill, ...]:
    """The processes killed for want of memory, oldest first."""
    cgroups: dict[int, str] = {}
    found = []
    for line in lines:
        if chosen := _CHOSEN.search(line.text):
            cgroups[int(chosen["pid"])] = chosen["cgroup"]
        elif killed := _KILLED.search(line.text):
            pid = int(killed["pid"])
            limited = killed["why"].startswith("Memory")
            found.append(Kill(line.at, pid, killed["comm"], cgroups.pop(pid, ""), limited, line.text))
    return tuple(found)


def _records(fd: int) -> Iterator[str | None]:
    """Records until there is no more; None where some were overwritten (EPIPE)."""
    while True:
        try:
            raw = os.read(fd, _RECORD_BYTES)  # the device gives one record at a time
        except BlockingIOError:
            return
        except BrokenPipeError:
            yield None
            continue
        if not raw:
            return
        yield raw.decode("utf-8", "replace")


def _is_first(line: Line) -> bool:
    """Whether a record is the kernel's very first: else older ones were overwritten."""
    return "Linux version" in line.text
