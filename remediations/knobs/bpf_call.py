"""The bpf() system call itself, for the few commands that changes need.

Source: Linux ``include/uapi/linux/bpf.h``.

Not here: what is asked for (``bpf_map``, ``bpf_link``).
"""

from __future__ import annotations

import ctypes as c
import errno
import os
from functools import cache

from remediations.knobs.backend import NotChanged

#: Of the attributes of a command; more than any kernel before 6.0 knows is zero.
BYTES = 128
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}


def bpf(command: int, attributes: bytes) -> int:
    """One call; what it returns, a file descriptor for most.

    Raises:
        OSError: As the kernel says.
        NotChanged: The number of the call is not known for this machine.
    """
    return call(command, c.create_string_buffer(attributes.ljust(BYTES, b"\0"), BYTES))


def call(command: int, attributes: c.Array[c.c_char]) -> int:
    """The same with attributes of ``BYTES`` that the kernel may write an answer into.

    Raises:
        As ``bpf``.
    """
    result = int(_libc().syscall(_number(), command, attributes, BYTES))
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code), errno.errorcode.get(code, ""))
    return result


@cache
def _number() -> int:
    """Of the system call on this machine."""
    machine = os.uname().machine
    if machine not in _SYS_BPF:
        raise NotChanged(f"the bpf() call of {machine} is not known", fix="change it by hand")
    return _SYS_BPF[machine]


@cache
def _libc() -> c.CDLL:
    return c.CDLL(None, use_errno=True)
