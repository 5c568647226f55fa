"""The entries of a hash map, from outside: walked, taken out with what they held, put back if absent.

Source: Linux ``include/uapi/linux/bpf.h``, ``kernel/bpf/hashtab.c``. Batches from 5.6, taking out in one
step from 5.14; below those, key by key, with about 5 µs between the look and the deletion.
Cost: 0.5 µs per entry walked, 5 µs per entry taken out or put back.

Not here: which entries (``stale_entries``).
"""

from __future__ import annotations

import contextlib
import ctypes as c
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from remediations.knobs.backend import NotChanged
from remediations.knobs.bpf_call import BYTES, bpf, call
from remediations.knobs.bpf_map import opened

_LOOKUP, _UPDATE, _DELETE, _NEXT_KEY, _INFO, _TAKE, _BATCH = 1, 2, 3, 4, 15, 21, 24
_NO_EXIST = 1
_ELEMENT = struct.Struct("=IxxxxQQQ")  # fd; addresses of key and value; flags
_FLAGS = struct.Struct("=Q")
_BATCHED = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, fd, element flags, flags
_AT_ONCE, _BATCH_BYTES = 8192, 4 << 20
_UNKNOWN_COMMAND = (errno.EINVAL, errno.EOPNOTSUPP, 524)
#: ``enum bpf_map_type`` of the kinds whose entries can be taken out and put back as they were.
KINDS = {1: "hash", 5: "percpu_hash"}


class Table:
    """An open hash map; for one thread, since keys and values pass through rooms that are used again.

    Attributes:
        id, type, name: As the kernel has them.
        key_size, value_size: Bytes; of a value as it is read, all CPUs' parts together.
        max_entries: How many it can hold.
        one_step: The kernel deletes and tells what went in one step (5.14).
    """

    def __init__(self, fd: int) -> None:
        room = c.create_string_buffer(128)
        bpf(_INFO, struct.pack("=IIQ", fd, len(room), c.addressof(room)))
        self.type, self.id, self.key_size, size, self.max_entries, _, name = struct.unpack_from(
            "=6I16s", room.raw
        )
        self.name: str = name.partition(b"\0")[0].decode(errors="replace")
        self.value_size: int = size
        if KINDS.get(self.type) == "percpu_hash":
            self.value_size = (size + 7 & ~7) * _possible_cpus()
        self.one_step = True
        self._fd = fd
        self._key = c.create_string_buffer(self.key_size)
        self._value = c.create_string_buffer(self.value_size)
        self._attributes = c.create_string_buffer(BYTES)
        _ELEMENT.pack_into(self._attributes, 0, fd, c.addressof(self._key), c.addressof(self._value), 0)

    @property
    def kind(self) -> str:
        """``hash``, ``percpu_hash``, or the number of another kind."""
        return KINDS.get(self.type, f"type {self.type}")

    def walk(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value. What changes meanwhile may be missed or come twice."""
        try:
            yield from self._by_batches()
        except OSError as error:
            if error.errno not in _UNKNOWN_COMMAND:
                raise
            yield from self._by_keys()

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key; None where there is none."""
        return self._value.raw if self._element(_LOOKUP, key) else None

    def take(self, key: bytes) -> bytes | None:
        """Delete an entry and give what it held, in one step where the kernel can; None: it was gone."""
        if self.one_step:
            try:
                return self._value.raw if self._element(_TAKE, key) else None
            except OSError as error:
                if error.errno not in _UNKNOWN_COMMAND:
                    raise
                self.one_step = False
        held = self.lookup(key)
        return held if held is not None and self._delete(key) else None

    def put(self, key: bytes, value: bytes) -> bool:
        """Put an entry in where there is none of its key; False where there is one: it is left.

        Raises:
            OSError: E2BIG, the map is full.
        """
        c.memmove(self._value, value, self.value_size)
        try:
            return self._element(_UPDATE, key, _NO_EXIST)
        except FileExistsError:
            return False

    def _delete(self, key: bytes) -> bool:
        """The command takes no value, and wants nothing to stand in its place."""
        at = c.create_string_buffer(key, self.key_size)
        try:
            bpf(_DELETE, _ELEMENT.pack(self._fd, c.addressof(at), 0, 0))
        except FileNotFoundError:
            return False
        return True

    def _element(self, command: int, key: bytes, flags: int = 0) -> bool:
        """One command on one entry; False when there is no such entry."""
        c.memmove(self._key, key, self.key_size)
        _FLAGS.pack_into(self._attributes, _ELEMENT.size - _FLAGS.size, flags)
        try:
            call(command, self._attributes)
        except FileNotFoundError:
            return False
        return True

    def _by_batches(self) -> Iterator[tuple[bytes, bytes]]:
        size = max(64, min(_AT_ONCE, self.max_entries, _BATCH_BYTES // (self.key_size + self.value_size)))
        place = c.create_string_buffer(max(self.key_size, 8))
        start = 0
        while True:
            keys = c.create_string_buffer(size * self.key_size)
            values = c.create_string_buffer(size * self.value_size)
            attributes = c.create_string_buffer(BYTES)
            _BATCHED.pack_into(
                attributes, 0, start, c.addressof(place), c.addressof(keys), c.addressof(values), size,
                self._fd, 0, 0,
            )  # fmt: skip
            done, found = _batch(attributes)
            if found is None:  # one bucket holds more than there is room for
                size *= 2
                continue
            wholes = struct.iter_unpack(f"{self.value_size}s", values.raw[: found * self.value_size])
            names = struct.iter_unpack(f"{self.key_size}s", keys.raw[: found * self.key_size])
            for (key,), (value,) in zip(names, wholes, strict=True):
                yield key, value
            if done:
                return
            start = c.addressof(place)

    def _by_keys(self) -> Iterator[tuple[bytes, bytes]]:
        at, following = 0, c.create_string_buffer(self.key_size)
        while True:
            try:
                bpf(_NEXT_KEY, _ELEMENT.pack(self._fd, at, c.addressof(following), 0))
            except FileNotFoundError:
                return
            value = self.lookup(following.raw)
            if value is not None:
                yield following.raw, value
            key = c.create_string_buffer(following.raw, self.key_size)
            at = c.addressof(key)


@contextlib.contextmanager
def table(map_id: int) -> Iterator[Table]:
    """Open anybody's map.

    Raises:
        FileNotFoundError: There is no such map (any more).
        PermissionError: CAP_SYS_ADMIN is missing.
    """
    with opened(map_id) as fd:
        yield Table(fd)


def refusal(error: OSError, table_name: str) -> NotChanged:
    """Why a map does not let itself be written, in words."""
    if error.errno == errno.EPERM:
        return NotChanged(
            f"map {table_name} can't be written from outside: it is frozen, or we have no right to",
            fix="only its agent can delete its entries",
        )
    return NotChanged(f"map {table_name} can't be written: {os.strerror(error.errno or 0)}", fix="look again")


def _batch(attributes: c.Array[c.c_char]) -> tuple[bool, int | None]:
    """Whether the end was reached, and how many entries came; None when there was too little room."""
    done = False
    try:
        call(_BATCH, attributes)
    except FileNotFoundError:
        done = True
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False, None
        raise
    return done, _BATCHED.unpack_from(attributes)[4]


def _possible_cpus() -> int:
    """How many parts a per-CPU value has: one for each CPU that there may ever be."""
    text = Path("/sys/devices/system/cpu/possible").read_text("ascii").strip()
    return sum(int(part.rpartition("-")[2]) - int(part.partition("-")[0]) + 1 for part in text.split(","))
