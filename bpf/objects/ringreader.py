"""The reading end of a ring buffer of our own.

Its promise: libbpf takes the records out, so their order and the memory barriers are right on every
machine; each record is copied once. About 1 µs per record.

Not here: looking at other people's ring buffers (``bpf.objects.ringbuf``).
"""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_size_t, c_void_p

from bpf.closing import Closing
from bpf.library import check, check_pointer, library

_TAKE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)


class RingReader(Closing):
    """Takes records out of a ring buffer; ``close`` lets go of it.

    Args:
        fd: Descriptor of the map, which stays the caller's.
    """

    def __init__(self, fd: int) -> None:
        self._records: list[bytes] = []
        self._callback = _TAKE(self._take)  # libbpf keeps the address: it must live as long as we do
        pointer = library().ring_buffer__new(fd, self._callback, None, None)
        self._pointer: int | None = check_pointer(pointer, "the ring buffer could not be mapped")

    def _take(self, _context: int, data: int, size: int) -> int:
        self._records.append(ctypes.string_at(data, size))
        return 0

    def read(self) -> list[bytes]:
        """All records that are there, oldest first; never waits."""
        check(library().ring_buffer__consume(self._pointer), "the ring buffer could not be read")
        taken, self._records = self._records, []
        return taken

    def close(self) -> None:
        """Let go of the ring's memory. Doing it twice is no error."""
        if self._pointer is not None:
            library().ring_buffer__free(self._pointer)
            self._pointer = None
