"""Perf buffers of a running agent, seen from outside: positions of each CPU's ring, and its losses.

A perf event array tells nothing, and mapping an agent's perf events would disturb it. But they are
files of the agent, and a BPF iterator over files (kernel 5.8, BTF) may follow each to its ring. From
6.0 the kernel even counts what it dropped there, exactly. Costs 20 ms to make, then 50 to 200 µs per
look, growing with the open files of the machine: look at 20 Hz, not at 1 kHz.

Not here: ring buffers (``bpf.objects.ringbuf``), meaning over time (the ``event-flow`` probe).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ctypes import byref, c_uint32
from pathlib import Path

import msgspec

from bpf.closing import Closing
from bpf.libbpf import BpfError, BpfObject, check, library

_OBJECT = Path(__file__).with_name("perfbuf.bpf.o")
_TOLD = struct.Struct("=QII")
_RING = struct.Struct("=QIIQQQqQ")


class PerfRing(msgspec.Struct, frozen=True, kw_only=True):
    """One CPU's part of a perf buffer, at one moment.

    Attributes:
        fd: The agent's own descriptor of it; one agent may have several buffers per CPU.
        size: Bytes of data it holds.
        head, tail: Producer and consumer position, bytes since it was made. A reader in overwrite
            mode never moves the tail.
        lost: Records dropped for want of room since it was made; None before kernel 6.0.
        next_bytes: Size of the first record since the last look, header included; 0 when none came.
    """

    fd: int
    cpu: int
    size: int
    head: int
    tail: int
    lost: int | None
    next_bytes: int = 0


class PerfWatch(Closing):
    """The perf buffers of one process, read again and again until ``close``."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        known = next(_perf_descriptors(proc / str(pid)), None)
        if known is None:
            raise BpfError(f"process {pid} has no perf events open", fix="runbook targets lists who has")
        self._object = BpfObject.open(_OBJECT)
        try:
            self._object.set_global("tgid", struct.pack("=I", pid))
            self._object.load()
            self._link = self._object.attach_iterator("rings")
            self._learn(known)
        except BaseException:
            self._object.close()
            raise

    def _learn(self, known: int) -> None:
        """Tell the iterator how perf events look: like the file that procfs says is one."""
        fops = {fd: fops for fops, fd, _ in _TOLD.iter_unpack(self._link.read())}
        if known not in fops:
            raise BpfError("the agent's perf events went while we looked", fix="look again")
        value = struct.pack("=Q", fops[known])
        result = library().bpf_map_update_elem(self._object.map(".bss").fd, byref(c_uint32(0)), value, 0)
        check(result, "the iterator could not be configured")

    def close(self) -> None:
        """Unload. Doing it twice is no error."""
        self._object.close()

    def read(self) -> tuple[PerfRing, ...]:
        """Every ring of the process now; none when its perf events carry no BPF output."""
        rings = {
            event: PerfRing(
                fd=fd,
                cpu=cpu,
                size=size,
                head=head,
                tail=tail,
                lost=lost if lost >= 0 else None,
                next_bytes=next_bytes,
            )
            for event, fd, cpu, size, head, tail, lost, next_bytes in _RING.iter_unpack(self._link.read())
        }
        return tuple(rings.values())


def _perf_descriptors(process: Path) -> Iterator[int]:
    """Descriptors of a process that are perf events; none when it is gone."""
    try:
        for descriptor in (process / "fd").iterdir():
            if str(descriptor.readlink()) == "anon_inode:[perf_event]":
                yield int(descriptor.name)
    except OSError:
        return
