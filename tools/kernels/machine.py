"""Boots a kernel with our archive in QEMU, without KVM, and gives what it said on its serial line.

One CPU, and no cmpxchg16b: QEMU's emulation of it spoils flags, and newer kernels then die now and then.

Not here: what the machine does (``image.py``, ``tests/vm``).
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import NamedTuple

PROGRAM = "qemu-system-x86_64"
_LINE = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable random.trust_cpu=on"
_ARGUMENTS = (
    "-M q35 -accel tcg -cpu max,-cx16 -smp 1 -m 1024 "
    "-nographic -no-reboot -nodefaults -serial stdio -monitor none"
)


class Said(NamedTuple):
    """What came out of one boot.

    Attributes:
        lines: Of the serial line.
        seconds: From start to power off, or to the deadline.
        ended: False when it was stopped at the deadline.
    """

    lines: list[str]
    seconds: float
    ended: bool


def boot(kernel: Path, archive: Path, within_s: float = 150.0) -> Said:
    """Boot once; ends with the machine's own power off or at the deadline."""
    argv = [PROGRAM, *_ARGUMENTS.split(), "-kernel", str(kernel), "-initrd", str(archive), "-append", _LINE]
    began = time.monotonic()
    try:
        output = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=within_s, check=False,
        ).stdout  # fmt: skip
        ended = True
    except subprocess.TimeoutExpired as late:
        output, ended = late.stdout or b"", False
    lines = output.decode("utf-8", "replace").replace("\r", "").split("\n")
    return Said(lines, time.monotonic() - began, ended)
