"""Which file each executable address of a process belongs to.

Its promise: what was read while the process lived is of use after it ended. 0.1 to 1 ms a process.

Not here: names within a file (``bpf.stacks.elf_symbols``).
Source: ``/proc/PID/maps``, ``/proc/PID/map_files``: proc(5).
"""

from __future__ import annotations

import ctypes
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bpf.system.procfs import PROC, read_text

VDSO = "[vdso]"
_DELETED = " (deleted)"


class Mapping(NamedTuple):
    """One executable mapping: bytes of ``path`` from ``offset`` on lie at ``start``."""

    start: int
    end: int
    offset: int
    path: str

    @property
    def module(self) -> str:
        """The file's own name; ``[vdso]``, ``[anonymous]`` where there is no file."""
        return self.path.rpartition("/")[2].removesuffix(_DELETED) or "[anonymous]"


class AddressSpace:
    """The executable mappings of one process at one moment."""

    def __init__(self, pid: int, mappings: list[Mapping], proc: Path = PROC) -> None:
        self.pid = pid
        self.mappings = sorted(mappings)
        self._starts = [mapping.start for mapping in self.mappings]
        self._proc = proc

    @classmethod
    def read(cls, pid: int, proc: Path = PROC) -> AddressSpace:
        """As it is now; without mappings when the process is gone or closed to us."""
        lines = (_mapping(line) for line in read_text(proc / str(pid) / "maps").splitlines())
        return cls(pid, [mapping for mapping in lines if mapping], proc)

    def find(self, address: int) -> Mapping | None:
        """The mapping that an address lies in."""
        at = bisect_right(self._starts, address) - 1
        found = self.mappings[at] if at >= 0 else None
        return found if found and address < found.end else None

    @contextmanager
    def opened(self, mapping: Mapping) -> Iterator[int | None]:
        """A descriptor of a mapping's file, deleted or in a container; None when it is out of reach."""
        here = self._proc / str(self.pid)
        path = mapping.path.removesuffix(_DELETED)
        places = (
            here / "map_files" / f"{mapping.start:x}-{mapping.end:x}",
            here / "root" / path.lstrip("/"),
            Path(path),
        )
        fd = None
        for place in places if path.startswith("/") else ():
            with suppress(OSError):
                fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                break
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)


@contextmanager
def vdso_opened() -> Iterator[int | None]:
    """A descriptor of the code that the kernel gives every process: the same in ours as in any other."""
    own = next((mapping for mapping in AddressSpace.read(os.getpid()).mappings if mapping.path == VDSO), None)
    if own is None:
        yield None
        return
    fd = os.memfd_create("vdso", os.MFD_CLOEXEC)
    try:
        os.write(fd, ctypes.string_at(own.start, own.end - own.start))
        yield fd
    finally:
        os.close(fd)


def _mapping(line: str) -> Mapping | None:
    """``55d0-55d4 r-xp 00001000 fe:01 1234   /usr/bin/agent``; None unless it is executable."""
    fields = line.split(maxsplit=5)
    try:
        start, _, end = fields[0].partition("-")
        if "x" not in fields[1]:
            return None
        return Mapping(int(start, 16), int(end, 16), int(fields[2], 16), fields[5] if len(fields) > 5 else "")
    except (IndexError, ValueError):
        return None
