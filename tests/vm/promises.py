"""What all promises share: an agent of known behaviour, and the way to say 'not on this kernel'."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bpf.libbpf import BpfObject
from bpf.syscall import MapInfo, ask

HERE = Path(__file__).parent
KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split("+")[0].split(".")[:2])
RECORD = 72  # bytes of a sample's record in its ring


class NotHere(Exception):
    """This kernel can't do it, and nobody says that it could; the text says why."""


@contextmanager
def sample() -> Iterator[BpfObject]:
    """The small agent of ``tests/kernel``, watching this process's own system calls."""
    with BpfObject.open(HERE / "sample.bpf.o") as agent:
        agent.set_global("only_tgid", struct.pack("=I", os.getpid()))
        agent.load()
        agent.attach("sample_enter")
        yield agent


def map_id(agent: BpfObject, name: str) -> int:
    """The kernel's number of one of the agent's maps."""
    return int(ask(agent.map(name).fd, MapInfo()).id)


def number(agent: BpfObject, name: str) -> int:
    """One of the agent's own counters."""
    return int.from_bytes(agent.get_global(name), "little")


def calls(times: int) -> None:
    """System calls for the agent to see."""
    for _ in range(times):
        os.getppid()


def same(seen: object, expected: object) -> None:
    """Both are the same, or the promise is broken."""
    if seen != expected:
        raise AssertionError(f"{seen!r} is not {expected!r}")


def holds(fact: bool, otherwise: str) -> None:
    """It is so, or the promise is broken."""
    if not fact:
        raise AssertionError(otherwise)
