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

import msgspec

from remediations.knobs.backend import NotChanged
from remediations.knobs.bpf_call import BYTES, bpf, call
from remediations.knobs.bpf_map import opened

_LOOKUP, _UPDATE, _DELETE, _NEXT_KEY, _INFO, _TAKE, _BATCH = 1, 2, 3, 4, 15, 21, 24
_NO_EXIST = 1
_ELEMENT = struct.Struct("=IxxxxQQQ")  # fd; addresses of key and value; flags
_BATCHED = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, fd, element flags, flags
_AT_ONCE, _BATCH_BYTES = 8192, 4 << 20
_UNKNOWN_COMMAND = (errno.EINVAL, errno.EOPNOTSUPP, 524)
#: ``enum bpf_map_type`` of the kinds whose entries can be taken out and put back as they were.
KINDS = {1: "hash", 5: "percpu_hash"}


class Table(msgspec.Struct, frozen=True):
    """An open hash map: sizes in bytes; the size of a value as it is read, all CPUs' parts together."""

    fd: int
    id: int
    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int

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
        value = c.create_string_buffer(self.value_size)
        return value.raw if self._element(_LOOKUP, key, value) else None

    def take(self, key: bytes) -> bytes | None:
        """Delete an entry and give what it held, in one step where the kernel can; None: it was gone."""
        value = c.create_string_buffer(self.value_size)
        try:
            return value.raw if self._element(_TAKE, key, value) else None
        except OSError as error:
            if error.errno not in _UNKNOWN_COMMAND:
                raise
        held = self.lookup(key)
        return held if held is not None and self._element(_DELETE, key, None) else None

    def put(self, key: bytes, value: bytes) -> bool:
        """Put an entry in where there is none of its key; False where there is one: it is left.

        Raises:
            OSError: E2BIG, the map is full.
        """
        try:
            self._element(_UPDATE, key, c.create_string_buffer(value, len(value)), _NO_EXIST)
        except FileExistsError:
            return False
        return True

    def _element(self, command: int, key: bytes, value: c.Array[c.c_char] | None, flags: int = 0) -> bool:
        """One command on one entry; False when there is no such entry."""
        at = c.create_string_buffer(key, len(key))
        value_at = c.addressof(value) if value is not None else 0
        try:
            bpf(command, _ELEMENT.pack(self.fd, c.addressof(at), value_at, flags))
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
                self.fd, 0, 0,
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
                bpf(_NEXT_KEY, _ELEMENT.pack(self.fd, at, c.addressof(following), 0))
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
        buffer = c.create_string_buffer(128)
        bpf(_INFO, struct.pack("=IIQ", fd, len(buffer), c.addressof(buffer)))
        kind, number, key_size, value_size, most, _flags, name = struct.unpack_from("=6I16s", buffer.raw)
        if KINDS.get(kind) == "percpu_hash":
            value_size = (value_size + 7 & ~7) * _possible_cpus()
        told = name.partition(b"\0")[0].decode(errors="replace")
        yield Table(fd, number, kind, told, key_size, value_size, most)


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
