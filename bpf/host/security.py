"""What confines a process beyond its capabilities: seccomp, security modules, namespaces, lockdown.

One promise: what can't be read is None with the reason, never "no".

Source: proc(5), seccomp(2), namespaces(7); securityfs; linux/proc_ns.h (inode numbers of the
initial namespaces); linux/lsm.h (numbers of modules).

Not here: capabilities (``capabilities``), sysctls and limits (``limits``).
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from bpf.host.files import ROOT, link, read, text
from bpf.host.kernel_config import KernelConfig

_INITIAL_USER, _INITIAL_PID = 4026531837, 4026531836  # PROC_USER_INIT_INO, PROC_PID_INIT_INO
_SECCOMP = ("disabled", "strict", "filter")
_CONTAINER = re.compile(r"kubepods|docker|containerd|libpod|crio|lxc|machine\.slice|garden", re.IGNORECASE)
NOT_MOUNTED = "securityfs is not mounted"
_LIST_MODULES = 461  # lsm_list_modules(2), kernel 6.8; the same number on every architecture but alpha
#: LSM_ID_*, in order from this number on.
_FIRST_MODULE = 100
_MODULES = (
    *("capability", "selinux", "smack", "tomoyo", "apparmor", "yama", "loadpin", "safesetid", "lockdown"),
    *("bpf", "landlock", "ima", "evm", "ipe"),
)
_FORCED = ("confidentiality", "integrity")


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


def modules(root: Path, ask: Callable[[], str] | None = None) -> tuple[str | None, str]:
    """Active security modules, comma separated as the kernel has them; or None and why.

    Args:
        root: Where the file systems stand.
        ask: Asks the kernel itself where securityfs is not mounted; by default on this machine only.
    """
    found, why = read(root, "sys/kernel/security/lsm")
    if not found and (ask or root == ROOT):
        found = (ask or _ask_modules)()
    return (found, "") if found else (None, NOT_MOUNTED if "No such" in why else why)


def lockdown(root: Path, config: KernelConfig) -> tuple[str | None, str]:
    """``none``, ``integrity`` or ``confidentiality``; or None and why.

    Without securityfs the build configuration may tell: a kernel without it is never locked down,
    and one that was built to be is always, at least so far.
    """
    found, why = read(root, "sys/kernel/security/lockdown")
    mode = found.partition("[")[2].partition("]")[0]  # none [integrity] confidentiality
    if mode:
        return mode, ""
    if config.answer("SECURITY_LOCKDOWN_LSM") == "no":
        return "none", ""
    for forced in _FORCED:
        if config.answer(f"LOCK_DOWN_KERNEL_FORCE_{forced.upper()}") == "yes":
            return forced, ""
    return None, NOT_MOUNTED if "No such" in why else why or "it names no mode"


def _ask_modules() -> str:
    """By a system call; empty where the kernel has none."""
    libc = ctypes.CDLL(None)
    ids = (ctypes.c_uint64 * 64)()
    size = ctypes.c_uint32(ctypes.sizeof(ids))
    count = libc.syscall(_LIST_MODULES, ids, ctypes.byref(size), 0)
    named = dict(enumerate(_MODULES, _FIRST_MODULE))
    return ",".join(named.get(one, f"lsm_{one}") for one in ids[: max(0, count)])


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
