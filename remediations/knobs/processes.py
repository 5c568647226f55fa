"""Is the target's process still the one we know, and is it well?

A pid alone is never trusted: it is compared with the process's start time.

Source: ``/proc/PID/stat`` field 22, proc(5). Cost: one file read.

Not here: making it reload (``reload``).
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from engine.values import Process

_PROC = Path("/proc")
_NUMBER = re.compile(r"\d+")


def started_ticks(pid: int) -> int | None:
    """Clock ticks since boot at which the process started; None when it is gone or a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name may hold spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def alive(process: Process) -> bool:
    """Whether this very process still runs."""
    ticks = started_ticks(process.pid)
    return ticks is not None and process.started_ticks in (0, ticks)


def successor(process: Process) -> int | None:
    """Pid of the youngest process with the same executable and command line, not this one.

    Numbers in the command line may differ: they may be the very setting that was changed (``-b 64``).
    """
    shape = _shape(process.argv)
    best: tuple[int, int] | None = None
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in (process.pid, os.getpid()):
            continue
        try:
            argv = tuple((entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
            if _shape(argv) != shape or (process.exe and str((entry / "exe").readlink()) != process.exe):
                continue
        except OSError:
            continue
        ticks = started_ticks(int(entry.name))
        if ticks is not None and (best is None or ticks > best[0]):
            best = (ticks, int(entry.name))
    return best[1] if best else None


def _shape(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A command line without the numbers in it."""
    return tuple(_NUMBER.sub("0", word) for word in argv)


def send(process: Process, name: str) -> bool:
    """Send the signal to this very process; False when it is gone.

    Through a pidfd, so that a pid that is reused in between is never hit.

    Raises:
        PermissionError: It belongs to somebody else.
        ValueError: No such signal.
    """
    number = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"] if name else signal.SIGHUP
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
