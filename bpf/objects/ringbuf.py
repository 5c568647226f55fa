"""The positions of anybody's ring buffer, seen from outside.

Page 0 of a ring holds the consumer's position, page 1 the producer's; both are mapped read-only,
so looking costs 0.3 µs, no system call, and can't disturb the agent. Kernel 5.8.
Source: ``kernel/bpf/ringbuf.c``; ``Documentation/bpf/ringbuf.rst``.

Not here: what the positions mean over time (the ``event-flow`` probe), perf buffers
(``bpf.objects.perfbuf``).
"""

from __future__ import annotations

import mmap
import os

from bpf.closing import Closing
from bpf.libbpf import BpfError, failure, map_fd_by_id
from bpf.syscall import MapInfo, ask

MAP_TYPE_RINGBUF = 27  # linux/bpf.h
#: Every record in a ring has this header, and its length is rounded up to 8 bytes.
HEADER_BYTES = 8
_WORDS_PER_PAGE = mmap.PAGESIZE // 8


class RingWatch(Closing):
    """Consumer and producer position of one ring buffer, in bytes since it was made.

    Our mapping keeps the ring's memory alive after its agent has let go of it: close it promptly,
    and open anew after an agent's reload, which makes a new ring.

    Attributes:
        size: Bytes of data the ring holds.
    """

    def __init__(self, map_id: int) -> None:
        fd = map_fd_by_id(map_id)
        try:
            info = ask(fd, MapInfo())
            if info.type != MAP_TYPE_RINGBUF:
                raise BpfError(f"map {map_id} is no ring buffer", fix="runbook targets lists the rings")
            self.map_id = map_id
            self.name: str = info.name.decode(errors="replace")
            self.size: int = info.max_entries
            self._memory = mmap.mmap(fd, 2 * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        except OSError as error:
            raise failure(f"ring buffer {map_id} could not be mapped", error.errno or 0) from None
        finally:
            os.close(fd)
        self._words = memoryview(self._memory).cast("Q")

    def positions(self) -> tuple[int, int]:
        """Consumer and producer position, bytes. Consumer first: the fill is never below zero.

        Between the two reads the consumer may advance, so the fill may be a hair too high.
        """
        words = self._words
        return words[0], words[_WORDS_PER_PAGE]

    def close(self) -> None:
        """Let go of the ring's memory. Doing it twice is no error."""
        self._words.release()
        self._memory.close()


def record_bytes(payload_bytes: int) -> int:
    """What one record of ``payload_bytes`` takes in a ring: header and rounding included."""
    return (payload_bytes + HEADER_BYTES + 7) & ~7
