"""Readings of what stops a target's growth: limits up the control groups, the host, kills so far.

Not here: the growth itself (``bpf.memory.telling``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bpf.memory.growth import growth
from bpf.memory.looking import GROUP_NOISE, Place
from bpf.memory.telling import PER_S, TOO_SHORT, Readings, Seen, known, missing
from bpf.system import cgroups
from bpf.system.oom_kills import Kill
from bpf.system.procfs import read_text

#: Stands for "longer than anybody plans": nothing grows for certain.
FOR_GOOD_S = 10 * 365 * 86_400.0
_ALL = (
    "cgroup_bytes",
    "cgroup_slope_bytes_per_s",
    "cgroup_growing",
    "limit_bytes",
    "left_bytes",
    "limit_in_s",
)


class Limit:
    """One limit up the tree: how much is left below it, and how fast that goes."""

    def __init__(self, path: Path, limit: int, points: list[tuple[float, float]], fallback: float) -> None:
        self.path, self.limit = path, limit
        self.used = points[-1][1]
        self.left = max(0.0, limit - self.used)
        found = growth(points, GROUP_NOISE)
        self.slope = found.slope if found and found.growing else fallback
        self.source = "growth of the group" if found and found.growing else "growth of the target"

    @property
    def in_s(self) -> float | None:
        """Seconds until it is reached; None when nothing grows."""
        return self.left / self.slope if self.slope > 0 else None


def groups(seen: Seen, own: Path | None, limits: Mapping[Path, int], target_slope: float) -> Readings:
    """Charge and growth of its own group, and the limit that is reached first."""
    mine = seen.group(own) if own else []
    if not mine:
        why = "the memory controller keeps no account of it (the root group of cgroup v2, or none mounted)"
        return missing(why, *_ALL)
    here = "memory controller, its own group"
    found = growth(mine, GROUP_NOISE)
    readings = {"cgroup_bytes": known(mine[-1][1], "bytes", here), **_kernel_part(seen, here)}
    if found:
        readings["cgroup_slope_bytes_per_s"] = known(found.slope, PER_S, here)
        readings["cgroup_growing"] = known(found.growing, "", here)
    else:
        readings |= missing(TOO_SHORT, "cgroup_slope_bytes_per_s", "cgroup_growing")
    all_limits = [
        Limit(path, limit, seen.group(path), target_slope)
        for path, limit in limits.items()
        if seen.group(path)
    ]
    return readings | _first(all_limits)


def _kernel_part(seen: Seen, here: str) -> Readings:
    points = [(look.at, float(look.kernel)) for look in seen.looks if look.kernel is not None]
    if not points:
        why = "this kernel does not tell the kernel's part"
        return missing(why, "cgroup_kernel_bytes", "cgroup_kernel_slope_bytes_per_s")
    found = growth(points, GROUP_NOISE)
    readings = {"cgroup_kernel_bytes": known(points[-1][1], "bytes", here)}
    if found is None:
        return readings | missing(TOO_SHORT, "cgroup_kernel_slope_bytes_per_s")
    return readings | {"cgroup_kernel_slope_bytes_per_s": known(found.slope, PER_S, here)}


def _first(limits: Sequence[Limit]) -> Readings:
    """The limit that is reached first; when nothing grows, the one with the least left."""
    if not limits:
        return missing(
            "no memory limit up its cgroup tree", "limit_bytes", "limit_group", "left_bytes", "limit_in_s"
        )
    first = min(limits, key=lambda one: (one.in_s if one.in_s is not None else float("inf"), one.left))
    readings = {
        "limit_bytes": known(first.limit, "bytes", str(first.path)),
        "limit_group": known(str(first.path), "", str(first.path)),
        "left_bytes": known(first.left, "bytes", str(first.path)),
    }
    if first.in_s is None:
        return readings | missing("nothing grows towards the limit", "limit_in_s")
    return readings | {"limit_in_s": known(first.in_s, "s", first.source)}


def lasting(found: Readings, target_slope: float) -> Readings:
    """How long memory lasts: until the limit or, without one, until the host has none left.

    Args:
        found: What ``groups`` and ``host`` tell.
        target_slope: The target's growth as far as it is certain, bytes/s; 0 for none.
    """
    times = [(FOR_GOOD_S, "nothing grows for certain")]
    by_limit, available = (found[name].value for name in ("limit_in_s", "host_available_bytes"))
    if isinstance(by_limit, int | float):
        times.append((float(by_limit), "the limit, at the growth of its group"))
    if isinstance(available, int | float) and target_slope > 0:
        times.append((available / target_slope, "the host's memory, at the growth of the target"))
    seconds, source = min(times)
    return {"lasts_s": known(seconds, "s", source)}


def last_kill(kills: Sequence[Kill], now: float) -> Readings:
    """The last of the target's kills.

    Args:
        kills: Those that concern it, the oldest first.
        now: Epoch seconds.
    """
    names = ("oom_last", "oom_last_comm", "oom_last_pid", "oom_last_rss_bytes", "oom_last_ago_s")
    if not kills:
        return missing(
            "the kernel log, as far back as it goes, tells of no process of it killed for want of memory",
            *names,
        )
    last, here = kills[-1], "kernel log"
    readings = {
        "oom_last": known(last.text, "", here),
        "oom_last_comm": known(last.comm, "", here),
        "oom_last_pid": known(last.pid, "", here),
        "oom_last_rss_bytes": known(last.anon_bytes, "bytes", here),
    }
    if not last.at:
        return readings | missing("the log's lines carry no time", "oom_last_ago_s")
    return readings | {"oom_last_ago_s": known(max(0.0, now - last.at), "s", here)}


def host(place: Place) -> Readings:
    """What the host has left, and who else is charged to the target's group."""
    words = read_text(place.proc / "meminfo").partition("MemAvailable:")[2].split()
    readings = (
        {"host_available_bytes": known(int(words[0]) << 10, "bytes", "/proc/meminfo")}
        if words
        else missing("/proc/meminfo has no MemAvailable", "host_available_bytes")
    )
    members = read_text(place.groups[0].path / "cgroup.procs").split() if place.groups else []
    if not members:
        return readings | missing("its cgroup's members can't be read", "cgroup_others")
    others = {int(pid) for pid in members} - set(place.pids)
    return readings | {"cgroup_others": known(len(others), "", "cgroup.procs")}


def kill_counts(place: Place, before: int | None) -> Readings:
    """Kills in its group, ever and in the window."""
    after, here = kills_so_far(place), "memory controller, its own group"
    if after is None:
        return missing("its cgroup does not count OOM kills", "oom_kills", "oom_kills_in_window")
    return {
        "oom_kills": known(after, "", here),
        "oom_kills_in_window": known(max(0, after - (before or 0)), "", here),
    }


def kills_so_far(place: Place) -> int | None:
    """Kills in its own group until now; None when they are not counted."""
    return cgroups.oom_kills(place.groups[0]) if place.groups else None
