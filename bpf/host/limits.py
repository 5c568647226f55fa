"""Numbers that limit BPF: sysctls, locked memory, memory for compiled programs, the kernel's version.

One promise: an absent setting is None with the reason, never 0.

Source: Linux Documentation/admin-guide/sysctl/{kernel,net}.rst, getrlimit(2), procfs' vmallocinfo;
commit bdcbb57c2c ("bpf: Eliminate rlimit-based memory accounting", kernel 5.11).

Not here: limits of cgroups (``bpf.probes.process``).
"""

from __future__ import annotations

import re
from pathlib import Path

from bpf.host.files import read, text

UNLIMITED = -1
#: From this version on BPF memory is charged to the cgroup, and the memlock limit means nothing.
MEMCG_ACCOUNTING = 5_011
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def version_number(release: str) -> int | None:
    """``6.1.0-18-amd64`` → 6001: major · 1000 + minor; None for what is no release."""
    found = _RELEASE.match(release)
    return int(found[1]) * 1000 + int(found[2]) if found else None


def sysctl(root: Path, path: str) -> tuple[int | None, str]:
    """A numeric sysctl by its path below /proc/sys; or None and why."""
    found, _ = read(root, f"proc/sys/{path}")
    if found.lstrip("-").isdigit():
        return int(found), ""
    return None, "this kernel has no such setting, or hides it"


def memlock(root: Path, pid: str) -> int | None:
    """RLIMIT_MEMLOCK of a process in bytes, its soft limit; -1: unlimited; None: can't be read."""
    for line in text(root, f"proc/{pid}/limits").splitlines():
        if line.startswith("Max locked memory"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else UNLIMITED
    return None


def jit_used(root: Path) -> tuple[int | None, str]:
    """Bytes of kernel memory that hold compiled BPF programs; or None and why. 1 ms."""
    found, why = read(root, "proc/vmallocinfo")
    if not found:
        return None, why or "/proc/vmallocinfo is empty: root is needed"
    rows = (line.split() for line in found.splitlines() if "bpf_jit" in line or "bpf_prog_pack" in line)
    return sum(int(row[1]) for row in rows), ""
