"""The kernel's log, as ``/dev/kmsg`` gives it, or a file that holds a copy.

Its promise: it never waits, never takes a line away from anybody, and reads no more than the
kernel's buffer holds. What was overwritten before we came is gone, and told in ``Log.lost``.

Not here: what the lines mean (``bpf.system.oom_kills``, ``bpf.down.crashes``, ``bpf.probes.kernel_log``).
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
_PLAIN = 6  # KERN_INFO
#: ``[  123.456789] words`` of dmesg and of log files.
_STAMPED = re.compile(r"\[\s*(\d+\.\d+)\]\s?(.*)")
#: Of a file, no more than its end is read.
_MOST_BYTES = 4 << 20


class Line(NamedTuple):
    """One record.

    Attributes:
        at: Epoch seconds; some milliseconds off, and more after a suspend (the kernel's clock stood);
            0 for a line of a file that bears no time.
        level: 0 (emergency) to 7 (debug); 6 where the log does not say.
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


def read(device: Path = DEVICE, *, boot: float | None = None) -> Log:
    """All records that the kernel still holds.

    Args:
        device: Another device, or a file: a copy of the device, or what dmesg printed.
        boot: Epoch seconds of the kernel's zero; now minus its clock when not given.
    """
    zero = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) if boot is None else boot
    if device.is_file():
        return _of_file(device, zero)
    try:
        fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
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


def _of_file(device: Path, boot: float) -> Log:
    """The end of a log file: records as the device gives them, or lines as dmesg prints them."""
    try:
        with device.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES)
            file.seek(start)
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return Log(problem=f"{device}: {error.strerror}", fix="name a file that can be read")
    return Log(tuple(parse(line, boot) or _printed(line, boot) for line in text.splitlines()), start > 0)


def _printed(line: str, boot: float) -> Line:
    stamped = _STAMPED.search(line)
    return Line(boot + float(stamped[1]), _PLAIN, stamped[2]) if stamped else Line(0.0, _PLAIN, line)


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
