"""Whose records lie in a ring, and how large they are: a sample of them, read where they lie.

The agent's own filters have passed here, so this is what really reaches it; counting at its attach
point can't tell. Whose they are needs to know where in a record the process id stands (``pid_at`` of a
profile); their size stands in the header of each.

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
from typing import NamedTuple

from bpf.closing import Closing
from bpf.libbpf import map_fd_by_id
from bpf.objects.ringbuf import HEADER_BYTES, RingWatch, record_bytes

_HEADER = struct.Struct("=I")
_PID = struct.Struct("=I")
_BUSY, _DISCARDED = 1 << 31, 1 << 30  # linux/bpf.h
#: Records read at one look.
MOST = 64


class Record(NamedTuple):
    """One record: where it begins, its bytes in the ring, and whose it is."""

    place: int
    size: int
    pid: int | None


class RingRecords(Closing):
    """Sizes of the records of one ring, and their process ids, weighted by the bytes each look stands for.

    Attributes:
        records: How many were read.
    """

    def __init__(self, map_id: int, pid_at: int | None) -> None:
        self._watch = RingWatch(map_id)
        self._pid_at = pid_at
        self._weights: Counter[int] = Counter()
        self.records = self._bytes = 0
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

    def look(self) -> None:
        """Read some of the records that came since the last look."""
        consumer, producer = self._watch.positions()
        # Where the ring is full, what came since the last look lies overwritten: begin at the reader.
        start = self._from if self._from >= producer - self._watch.size else consumer
        seen, at = self._walk(start, producer)
        overwritten_to = self._watch.positions()[1] - self._watch.size
        kept = [record for record in seen if record.place >= overwritten_to]
        pids = [record.pid for record in kept if record.pid is not None]
        arrived, self._counted = producer - self._counted, producer
        for pid in pids:
            self._weights[pid] += max(1, arrived // len(pids))
        self.records += len(kept)
        self._bytes += sum(record.size for record in kept)
        # Only where a record begins can the next look begin: where the reader is, or where we ended.
        self._from = max(consumer, at)

    @property
    def mean_bytes(self) -> float | None:
        """Bytes that a record takes in the ring, its header included; None when none was seen."""
        return self._bytes / self.records if self.records else None

    def shares(self) -> dict[int, float]:
        """Share of the records by process id, the greatest first; empty when none were seen."""
        total = self._weights.total()
        return {pid: weight / total for pid, weight in self._weights.most_common()}

    def close(self) -> None:
        """Let go of the ring's memory. Doing it twice is no error."""
        self._watch.close()
        self._data.close()

    def _walk(self, at: int, producer: int) -> tuple[list[Record], int]:
        """Up to ``MOST`` finished records from ``at`` on; and where it ended."""
        found: list[Record] = []
        mask, at = self._watch.size - 1, max(at, 0)
        while at < producer and len(found) < MOST:
            place = at & mask
            (length,) = _HEADER.unpack_from(self._data, place)
            if length & _BUSY:
                break
            payload = length & ~_DISCARDED
            if payload > self._watch.size:  # overwritten: no header any more
                break
            size = record_bytes(payload)
            if not length & _DISCARDED:
                found.append(Record(at, size, self._pid(place + HEADER_BYTES, payload)))
            at += size
        return found, at

    def _pid(self, place: int, payload: int) -> int | None:
        """The process id of the record at ``place``; None where it is not known to hold one."""
        if self._pid_at is None or payload < self._pid_at + _PID.size:
            return None
        return int(_PID.unpack_from(self._data, place + self._pid_at)[0])
