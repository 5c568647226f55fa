"""How much of a heap its allocator holds although the program has freed it: glibc, read from outside.

Its promise: nothing of the process is touched or stopped. glibc writes a size before each piece of
memory and marks whether the one before it is in use, so the pieces can be walked from outside as
they lie; only pages that are in memory are read, so nothing is swapped in. A heap that changes
meanwhile, or belongs to another allocator, stops making sense somewhere: the walk ends there, and the
share that was read is told.

Pieces that wait in a thread's own cache (a few per size) count as used. Bounded by pieces and bytes.

Not here: heaps of other allocators; memory that was mapped for itself, which glibc gives back at once.
Source: glibc malloc/malloc.c, "malloc_chunk" (64 bits), unchanged in this since 2.3; arena.c, "heap_info".
Cost: 0.3 s per million pieces, 30 ms per 100 MiB.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import unpack_from

import msgspec

from bpf.memory.processes import PAGE, Mapping
from bpf.system.procfs import PROC

#: Arenas of threads begin at multiples of this (HEAP_MAX_SIZE, 64-bit).
_ARENA_ALIGNMENT = 64 << 20
_MOST_PIECES, _MOST_BYTES = 400_000, 256 << 20
_PIECE, _ALIGNMENT = 32, 16  # MINSIZE, MALLOC_ALIGNMENT
_PREV_IN_USE, _MAPPED, _FLAGS = 1, 2, 7
_START_WITHIN, _CHAIN = 16384, 32
_READ = 256 << 10


class Free(msgspec.Struct, frozen=True, kw_only=True):
    """What of the heaps was read, and what of that is free; resident bytes.

    Attributes:
        heap: Resident bytes of all regions that are glibc's.
        read: Of those, how many the walk came by.
        free: Of those read, how many the program has freed.
        pieces: Pieces of memory walked.
    """

    heap: int
    read: int
    free: int
    pieces: int


def free_in(pid: int, mappings: Sequence[Mapping], proc: Path = PROC) -> Free | None:
    """Walk the heaps of one process, each within its part of the bounds; None when none looks like glibc's.

    Raises:
        OSError: Its memory can't be read (gone, or no right to).
    """
    with (
        (proc / str(pid) / "mem").open("rb", 0) as memory,
        (proc / str(pid) / "pagemap").open("rb", 0) as pages,
    ):
        walks = [_Walk(memory.fileno(), pages.fileno(), *region) for region in _regions(mappings)]
        walks = sorted((walk for walk in walks if walk.begin()), key=lambda walk: walk.resident)
        pieces, left = _MOST_PIECES, _MOST_BYTES
        for at, walk in enumerate(walks):  # the smallest first: what they leave is for the others
            walk.go(pieces // (len(walks) - at), left // (len(walks) - at))
            pieces, left = pieces - walk.pieces, left - walk.read
    read = sum(walk.read for walk in walks)
    return (
        Free(
            heap=sum(walk.resident for walk in walks),
            read=read,
            free=min(read, sum(walk.free for walk in walks)),
            pieces=sum(walk.pieces for walk in walks),
        )
        if read
        else None
    )


def _regions(mappings: Sequence[Mapping]) -> Iterator[tuple[int, int]]:
    """Where glibc's heaps may be: the brk heap, and each arena; neighbouring ones show as one mapping."""
    for one in mappings:
        if one.anon and one.name == "[heap]":
            yield one.start, one.end
        elif one.anon and one.name == "" and one.rights == "rw-p":
            first = -(-one.start // _ARENA_ALIGNMENT) * _ARENA_ALIGNMENT
            for start in range(first, one.end, _ARENA_ALIGNMENT):
                yield start, min(one.end, start + _ARENA_ALIGNMENT)


class _Walk:
    """One heap region, walked piece by piece."""

    def __init__(self, memory: int, pages: int, start: int, end: int) -> None:
        self._memory, self._start, self._end = memory, start, end
        entries = array("Q")
        raw = os.pread(pages, (end - start) // PAGE * 8, start // PAGE * 8)
        entries.frombytes(raw[: len(raw) & ~7])
        #: One byte a page: 1 when it is in memory.
        self._present = bytes(entry >> 63 for entry in entries)
        self._block, self._at = b"", 0
        self._first = 0
        self.resident = self._present.count(1) * PAGE
        self.read = self.free = self.pieces = 0

    def begin(self) -> bool:
        """Find the first piece: the beginning may be thread-local data, or the arena's own head."""
        for at in range(self._start, min(self._start + _START_WITHIN, self._end - _PIECE), _ALIGNMENT):
            if self._is_chain(at):
                self._first = at
                return True
        return False

    def _is_chain(self, at: int) -> bool:
        for _ in range(_CHAIN):
            size = self._size(at)
            if size is None:
                return False
            at += size & ~_FLAGS
            if at >= self._end - _PIECE:
                return at <= self._end
        return True

    def _size(self, at: int) -> int | None:
        """Size and flags of the piece at an address; None when there can be no piece."""
        offset = at - self._at
        if not 0 <= offset <= len(self._block) - _ALIGNMENT:
            self._load(at)
            offset = at - self._at
            if offset > len(self._block) - _ALIGNMENT:
                return None
        size: int = unpack_from("<Q", self._block, offset + 8)[0]
        length = size & ~_FLAGS
        wrong = length < _PIECE or length % _ALIGNMENT or size & _MAPPED or at + length > self._end
        return None if wrong else size

    def _load(self, at: int) -> None:
        """The run of present pages from an address on, up to a block."""
        first = (at - self._start) // PAGE
        last = first
        while last < len(self._present) and self._present[last] and (last - first) * PAGE < _READ:
            last += 1
        self._at = self._start + first * PAGE
        self._block = os.pread(self._memory, (last - first) * PAGE, self._at) if last > first else b""

    def go(self, most_pieces: int, most_bytes: int) -> None:
        """Walk until the end, a bound, or where it makes no sense any more."""
        at, before = self._first, 0
        while self.pieces < most_pieces and at - self._first < most_bytes:
            size = self._size(at)
            if size is None:
                break
            if before and not size & _PREV_IN_USE:
                self.free += self._resident(before, at)
            self.pieces += 1
            before, at = at, at + (size & ~_FLAGS)
            if at > self._end - _PIECE:  # the top piece: what was never handed out, or came back
                self.free += self._resident(before, self._end)
                at = self._end
                break
        whole = at == self._end
        self.read = self.resident if whole else self._present.count(1, 0, (at - self._start) // PAGE) * PAGE

    def _resident(self, start: int, end: int) -> int:
        """Bytes of a piece that are in memory: its pages, or itself where it is smaller."""
        first, last = (start - self._start) // PAGE, (end - self._start + PAGE - 1) // PAGE
        return min(end - start, self._present.count(1, first, last) * PAGE)
