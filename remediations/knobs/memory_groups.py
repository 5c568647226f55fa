"""The memory cgroups of a process: what its own group may take, and what is left around it.

Its promise: a limit counts wherever up the tree it stands, and what others have been promised
is told apart from what they use. Versions 1 and 2.

Source: Linux ``Documentation/admin-guide/cgroup-v2.rst`` ("Memory") and ``cgroup-v1/memory.rst``.
Cost: a few file reads per level of the tree, two per sibling.

Not here: writing a limit (``cgroup_memory``), which one is right (``remediations.memory_limit``).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from engine.values import Target

PROC = Path("/proc")
#: cgroup v1 writes "no limit" as the largest multiple of a page below 2^63.
_NO_LIMIT_V1 = 1 << 62
_V2, _V1 = "memory.max", "memory.limit_in_bytes"
_WITH_SWAP_V1 = "memory.memsw.limit_in_bytes"


class MemoryGroup(msgspec.Struct, frozen=True):
    """One directory of the memory controller."""

    directory: Path

    @property
    def file(self) -> Path:
        """The file that holds its limit."""
        return self.directory / (_V2 if (self.directory / _V2).exists() else _V1)

    @property
    def limit(self) -> int | None:
        """Bytes it may take; None for no limit.

        Raises:
            OSError: It is gone, or can't be read.
            ValueError: It holds no number.
        """
        return _limit(self.file)

    @property
    def swap_file(self) -> Path:
        """The file of version 1 for memory and swap together; it may not be there."""
        return self.directory / _WITH_SWAP_V1

    @property
    def limit_with_swap(self) -> int | None:
        """Version 1: bytes of memory and swap together, never less than ``limit``; None for no limit."""
        try:
            return _limit(self.swap_file)
        except (OSError, ValueError):
            return None

    @property
    def used(self) -> int:
        """Bytes charged to it and those below it; caches of files that can be dropped not counted."""
        second = self.file.name == _V2
        current = "memory.current" if second else "memory.usage_in_bytes"
        cache = "inactive_file" if second else "total_inactive_file"
        stat = dict(line.split() for line in (self.directory / "memory.stat").read_text().splitlines())
        return max(0, int((self.directory / current).read_text()) - int(stat.get(cache, 0)))

    @property
    def promised(self) -> int:
        """Bytes it may still take by its own limit; 0 without one, or when it is gone."""
        with contextlib.suppress(OSError, ValueError):
            if (limit := self.limit) is not None:
                return max(0, limit - self.used)
        return 0


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What is left around a group.

    Attributes:
        bytes: What it could still take before something other than its own limit is in the way.
        where: What that is: the host's memory, or the group up the tree with a limit.
        promised: What its siblings up the tree may still take of it by their own limits.
    """

    bytes: int
    where: str
    promised: int = 0


def own_group(target: Target, proc: Path = PROC) -> MemoryGroup | None:
    """The group that the target's first process is in; None where it is the root, or there is none."""
    if not target.processes:
        return None
    try:
        lines = (proc / str(target.pid) / "cgroup").read_text().splitlines()
        top, path = _place(lines, (proc / "self" / "mountinfo").read_text())
    except (OSError, LookupError):
        return None
    group = MemoryGroup(top / path.lstrip("/"))
    return group if path != "/" and group.file.exists() else None


def room_around(group: MemoryGroup, top: Path, proc: Path = PROC) -> Room:
    """The least that is left: of the host, and of every group above that has a limit."""
    rooms = [(_available(proc), "the host's memory")]
    promised, here = 0, group.directory
    while here not in (top, here.parent):
        above = MemoryGroup(here.parent)
        siblings = [place for place in above.directory.iterdir() if place.is_dir() and place != here]
        promised += sum(MemoryGroup(place).promised for place in siblings)
        with contextlib.suppress(OSError, ValueError):
            if above.directory != top and (limit := above.limit) is not None:
                rooms.append((max(0, limit - above.used), f"the limit of {above.directory}"))
        here = above.directory
    left, where = min(rooms)
    return Room(bytes=left, where=where, promised=promised)


def top_of(group: MemoryGroup, proc: Path = PROC) -> Path:
    """Where the hierarchy that holds the group is mounted."""
    for mount, _ in _mounts((proc / "self" / "mountinfo").read_text()):
        if group.directory.is_relative_to(mount):
            return mount
    return group.directory.parent


def _limit(file: Path) -> int | None:
    text = file.read_text().strip()
    return None if text == "max" or not 0 <= int(text) < _NO_LIMIT_V1 else int(text)


def _available(proc: Path) -> int:
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/meminfo does not tell MemAvailable")


def _place(lines: list[str], mountinfo: str) -> tuple[Path, str]:
    """(mount point, path) of the hierarchy that holds the memory controller; v1 has it, or v2."""
    paths = {}
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths["v2"] = path
        elif "memory" in controllers.split(","):
            paths["v1"] = path
    for mount, version in sorted(_mounts(mountinfo), key=lambda found: found[1]):
        if version in paths:
            return mount, paths[version]
    raise LookupError("no hierarchy with the memory controller is mounted")


def _mounts(mountinfo: str) -> list[tuple[Path, str]]:
    found = []
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        kind, _, options = back.partition(" ")
        mount = Path(front.split()[4])
        if kind == "cgroup2":
            found.append((mount, "v2"))
        elif kind == "cgroup" and "memory" in options.split()[-1].split(","):
            found.append((mount, "v1"))
    return found
