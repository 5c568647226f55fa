"""What all tests share: tests that need root and BPF are skipped, with the reason, where there is neither."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import pytest

_NR_BPF = {"x86_64": 321, "aarch64": 280}
_BPF_PROG_GET_NEXT_ID = 11


@cache
def no_bpf() -> str:
    """Why BPF can't be used here; empty when it can. One harmless bpf() call."""
    if os.geteuid() != 0:
        return "needs root"
    number = _NR_BPF.get(os.uname().machine)
    if number is None:
        return f"the number of bpf() on {os.uname().machine} is not known to these tests"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 32)()
    libc.syscall(number, _BPF_PROG_GET_NEXT_ID, attributes, ctypes.sizeof(attributes))
    errno = ctypes.get_errno()
    if errno in (0, 2):  # ENOENT: no program is loaded, which is an answer
        return ""
    return f"bpf() answers {os.strerror(errno)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip ``kernel`` tests where they can't run, saying why."""
    if not (reason := no_bpf()):
        return
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason=f"no BPF here: {reason}"))
