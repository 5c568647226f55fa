"""Failing ``bpf()`` calls of the whole machine, as they happen, without anybody's cooperation.

Its promise: every failing load, map or link creation of another process between ``LoadTracer()`` and
``close`` is given, or counted as lost; none is silently missed. Our own process is left out.

While open, every system call of the machine takes 5 to 30 ns longer (a quarter of the cheapest one),
every ``bpf()`` call 65 to 110 ns, one that fails 0.3 µs. Measured by ``tools/bench/loads.py``.
Not here: what a record says (``bpf.failures``), why a load failed (the ``load-failure`` diagnosis).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bpf.closing import Closing
from bpf.failures import COMMANDS, Failure, Retries, decode
from bpf.libbpf import BpfError, BpfObject, library
from bpf.objects import btf
from bpf.objects.ringreader import RingReader

_OBJECT = Path(__file__).parent / "probes" / "load_failures.bpf.o"
_PROGRAM_TYPE_TRACEPOINT = 5  # linux/bpf.h
_HELPER_LOOP = 181  # bpf_loop, kernel 5.17
NO_SECCOMP = "calls that a seccomp filter refused can't be seen here"
SHORT_SEARCH = "this kernel has no bpf_loop: logs longer than 1 MiB are given without their end"


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """Failures that are missing from what was given.

    Attributes:
        lost: Found no room in our ring buffer: too many at once.
        not_followed: Calls, failing or not, that began while 4,096 others were under way.
    """

    lost: int = 0
    not_followed: int = 0


class LoadTracer(Closing):
    """Traces from the moment it is made until ``close``; call ``take`` often.

    Args:
        epoch_at_boot: Epoch seconds when the monotonic clock was 0.
        bounded: Take the program for kernels before 5.17 even where ``bpf_loop`` is there.

    Attributes:
        notes: What can't be seen on this kernel.
    """

    def __init__(self, epoch_at_boot: float, *, bounded: bool | None = None) -> None:
        self._epoch_at_boot = epoch_at_boot
        short = not _has_loop() if bounded is None else bounded
        stack_at = _stack_at()
        self.notes = (*([SHORT_SEARCH] if short else []), *([] if stack_at else [NO_SECCOMP]))
        self._retries = Retries()
        self._object = BpfObject.open(_OBJECT)
        self._reader: RingReader | None = None
        try:
            self._arm(short=short, stack_at=stack_at)
        except BaseException:
            self.close()
            raise

    def _arm(self, *, short: bool, stack_at: int) -> None:
        ours, programs = self._object, ("on_exit", "on_exit_bounded")
        ours.set_global("self_tgid", struct.pack("=I", os.getpid()))
        ours.set_global("wanted", struct.pack("=Q", sum(1 << command for command in COMMANDS)))
        ours.set_global("stack_at", struct.pack("=I", stack_at))
        ours.skip(programs[not short])
        ours.load()
        self._reader = RingReader(ours.map("failures").fd)
        # First the beginning: an end without one means something.
        ours.attach_tracepoint("on_enter", "syscalls", "sys_enter_bpf")
        ours.attach_tracepoint(programs[short], "syscalls", "sys_exit_bpf")

    def close(self) -> None:
        """Detach and unload. Doing it twice is no error."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._object.close()

    def attempts(self) -> Iterator[Failure]:
        """Every failing call since the last time, one by one."""
        records = self._reader.read() if self._reader is not None else []
        return (decode(record, self._epoch_at_boot, attach_type) for record in records)

    def take(self, now: float) -> list[Failure]:
        """Failures since the last time, attempts at one load joined; ``now`` in epoch seconds."""
        return [*self._retries.feed(self.attempts()), *self._retries.ripe(now)]

    def rest(self) -> list[Failure]:
        """All that is left, at the end."""
        return [*self._retries.feed(self.attempts()), *self._retries.rest()]

    def losses(self) -> Losses:
        """What is missing so far."""
        return Losses(lost=self._count("lost"), not_followed=self._count("not_followed"))

    def _count(self, name: str) -> int:
        return int.from_bytes(self._object.get_global(name), "little")


def attach_type(number: int) -> str:
    """The kernel's name of an attach type, as libbpf spells it: ``trace_fentry``."""
    said: bytes | None = library().libbpf_bpf_attach_type_str(number)
    return said.decode() if said else f"attach type {number}"


def _has_loop() -> bool:
    return bool(library().libbpf_probe_bpf_helper(_PROGRAM_TYPE_TRACEPOINT, _HELPER_LOOP, None) == 1)


def _stack_at() -> int:
    """Where a task points to its kernel stack, which holds the registers of its system call; 0: unknown."""
    if os.uname().machine != "x86_64":
        return 0
    try:
        with btf.of_running_kernel() as types:
            return types.member_at("task_struct", "stack") or 0
    except BpfError:
        return 0
