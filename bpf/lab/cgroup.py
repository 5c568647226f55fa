"""A CPU quota or a memory limit for one instance: a cgroup of its own, made and removed, on cgroup v1 and v2.

Not here: changing the limits of a running agent (a remediation's work).
Source: Linux Documentation/scheduler/sched-bwc.rst, admin-guide/cgroup-v1/memory.rst and
admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import RunbookError

PERIOD_US = 100_000
REMOVE_TRIES = 40


class NoController(RunbookError):
    """No cgroup hierarchy here lets us set such a limit."""


def hierarchy(mounts: str, controller: str = "cpu") -> tuple[int, Path]:
    """The version (1 or 2) and mount point of the hierarchy that has a controller, ``cpu`` or ``memory``.

    Args:
        mounts: The text of ``/proc/self/mounts``.
        controller: Its name.

    Raises:
        NoController: None has it, or v2 does not hand it to children of its root.
    """
    rows = [line.split() for line in mounts.splitlines()]
    for _, where, kind, options, *_ in rows:
        if kind == "cgroup" and controller in options.split(","):
            return 1, Path(where)
    for _, where, kind, *_ in rows:
        if kind == "cgroup2":
            with contextlib.suppress(OSError):
                if controller in (Path(where) / "cgroup.subtree_control").read_text().split():
                    return 2, Path(where)
            raise NoController(
                f"the cgroup hierarchy at {where} has no {controller} controller for its children",
                fix=f"echo +{controller} > {where}/cgroup.subtree_control",
            )
    raise NoController(
        f"no cgroup hierarchy with the {controller} controller is mounted",
        fix="mount one (mount -t cgroup2 none /sys/fs/cgroup), or choose another fault",
    )


def place(name: str, controller: str = "cpu") -> Path:
    """The directory that a cgroup of that name would have.

    Raises:
        NoController: There is no place for it.
    """
    _, root = hierarchy(Path("/proc/self/mounts").read_text(), controller)
    return root / name


def make(group: Path, *, cores: float | None = None, memory_bytes: int | None = None) -> None:
    """Make it, with those limits."""
    group.mkdir()
    if cores is not None:
        _set_cores(group, cores)
    if memory_bytes is not None:
        _set_memory(group, memory_bytes)


def _set_memory(group: Path, limit: int) -> None:
    """Limit its memory, swap included where swap is counted."""
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    if not (group / names[0]).exists():
        names = ("memory.max", "memory.swap.max")
    (group / names[0]).write_text(str(limit))
    with contextlib.suppress(OSError):
        (group / names[1]).write_text("0" if names[1] == "memory.swap.max" else str(limit))


def _set_cores(group: Path, cores: float) -> None:
    quota = int(cores * PERIOD_US)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")


def inside(group: Path, argv: Sequence[str]) -> list[str]:
    """The command, in the group from its first moment, so that all its memory is counted there."""
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *argv]


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
