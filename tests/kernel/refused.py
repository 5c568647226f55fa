"""A process that is refused ``bpf()`` for one reason only, again and again: ``python refused.py REASON``.

Plain Python of the standard library, so that it also runs in the smallest machine. All of them end
in EPERM (lockdown: in a verifier's log): the errno says nothing of the reason.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
import time
from pathlib import Path

from failing import MAP_CREATE, PROG_LOAD, bpf, refuse_bpf

SOCKET_FILTER, RAW_TRACEPOINT = 1, 17
NOBODY, EVERY_S = 65534, 0.2
PROBE_READ_KERNEL = 113
_EXIT = (0x95, 0, 0, 0)
_RETURN_0 = ((0xB7, 0, 0, 0), _EXIT)
#: r1 = fp - 8; r2 = 8; r3 = 0; probe_read_kernel(r1, r2, r3); r0 = 0
_READS_KERNEL = (
    *((0xBF, 0xA1, 0, 0), (0x07, 0x01, 0, -8), (0xB7, 2, 0, 8), (0xB7, 3, 0, 0)),
    *((0x85, 0, 0, PROBE_READ_KERNEL), *_RETURN_0),
)


def program(kind: int, insns: tuple[tuple[int, ...], ...]) -> str:
    """Load a program; errno and log as a library tells of them."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=BBhi", *one) for one in insns), 8 * len(insns))
    licence, log = ctypes.create_string_buffer(b"GPL"), ctypes.create_string_buffer(4096)
    head = struct.pack("=IIQQ", kind, len(insns), ctypes.addressof(code), ctypes.addressof(licence))
    room = struct.pack("=IIQ", 1, 4096, ctypes.addressof(log))
    number = bpf(PROG_LOAD, head + room + bytes(8) + b"practice".ljust(16, b"\0") + bytes(64))
    return f"load program practice: {os.strerror(number)}\n{log.value.decode()}"


def array(entries: int) -> str:
    """Make an array of pages."""
    number = bpf(MAP_CREATE, struct.pack("=IIIII8x16s", 2, 4, 4096, entries, 0, b"practice"))
    return f"create map practice: {os.strerror(number)}"


def become_nobody() -> None:
    """An unprivileged user."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def lock_down() -> None:
    """For ever: only for a machine that is thrown away."""
    mode = Path("/sys/kernel/security/lockdown")
    if "[confidentiality]" not in mode.read_text():
        mode.write_text("confidentiality")


def main(reason: str) -> None:
    """Be refused until killed."""
    if reason in ("capability", "sysctl"):
        become_nobody()
    elif reason == "seccomp":
        refuse_bpf()
    elif reason == "memlock":
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
    elif reason == "lockdown":
        lock_down()
    while True:
        if reason == "memlock":
            said = array(1024)
        elif reason == "sysctl":
            said = program(SOCKET_FILTER, _RETURN_0)
        else:
            said = program(RAW_TRACEPOINT, _READS_KERNEL)
        sys.stdout.write(f"{said.strip()}\n\n")
        sys.stdout.flush()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main(sys.argv[1])
