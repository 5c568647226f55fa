"""This machine, as far as the engine itself must know it.

One promise: cheap facts only, from procfs and the C library; what cannot be read is empty or
0, never a guess.

Not here: anything about BPF (``bpf/``), or about a target.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from engine.values import Host


def read_host() -> Host:
    """What the arithmetic needs to know of the machine. Cost: two system calls, one file."""
    cpus = len(os.sched_getaffinity(0))
    page = os.sysconf("SC_PAGE_SIZE")
    return Host(
        cpus=cpus,
        possible_cpus=_possible_cpus() or os.cpu_count() or cpus,
        online_cpus=os.cpu_count() or cpus,
        page_bytes=page,
        memory_bytes=page * os.sysconf("SC_PHYS_PAGES"),
    )


def _possible_cpus() -> int:
    """Length of the kernel's per-CPU arrays: the last number in ``0-3`` or ``0,2-7``, plus one."""
    text = _read("/sys/devices/system/cpu/possible")
    last = text.replace(",", "-").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0


def available_memory_bytes() -> int | None:
    """``MemAvailable`` of ``/proc/meminfo`` (kernel 3.14+), or None when it can't be read."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def boot_id() -> str:
    """Random id of this boot: a pid means something only together with it."""
    return _read("/proc/sys/kernel/random/boot_id")


def hostname() -> str:
    """The node name."""
    return os.uname().nodename


def kernel() -> str:
    """The running kernel's release, ``6.18.44``."""
    return os.uname().release


def operator() -> str:
    """Who runs this, for the record: ``root (sudo: anna)``."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo: {behind})" if behind and behind != name else name


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
