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

_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}


def bpf(command: int, attributes: bytes) -> int:
    """One call; what it returns, a file descriptor for most.

    Raises:
        OSError: As the kernel says.
        NotChanged: The number of the call is not known for this machine.
    """
    number = _SYS_BPF.get(os.uname().machine)
    if number is None:
        raise NotChanged(f"the bpf() call of {os.uname().machine} is not known", fix="change it by hand")
    buffer = c.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = int(_libc().syscall(number, command, buffer, 128))
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code), errno.errorcode.get(code, ""))
    return result


@cache
def _libc() -> c.CDLL:
    return c.CDLL(None, use_errno=True)
