"""Failing ``bpf()`` calls, made by hand in a process of their own: ``python failing.py KIND TIMES``.

Plain Python of the standard library, so that it also runs in the smallest machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

NR_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
MAP_CREATE, PROG_LOAD, RAW_TRACEPOINT_OPEN, BTF_LOAD, LINK_CREATE = 0, 5, 17, 18, 28
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22


def bpf(command: int, attributes: bytes) -> int:
    """The errno of one call; 0 when it did not fail."""
    held = ctypes.create_string_buffer(attributes, len(attributes))
    result = _LIBC.syscall(NR_BPF, command, held, len(attributes))
    return 0 if result >= 0 else ctypes.get_errno()


def ring_of_wrong_size() -> int:
    """No ring buffer is 100 bytes long: EINVAL."""
    return bpf(MAP_CREATE, struct.pack("=IIIII8x16s", 27, 0, 0, 100, 0, b"wrong_ring"))


def program_without_end(log_bytes: int = 0, name: bytes = b"no_end") -> int:
    """r0 = 0, and then nothing: EINVAL, and a log if there is room for one."""
    code = ctypes.create_string_buffer(struct.pack("=BBhi", 0xB7, 0, 0, 0), 8)
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(max(log_bytes, 1))
    head = struct.pack("=IIQQ", 1, 1, ctypes.addressof(code), ctypes.addressof(licence))
    room = struct.pack("=IIQ", 1, log_bytes, ctypes.addressof(log)) if log_bytes else bytes(16)
    return bpf(PROG_LOAD, head + room + bytes(8) + name.ljust(16, b"\0"))


def types_that_are_none(log_bytes: int = 4096) -> int:
    """BTF of nothing but zeros: EINVAL."""
    data = ctypes.create_string_buffer(64)
    log = ctypes.create_string_buffer(log_bytes)
    pointers = ctypes.addressof(data), ctypes.addressof(log)
    return bpf(BTF_LOAD, struct.pack("=QQIII4x", *pointers, 64, log_bytes, 1))


def tracepoint_that_is_none() -> int:
    """A raw tracepoint by a name that no kernel has: ENOENT (EBADF where the program is looked at first)."""
    name = ctypes.create_string_buffer(b"no_such_tracepoint")
    return bpf(RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", ctypes.addressof(name), 2**31 - 1))


def link_of_nothing() -> int:
    """No program behind the descriptor: EBADF."""
    return bpf(LINK_CREATE, struct.pack("=IIII", 2**31 - 1, 0, 24, 0))


def refuse_bpf() -> None:
    """From here on a seccomp filter refuses ``bpf()`` with EPERM, as container engines' filters do."""
    load, equal, give = 0x20, 0x15, 0x06  # linux/filter.h
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    program = ((load, 0, 0, 0), (equal, 0, 1, NR_BPF), (give, 0, 0, refuse), (give, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    filter_ = ctypes.create_string_buffer(struct.pack("=H6xQ", len(program), ctypes.addressof(code)))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _LIBC.prctl(_PR_SET_SECCOMP, 2, filter_, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def below_seccomp() -> int:
    """A map that would be fine, refused by the filter."""
    refuse_bpf()
    return bpf(MAP_CREATE, struct.pack("=IIIII8x16s", 2, 4, 8, 1, 0, b"fine_map"))


def not_permitted() -> int:
    """A program for a user without any capability: EPERM."""
    os.setresuid(65534, 65534, 65534)
    return program_without_end(4096, b"not_permitted")


KINDS = {
    "ring": ring_of_wrong_size,
    "program": program_without_end,
    "program-with-log": lambda: program_without_end(4096),
    "types": types_that_are_none,
    "tracepoint": tracepoint_that_is_none,
    "link": link_of_nothing,
    "seccomp": below_seccomp,
    "not-permitted": not_permitted,
}

if __name__ == "__main__":
    kind, times = sys.argv[1], int(sys.argv[2])
    given = {errno.errorcode.get(KINDS[kind](), "0") for _ in range(times)}
    sys.stdout.write(" ".join(given))
