"""How a target's resident memory divides: anonymous, files, shared, heap, swap.

Its promise: bounded cost. The kernel walks every page of a process to sum it exactly
(``smaps_rollup``: 2.2 ms per GiB, the process can't map memory meanwhile), so the great ones are
read by their counters (``status``: 8 µs at any size), and it is said which was read. What is
gone reads as None.

Not here: growth (``bpf.memory.growth``), what of the heap is free (``bpf.memory.glibc_heap``).
Source: proc(5), Linux Documentation/filesystems/proc.rst. ``smaps_rollup`` is of kernel 4.14, the split in
``status`` of 4.5, the split of PSS of 5.4.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from bpf.system.procfs import PROC, read_text

#: Above this much resident memory no page is walked: 2 ms a look at the most.
EXACT_UP_TO = 1 << 30
#: Up to this much it is cheap enough for every look.
EXACT_EACH_LOOK_UP_TO = 256 << 20
#: What the counters of kernels 6.2 to 6.15 may be behind, as their CPUs keep some pages to themselves.
COUNTER_NOISE = 1 << 20
_HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)")
PAGE = os.sysconf("SC_PAGE_SIZE")
_HEAP_NAMES = ("", "[heap]")


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory of one process, bytes.

    Attributes:
        pss: Shared pages by share; None when it was not walked.
        peak: The most that was ever resident.
        reserved: Private memory it may write to, touched or not (address space).
        exact: Pages were walked; else the counters.
    """

    rss: int
    anon: int
    file: int
    shmem: int
    swap: int
    peak: int
    reserved: int = 0
    pss: int | None = None
    exact: bool = False


class Mapping(msgspec.Struct, frozen=True):
    """One mapping: addresses, rights, name ("" for anonymous ones), resident anonymous bytes."""

    start: int
    end: int
    rights: str
    name: str
    anon: int

    @property
    def is_heap(self) -> bool:
        """The brk heap, or private anonymous memory that is no stack."""
        return self.rights[3] == "p" and (self.name in _HEAP_NAMES or self.name.startswith("[anon:"))


def split(pid: int, *, exact: bool, proc: Path = PROC) -> Split | None:
    """The split of one process now; None when it is gone (or a kernel thread)."""
    status = _sizes(read_text(proc / str(pid) / "status"))
    if "VmRSS" not in status:
        return None
    found = Split(
        rss=status["VmRSS"],
        anon=status.get("RssAnon", status["VmRSS"]),
        file=status.get("RssFile", 0),
        shmem=status.get("RssShmem", 0),
        swap=status.get("VmSwap", 0),
        peak=status.get("VmHWM", status["VmRSS"]),
        reserved=status.get("VmData", 0),
    )
    rollup = _sizes(read_text(proc / str(pid) / "smaps_rollup")) if exact else {}
    if "Anonymous" not in rollup:
        return found
    return msgspec.structs.replace(found, anon=rollup["Anonymous"], pss=rollup.get("Pss"), exact=True)


def together(splits: list[Split]) -> Split:
    """Several processes as one; PSS only when all have it."""
    shares = [one.pss for one in splits if one.pss is not None]
    return Split(
        rss=sum(one.rss for one in splits),
        anon=sum(one.anon for one in splits),
        file=sum(one.file for one in splits),
        shmem=sum(one.shmem for one in splits),
        swap=sum(one.swap for one in splits),
        peak=sum(one.peak for one in splits),
        reserved=sum(one.reserved for one in splits),
        pss=sum(shares) if shares and len(shares) == len(splits) else None,
        exact=all(one.exact for one in splits),
    )


def mappings(pid: int, proc: Path = PROC) -> list[Mapping]:
    """All mappings with their anonymous pages. As dear as ``smaps_rollup``, and 5 µs a mapping."""
    found: list[Mapping] = []
    head: tuple[str, ...] = ()
    for line in read_text(proc / str(pid) / "smaps").splitlines():
        if line.startswith("Anonymous:") and head:
            start, end, rights, name = head
            found.append(Mapping(int(start, 16), int(end, 16), rights, name, int(line.split()[1]) << 10))
            head = ()
        elif line[0] not in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" and (match := _HEADER.match(line)):
            head = match.groups()
    return found


def _sizes(text: str) -> dict[str, int]:
    """``Name:  123 kB`` lines, in bytes."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB") and (number := rest[:-3].strip()).isdigit():
            found[name] = int(number) << 10
    return found
