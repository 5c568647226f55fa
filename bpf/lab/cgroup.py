"""A CPU quota for one instance: a cgroup of its own, made and removed, on cgroup v1 and v2.

Not here: changing the quota of a running agent (a remediation's work).
Source: Linux Documentation/scheduler/sched-bwc.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import RunbookError

PERIOD_US = 100_000
REMOVE_TRIES = 40


class NoCpuController(RunbookError):
    """No cgroup hierarchy here lets us set a CPU quota."""


def hierarchy(mounts: str) -> tuple[int, Path]:
    """The version (1 or 2) and mount point of the hierarchy that has the cpu controller.

    Args:
        mounts: The text of ``/proc/self/mounts``.

    Raises:
        NoCpuController: None has it, or v2 does not hand it to children of its root.
    """
    rows = [line.split() for line in mounts.splitlines()]
    for _, where, kind, options, *_ in rows:
        if kind == "cgroup" and "cpu" in options.split(","):
            return 1, Path(where)
    for _, where, kind, *_ in rows:
        if kind == "cgroup2":
            with contextlib.suppress(OSError):
                if "cpu" in (Path(where) / "cgroup.subtree_control").read_text().split():
                    return 2, Path(where)
            raise NoCpuController(
                f"the cgroup hierarchy at {where} has no cpu controller for its children",
                fix=f"echo +cpu > {where}/cgroup.subtree_control",
            )
    raise NoCpuController(
        "no cgroup hierarchy with the cpu controller is mounted",
        fix="mount one (mount -t cgroup2 none /sys/fs/cgroup), or choose another fault",
    )


def place(name: str) -> Path:
    """The directory that a cgroup of that name would have.

    Raises:
        NoCpuController: There is no place for it.
    """
    _, root = hierarchy(Path("/proc/self/mounts").read_text())
    return root / name


def make(group: Path, cores: float) -> None:
    """Make it, with that quota."""
    group.mkdir()
    quota = int(cores * PERIOD_US)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")


def enter(group: Path, pid: int) -> None:
    """Move a process into it, with all its threads."""
    (group / "cgroup.procs").write_text(str(pid))


def remove(group: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Remove it once its last process has left; a missing one is fine."""
    for attempt in range(REMOVE_TRIES):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if attempt == REMOVE_TRIES - 1:
                raise
            sleep(0.05)
        else:
            return
