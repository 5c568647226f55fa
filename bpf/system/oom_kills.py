"""Which processes the kernel killed for want of memory, from its log.

Its promise: bounded and never waiting: what is in the kernel's ring now, at most 4 MiB of it; a closed
or absent log is told apart from a log without kills.

Not here: how often a control group saw kills (``bpf.system.cgroups.oom_kills``).
Source: Linux Documentation/ABI/testing/dev-kmsg; ``mm/oom_kill.c`` (the summary line is of kernel 4.19).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from bpf.system.procfs import PROC, read_text

KMSG = Path("/dev/kmsg")
_MOST_BYTES = 4 << 20
_RECORD = 16384
_KILLED = re.compile(
    r"(?:Out of memory|out of memory).*?: Killed process (\d+) \((.*?)\),? .*?anon-rss:(\d+)kB"
)
_SUMMARY = re.compile(r"oom-kill:constraint=.*?task_memcg=([^,]*),task=(.*),pid=(\d+),")
#: "[  123.456789] words" of dmesg and log files; kmsg gives the microseconds in its header.
_STAMPED = re.compile(r"\[\s*(\d+\.\d+)\]\s?(.*)")


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """One process that was killed.

    Attributes:
        cgroup: Path of its memory cgroup; empty where the kernel did not tell.
        anon_bytes: Its anonymous memory when it was killed.
        at_s: Seconds since boot; None for a file without times.
        line: What the kernel wrote.
    """

    pid: int
    comm: str
    anon_bytes: int
    line: str
    cgroup: str = ""
    at_s: float | None = None


class LogClosed(Exception):
    """The kernel log can't be read; its text says why."""


def kills(log: Path = KMSG) -> list[Kill]:
    """All kills in the log, the oldest first. 2 µs a line.

    Raises:
        LogClosed: It is not there, or not ours to read.
    """
    return list(parse(_device(log) if log == KMSG else _file(log)))


def parse(lines: Iterable[tuple[float | None, str]]) -> Iterator[Kill]:
    """Kills in (seconds since boot, text) of the kernel log."""
    groups: dict[int, str] = {}
    for at, line in lines:
        if summary := _SUMMARY.search(line):
            groups[int(summary[3])] = summary[1]
        elif killed := _KILLED.search(line):
            pid = int(killed[1])
            yield Kill(
                pid=pid,
                comm=killed[2],
                anon_bytes=int(killed[3]) << 10,
                line=line.strip(),
                cgroup=groups.pop(pid, ""),
                at_s=at,
            )


def uptime_s(proc: Path = PROC) -> float | None:
    """Seconds since boot, as the kernel log counts them (suspended time differs)."""
    words = read_text(proc / "uptime").split()
    return float(words[0]) if words else None


def _device(log: Path) -> Iterator[tuple[float | None, str]]:
    """The kernel's ring from its oldest record on; a record that is overwritten meanwhile is passed over."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LogClosed(f"{log}: {error.strerror}") from None
    left = _MOST_BYTES
    try:
        while left > 0:
            try:
                record = os.read(fd, _RECORD)
            except BrokenPipeError:
                continue
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    return  # the newest was read
                raise LogClosed(f"{log}: {error.strerror}") from None
            if not record:
                return
            left -= len(record)
            head, _, text = record.decode(errors="replace").partition(";")
            stamp = head.split(",")
            at = int(stamp[2]) / 1e6 if len(stamp) > 2 and stamp[2].isdigit() else None
            yield at, text.partition("\n")[0]
    finally:
        os.close(fd)


def _file(log: Path) -> Iterator[tuple[float | None, str]]:
    """The end of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES))
            text = file.read(_MOST_BYTES).decode(errors="replace")
    except OSError as error:
        raise LogClosed(f"{log}: {error.strerror}") from None
    for line in text.splitlines():
        stamped = _STAMPED.search(line)
        yield (float(stamped[1]), stamped[2]) if stamped else (None, line)
