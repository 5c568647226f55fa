"""Names of system calls by number, for this machine's architecture.

From the headers of Linux 6.1 and the calls added up to 6.17, which have one number everywhere.
x86_64 has a table of its own; all later 64-bit architectures share one. Read when first asked.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

#: Names that tracepoints have for calls known by another.
_ALIASES = {
    "newstat": "stat",
    "newlstat": "lstat",
    "newfstat": "fstat",
    "newuname": "uname",
    "sendfile64": "sendfile",
    "umount": "umount2",
    "fstatat": "newfstatat",
}


@functools.lru_cache(maxsize=2)
def table(machine: str = "") -> dict[int, str]:
    """Number → name for an architecture as ``uname -m`` calls it; empty: this machine's."""
    kind = "x86_64" if (machine or platform.machine()) == "x86_64" else "generic"
    lines = Path(__file__).with_name(f"syscalls_{kind}.txt").read_text("ascii").splitlines()
    return {int(number): name for number, name in (line.split() for line in lines)}


def name_of(number: int) -> str:
    """``openat``; a call newer than the table is told by its number."""
    return table().get(number, f"call {number}")


def number_of(name: str) -> int | None:
    """The number of a call by its own name or its tracepoint's; None when it is not known."""
    wanted = _ALIASES.get(name, name)
    return next((number for number, known in table().items() if known == wanted), None)
