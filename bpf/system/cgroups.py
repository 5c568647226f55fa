"""What a process's control groups allow it: CPU quota, throttling, memory, OOM kills. v1 and v2.

Its promise: limits are looked for up the whole tree, since the tightest one rules wherever it
stands; "no limit" and "could not be read" are told apart.

Not here: writing a limit (``remediations``), the process itself (``bpf.probes.process``).
Source: Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst,
scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from bpf.system.procfs import PROC, read_text

#: cgroup v1 writes "no limit" as the largest multiple of a page below 2^63.
NO_LIMIT_V1 = 1 << 62


class Group(msgspec.Struct, frozen=True):
    """One control group directory of one controller.

    Attributes:
        version: 1 or 2: the files are named differently.
    """

    path: Path
    version: int

    def number(self, name: str) -> int | None:
        """A file that holds one number; None when it is absent or says ``max``."""
        text = read_text(self.path / name).strip()
        return int(text) if text.lstrip("-").isdigit() else None

    def table(self, name: str) -> dict[str, int]:
        """A file of ``key value`` lines; empty when it is absent."""
        pairs = (line.split() for line in read_text(self.path / name).splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


class Throttling(msgspec.Struct, frozen=True):
    """How often a quota ran out, since the group was made.

    Attributes:
        periods, throttled: Enforcement periods, and those in which the group was held back.
        seconds: Time held back, summed over CPUs.
    """

    periods: int = 0
    throttled: int = 0
    seconds: float = 0.0


def groups(pid: int, controller: str, proc: Path = PROC) -> list[Group]:
    """The process's groups of one controller, its own first, up to the mount's root.

    Empty when the controller is not mounted, or the process is gone. A v1 hierarchy that has the
    controller wins over v2: a controller lives in one of them only.
    """
    mounts = _mounts(proc)
    unified: tuple[str, int] | None = None
    for line in read_text(proc / str(pid) / "cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return _up(mounts.get(controller), path, 1)
        if not names:
            unified = (path, 2)
    return _up(mounts.get(""), *unified) if unified else []


def quota_cores(group: Group) -> float | None:
    """CPU quota of one group in cores; None for none."""
    if group.version == 2:
        quota, _, period = read_text(group.path / "cpu.max").strip().partition(" ")
        return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None
    quota_us, period_us = group.number("cpu.cfs_quota_us"), group.number("cpu.cfs_period_us")
    return quota_us / period_us if quota_us and quota_us > 0 and period_us else None


def throttling(group: Group) -> Throttling:
    """Periods and throttled time of one group so far."""
    stat = group.table("cpu.stat")
    seconds = (
        stat["throttled_usec"] / 1e6 if "throttled_usec" in stat else stat.get("throttled_time", 0) / 1e9
    )
    return Throttling(stat.get("nr_periods", 0), stat.get("nr_throttled", 0), seconds)


def memory_limit(group: Group) -> int | None:
    """Bytes that one group may take; None for no limit."""
    limit = group.number("memory.max" if group.version == 2 else "memory.limit_in_bytes")
    return limit if limit is not None and limit < NO_LIMIT_V1 else None


def memory_used(group: Group) -> int | None:
    """Bytes charged to one group and those below it, caches that can be dropped not counted."""
    used = group.number("memory.current" if group.version == 2 else "memory.usage_in_bytes")
    stat = group.table("memory.stat")
    cache = stat.get("inactive_file", 0) if group.version == 2 else stat.get("total_inactive_file", 0)
    return None if used is None else max(0, used - cache)


def memory_kernel(group: Group) -> int | None:
    """Of the bytes charged to one group, the kernel's: BPF maps, slab, stacks; None when it does not say.

    v2 sums it itself from 5.18 on; before, the parts that it lists are summed (BPF maps made by vmalloc are
    in none of them).
    """
    if group.version == 1:
        return group.number("memory.kmem.usage_in_bytes")
    stat = group.table("memory.stat")
    parts = [stat[name] for name in ("slab", "kernel_stack", "pagetables", "percpu", "sock") if name in stat]
    return stat.get("kernel", sum(parts) if parts else None)


def oom_kills(group: Group) -> int | None:
    """Processes killed in one group for want of memory, so far; None when the kernel does not say."""
    return group.table("memory.events" if group.version == 2 else "memory.oom_control").get("oom_kill")


def _mounts(proc: Path) -> dict[str, tuple[Path, str]]:
    """Controller ("" for v2) → mount point, and the part of the tree that is mounted there."""
    found: dict[str, tuple[Path, str]] = {}
    for line in read_text(proc / "self" / "mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.partition(" ")
        fields = left.split()
        if kind == "cgroup2":
            found.setdefault("", (Path(fields[4]), fields[3]))
        elif kind == "cgroup":
            for option in options.split()[-1].split(","):
                found.setdefault(option, (Path(fields[4]), fields[3]))
    return found


def _up(mount: tuple[Path, str] | None, path: str, version: int) -> list[Group]:
    if mount is None:
        return []
    top, root = mount
    inside = path.removeprefix(root) if root != "/" else path
    own = top / inside.lstrip("/")
    chain = [own, *own.parents]
    return [Group(place, version) for place in chain[: chain.index(top)]] if top in chain[1:] else []
