"""Perf events: tracepoints, also where the trace file system is not mounted, and CPU clocks.

Its promise: nothing is mounted for it: where tracefs is missing, a detached instance is made that only
we can see, and let go. Costs 0.1 ms.

Not here: raw tracepoints, which go by name alone (``BpfObject.attach_raw_tracepoint``).
Source: ``Documentation/trace/events.rst``; fsopen and fsmount, kernel 5.2.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes import c_char_p, c_int, c_long, c_uint, c_void_p

from bpf.library import BpfError, failure

_MOUNTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same on all machines
_CLOEXEC = 1
_CMD_CREATE = 6
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
_PERF_TYPE_SOFTWARE, _PERF_TYPE_TRACEPOINT = 1, 2
_CPU_CLOCK = 0
_FREQUENCY = 1 << 10  # of the flags: the third word is a rate, not a period
_ATTR_BYTES = 112  # PERF_ATTR_SIZE_VER5
_PERF_FLAG_CLOEXEC = 8


def event_id(group: str, name: str) -> int:
    """The number under which perf knows a trace event.

    Raises:
        BpfError: This kernel has no such event, or hides its trace file system.
    """
    path = f"events/{group}/{name}/id"
    for place in _MOUNTS:
        with suppress(OSError), open(f"{place}/{path}", "rb") as file:  # noqa: PTH123 - on the way to openat
            return int(file.read())
    try:
        with _detached_tracefs() as directory:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
            with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
                return int(file.read())
    except OSError as error:
        raise failure(
            f"tracepoint {group}:{name} is not to be had",
            error.errno or 0,
            fix="mount -t tracefs tracefs /sys/kernel/tracing; the kernel needs CONFIG_FTRACE_SYSCALLS",
        ) from None


@contextmanager
def _detached_tracefs() -> Iterator[int]:
    """A descriptor of the root of a tracefs that is mounted nowhere."""
    context = _call(_FSOPEN, c_char_p(b"tracefs"), c_uint(_CLOEXEC))
    try:
        _call(_FSCONFIG, c_int(context), c_uint(_CMD_CREATE), c_void_p(), c_void_p(), c_int(0))
        directory = _call(_FSMOUNT, c_int(context), c_uint(_CLOEXEC), c_uint(0))
    finally:
        os.close(context)
    try:
        yield directory
    finally:
        os.close(directory)


def open_event(event: int) -> int:
    """A perf event for a trace event, which programs can be attached to; the caller closes it.

    Raises:
        BpfError: Not allowed, or not known on this type of machine.
    """
    return _opened(_PERF_TYPE_TRACEPOINT, event, f"perf event {event}")


def open_clock(cpu: int, hz: int) -> int:
    """A perf event that ticks ``hz`` times a second on one CPU, idle or not; the caller closes it.

    The clock is the kernel's own (``cpu-clock``), so virtual machines have it too.

    Raises:
        BpfError: Not allowed, or the CPU is not there.
    """
    what = f"a clock of {hz} Hz on CPU {cpu}"
    return _opened(_PERF_TYPE_SOFTWARE, _CPU_CLOCK, what, cpu=cpu, hz=hz)


def _opened(kind: int, config: int, what: str, *, cpu: int = 0, hz: int = 0) -> int:
    number = _PERF_EVENT_OPEN.get(os.uname().machine)
    if number is None:
        raise BpfError(f"perf events are not known on {os.uname().machine}", fix="none")
    attributes = (ctypes.c_uint64 * (_ATTR_BYTES // 8))()
    attributes[0] = kind | _ATTR_BYTES << 32
    attributes[1], attributes[2] = config, hz
    attributes[5] = _FREQUENCY if hz else 0
    arguments = (attributes, c_int(-1), c_int(cpu), c_int(-1), c_long(_PERF_FLAG_CLOEXEC))
    try:
        return _call(number, *arguments)
    except OSError as error:
        raise failure(f"{what} could not be opened", error.errno or 0) from None


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
