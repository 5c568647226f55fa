"""Whose records lie in a ring: a sample of them, read where they lie.

The agent's own filters have passed here, so this is what really reaches it; counting at its attach
point can't tell. Needs to know where in a record the process id stands (``pid_at`` of a profile).

Reads memory only (the ring's data pages, mapped read-only) and can't disturb the agent. A record
that was overwritten meanwhile is left out: the producer's position is read again afterwards.
Cost: about 40 µs a look. Kernel 5.8. Source: ``kernel/bpf/ringbuf.c``.

Not here: how many events there are (``event-flow``), who passes the attach point (``event-sources``).
"""

from __future__ import annotations

import mmap
import os
import struct
from collections import Counter
from types import TracebackType

from bpf.libbpf import map_fd_by_id
from bpf.objects.ringbuf import HEADER_BYTES, RingWatch, record_bytes

_HEADER = struct.Struct("=I")
_PID = struct.Struct("=I")
_BUSY, _DISCARDED = 1 << 31, 1 << 30  # linux/bpf.h
#: Records read at one look.
MOST = 64


class RingRecords:
    """Process ids in the records of one ring, weighted by the bytes that each look stands for."""

    def __init__(self, map_id: int, pid_at: int) -> None:
        self._watch = RingWatch(map_id)
        self._pid_at = pid_at
        self._weights: Counter[int] = Counter()
        self.records = 0
        fd = map_fd_by_id(map_id)
        try:
            # The data pages follow the two position pages, twice over: no record is ever split.
            self._data = mmap.mmap(
                fd, 2 * self._watch.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=2 * mmap.PAGESIZE
            )
        except OSError:
            self._watch.close()
            raise
        finally:
            os.close(fd)
        self._from, self._counted = self._watch.positions()

    def __enter__(self) -> RingRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def look(self) -> None:
        """Read some of the records that came since the last look."""
        consumer, producer = self._watch.positions()
        # Where the ring is full, what came since the last look lies overwritten: begin at the reader.
        start = self._from if self._from >= producer - self._watch.size else consumer
        seen, at = self._walk(start, producer)
        overwritten_to = self._watch.positions()[1] - self._watch.size
        pids = [pid for place, pid in seen if place >= overwritten_to]
        arrived, self._counted = producer - self._counted, producer
        for pid in pids:
            self._weights[pid] += max(1, arrived // len(pids))
        self.records += len(pids)
        # Only where a record begins can the next look begin: where the reader is, or where we ended.
        self._from = max(consumer, at)

    def shares(self) -> dict[int, float]:
        """Share of the records by process id, the greatest first; empty when none were seen."""
        total = self._weights.total()
        return {pid: weight / total for pid, weight in self._weights.most_common()}

    def close(self) -> None:
        """Let go of the ring's memory. Doing it twice is no error."""
        self._watch.close()
        self._data.close()

    def _walk(self, at: int, producer: int) -> tuple[list[tuple[int, int]], int]:
        """Place and process id of up to ``MOST`` finished records from ``at`` on; and where it ended."""
        found: list[tuple[int, int]] = []
        mask, at = self._watch.size - 1, max(at, 0)
        while at < producer and len(found) < MOST:
            place = at & mask
            (length,) = _HEADER.unpack_from(self._data, place)
            if length & _BUSY:
                break
            payload = length & ~_DISCARDED
            if payload > self._watch.size:  # overwritten: no header any more
                break
            if not length & _DISCARDED and payload >= self._pid_at + _PID.size:
                found.append((at, *_PID.unpack_from(self._data, place + HEADER_BYTES + self._pid_at)))
            at += record_bytes(payload)
        return found, at
