"""BPF maps of our own, made and filled by the plain system call; they end with the test."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from bpf.mapping.owners import highest_pid
from bpf.objects.names import MAP_TYPES
from bpf.syscall import MapInfo, ask
from engine.values import Process, Target
from remediations.knobs.bpf_call import bpf

TYPES = {name: number for number, name in MAP_TYPES.items()}
NO_PREALLOC = 1
_ELEMENT = struct.Struct("=IxxxxQQQ")


class Made:
    """An open map."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        info = ask(fd, MapInfo())
        self.id, self.key_size, self.value_size = info.id, info.key_size, info.value_size

    def put(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Insert or replace."""
        held = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        bpf(2, _ELEMENT.pack(self.fd, *map(ctypes.addressof, held), flags))

    def delete(self, key: bytes) -> None:
        """Delete one."""
        held = ctypes.create_string_buffer(key, len(key))
        bpf(3, _ELEMENT.pack(self.fd, ctypes.addressof(held), 0, 0))

    def get(self, key: bytes) -> bytes | None:
        """What stands there."""
        held = ctypes.create_string_buffer(key, len(key))
        value = ctypes.create_string_buffer(max(self.value_size, 8) * (os.cpu_count() or 1) * 4)
        try:
            bpf(1, _ELEMENT.pack(self.fd, ctypes.addressof(held), ctypes.addressof(value), 0))
        except FileNotFoundError:
            return None
        return value.raw[: self.value_size]


@contextmanager
def made(
    kind: str,
    entries: int,
    *,
    key: int = 4,
    value: int = 16,
    flags: int = 0,
    name: str = "made",
    inner: int = 0,
) -> Iterator[Made]:
    """A map of a kind; held open by us alone."""
    fd = bpf(0, struct.pack("=7I16s", TYPES[kind], key, value, entries, flags, inner, 0, name.encode()))
    try:
        yield Made(fd)
    finally:
        os.close(fd)


def target_of(held: Iterable[Made], **more: object) -> Target:
    """The agent is this very process."""
    ids = tuple(one.id for one in held)
    return Target(name="made", ref="made", processes=(Process(pid=os.getpid()),), map_ids=ids, **more)


def nobodies(count: int) -> list[int]:
    """Ids that no process can ever have: beyond the highest."""
    return list(range(highest_pid() + 1, highest_pid() + 1 + count))


def ended(count: int) -> list[int]:
    """Ids of processes that have ended, not to be given again before all others were."""
    last = int(Path("/proc/sys/kernel/ns_last_pid").read_text())
    behind = (
        number for number in range(max(last - 3_000, 600), 300, -1) if not Path(f"/proc/{number}").exists()
    )
    return list(islice(behind, count))
