"""What confines a process beyond its capabilities: seccomp, security modules, namespaces, lockdown.

One promise: what can't be read is None with the reason, never "no".

Source: proc(5), seccomp(2), namespaces(7); securityfs; linux/proc_ns.h (inode numbers of the
initial namespaces).

Not here: capabilities (``capabilities``), sysctls and limits (``limits``).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from bpf.host.files import link, read, text

_INITIAL_USER, _INITIAL_PID = 4026531837, 4026531836  # PROC_USER_INIT_INO, PROC_PID_INIT_INO
_SECCOMP = ("disabled", "strict", "filter")
_CONTAINER = re.compile(r"kubepods|docker|containerd|libpod|crio|lxc|machine\.slice|garden", re.IGNORECASE)
NOT_MOUNTED = "securityfs is not mounted"


class Confinement(msgspec.Struct, frozen=True):
    """What holds one process; None where it can't be told."""

    uid: int | None = None
    no_new_privs: str | None = None
    seccomp: str | None = None
    label: str | None = None
    user_namespace: str | None = None
    container: str | None = None


def of_process(root: Path, pid: str) -> Confinement:
    """The confinement of one process (``self`` for ours). Six small reads."""
    status = dict(
        line.partition(":\t")[::2] for line in text(root, f"proc/{pid}/status").splitlines() if ":\t" in line
    )
    mode = status.get("Seccomp", "").strip()
    privileges = status.get("NoNewPrivs", "").strip()
    users = _namespace(root, pid, "user")
    return Confinement(
        uid=int(status["Uid"].split()[1]) if "Uid" in status else None,
        no_new_privs={"0": "no", "1": "yes"}.get(privileges),
        seccomp=_SECCOMP[int(mode)] if mode in ("0", "1", "2") else None,
        label=_label(root, pid),
        user_namespace=None if users is None else "initial" if users == _INITIAL_USER else "child",
        container=_container(root, pid),
    )


def modules(root: Path) -> tuple[str | None, str]:
    """Active security modules, comma separated as the kernel has them; or None and why."""
    found, why = read(root, "sys/kernel/security/lsm")
    return (found, "") if found else (None, NOT_MOUNTED if "No such" in why else why)


def lockdown(root: Path, *, built_in: str | None) -> tuple[str | None, str]:
    """``none``, ``integrity`` or ``confidentiality``; or None and why.

    Args:
        root: Where the file systems stand.
        built_in: Whether the kernel was built with it (``yes``, ``no``, None for unknown):
            without, it is ``none``.
    """
    found, why = read(root, "sys/kernel/security/lockdown")
    mode = found.partition("[")[2].partition("]")[0]  # none [integrity] confidentiality
    if mode:
        return mode, ""
    if built_in == "no":
        return "none", ""
    return None, NOT_MOUNTED if "No such" in why else why or "it names no mode"


def _namespace(root: Path, pid: str, kind: str) -> int | None:
    inode = link(root, f"proc/{pid}/ns/{kind}").partition("[")[2].rstrip("]")
    return int(inode) if inode.isdigit() else None


def _label(root: Path, pid: str) -> str | None:
    """The label of AppArmor or SELinux; None where neither rules it."""
    for path in (f"proc/{pid}/attr/apparmor/current", f"proc/{pid}/attr/current"):
        found = text(root, path).rstrip("\0")
        if found:
            return found
    return None


def _container(root: Path, pid: str) -> str | None:
    """By its pid namespace, then by the names of its cgroups: a container may share the host's pids."""
    pids, groups = _namespace(root, pid, "pid"), text(root, f"proc/{pid}/cgroup")
    if (pids is not None and pids != _INITIAL_PID) or _CONTAINER.search(groups):
        return "yes"
    return "no" if pids is not None and groups else None
