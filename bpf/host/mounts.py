"""Which file systems are mounted where, and how, as one process sees them.

One promise: the last mount at a place is the one that counts, as for the kernel.

Source: proc(5), "mountinfo".

Not here: mounting anything.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from bpf.host.files import text


class Mount(msgspec.Struct, frozen=True):
    """One mount: where, of what type, with which of its own options."""

    place: str
    kind: str
    options: tuple[str, ...] = ()


def read(root: Path, pid: str = "self") -> tuple[Mount, ...]:
    """All mounts of the mount namespace of a process, in the order they were made; empty: unknown."""
    found = []
    for line in text(root, f"proc/{pid}/mountinfo").splitlines():
        front, _, back = line.partition(" - ")
        fields, kind = front.split(" "), back.split(" ")[0]
        if len(fields) > 5 and kind:
            found.append(Mount(_unescaped(fields[4]), kind, tuple(fields[5].split(","))))
    return tuple(found)


def of_kind(mounts: tuple[Mount, ...], kind: str) -> str:
    """Where the first file system of a type is mounted; empty when it is not."""
    return next((one.place for one in mounts if one.kind == kind), "")


def holding(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """The mount that a path lies on."""
    parts = PurePosixPath(path)
    best: Mount | None = None
    for one in mounts:
        if parts.is_relative_to(one.place) and (best is None or len(one.place) >= len(best.place)):
            best = one
    return best


def _unescaped(place: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(code, character)
    return place
