"""Readings from looks at a target's memory: amounts, growth, maps.

Pure: looks in, readings out.

Not here: looking (``bpf.memory.looking``), limits and kills (``bpf.memory.limits``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bpf.memory.growth import Growth, growth
from bpf.memory.looking import BpfMemory, Look
from bpf.memory.processes import COUNTER_NOISE, Split, together
from engine.values import Reading, Scalar

Readings = dict[str, Reading]
_GROWTH = (
    "slope_bytes_per_s",
    "slope_low",
    "slope_high",
    "growing",
    "grown_bytes",
    "early_slope_bytes_per_s",
    "late_slope_bytes_per_s",
    "slowing",
    "plateau",
    "flat_s",
    "steps",
    "reserved_grown_bytes",
)
#: What a healthy process comes to touch, page by page, in its first minutes.
_WARMING_UP = 256 << 10
#: Of the heap must have been read, to say whose it is.
_MOSTLY = 0.5
TOO_SHORT = "the window was too short to tell growth from noise (7 looks at least)"
PER_S = "bytes/s"


def known(value: Scalar, unit: str, source: str) -> Reading:
    """A reading that could be had."""
    return Reading(value=value, unit=unit, source=source)


def missing(why: str, *names: str) -> Readings:
    """Readings that could not, each with the reason."""
    return {name: Reading(missing=why) for name in names}


class Seen:
    """The looks of one window, as sums over the processes and maps that were there all along."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks = looks
        self.pids = set.intersection(*(set(look.splits) for look in looks))
        self.map_ids = set.intersection(*(set(look.maps) for look in looks))

    def splits(self) -> list[tuple[float, Split]]:
        """The processes together, at each look."""
        return [(look.at, together([look.splits[pid] for pid in sorted(self.pids)])) for look in self.looks]

    def maps(self, ids: set[int] | None = None) -> list[tuple[float, float]]:
        """The maps together, at each look."""
        chosen = self.map_ids if ids is None else ids
        return [(look.at, float(sum(look.maps[one] for one in chosen))) for look in self.looks]

    def group(self, path: Path) -> list[tuple[float, float]]:
        """What was charged to one group, at each look that could read it."""
        return [(look.at, float(look.groups[path])) for look in self.looks if path in look.groups]


def amounts(last: Split, count: int) -> Readings:
    """The split of ``count`` processes at the window's end."""
    here = "/proc/PID/smaps_rollup" if last.exact else "/proc/PID/status"
    found = {
        "rss_bytes": known(last.rss, "bytes", "/proc/PID/status"),
        "anon_bytes": known(last.anon, "bytes", here),
        "file_bytes": known(last.file, "bytes", "/proc/PID/status"),
        "shmem_bytes": known(last.shmem, "bytes", "/proc/PID/status"),
        "swap_bytes": known(last.swap, "bytes", "/proc/PID/status"),
        "peak_bytes": known(last.peak, "bytes", "/proc/PID/status VmHWM"),
        "processes": known(count, "", "/proc"),
    }
    if last.pss is None:
        return found | missing("its pages are too many to be walked, or closed to us", "pss_bytes")
    return found | {"pss_bytes": known(last.pss, "bytes", here)}


def anonymous(seen: Seen) -> tuple[Readings, Growth | None]:
    """Growth of anonymous memory."""
    splits = seen.splits()
    exact = all(split.exact for _, split in splits)
    here = "/proc/PID/smaps_rollup" if exact else "/proc/PID/status"
    found = growth([(at, float(split.anon)) for at, split in splits], _WARMING_UP if exact else COUNTER_NOISE)
    if found is None:
        return missing(TOO_SHORT, *_GROWTH), None
    values: dict[str, tuple[Scalar, str]] = {
        "slope_bytes_per_s": (found.slope, PER_S),
        "slope_low": (found.low, PER_S),
        "slope_high": (found.high, PER_S),
        "growing": (found.growing, ""),
        "grown_bytes": (found.grown, "bytes"),
        "early_slope_bytes_per_s": (found.early, PER_S),
        "late_slope_bytes_per_s": (found.late, PER_S),
        "plateau": (found.plateau, ""),
        "flat_s": (found.flat_s, "s"),
        "steps": (found.steps, ""),
    }
    reserved = splits[-1][1].reserved - splits[0][1].reserved
    values["reserved_grown_bytes"] = (reserved, "bytes")
    readings = {name: known(value, unit, here) for name, (value, unit) in values.items()}
    if found.slowing is None:
        return readings | missing("it did not grow in the first half of the window", "slowing"), found
    return readings | {"slowing": known(found.slowing, "", here)}, found


def first_touch(anon: Readings, heap: Readings) -> Readings:
    """Growth that is none: buffers which were taken before are used for the first time, to their end.

    glibc asks the kernel for each 132 KiB before the program can leak them; other allocators and runtimes ask
    for megabytes ahead, so only of a heap that is glibc's this can be told.
    """
    grown, asked = anon["grown_bytes"].value, anon["reserved_grown_bytes"].value
    if not isinstance(grown, int | float) or not isinstance(asked, int | float):
        return missing(TOO_SHORT, "touching")
    if float(heap["heap_read_share"].value or 0.0) < _MOSTLY:
        return missing("its heap is not glibc's, or was not read", "touching")
    touching = anon["growing"].value is True and asked < grown / 4
    here = "/proc/PID/status VmData"
    return {"touching": known(touching, "", here)} | ({"growing": known(False, "", here)} if touching else {})


def map_memory(
    seen: Seen, facts: Mapping[int, BpfMemory], why_none: str, *, real: bool
) -> tuple[Readings, tuple[dict[str, Scalar], ...], Growth | None]:
    """Memory of the BPF maps and its growth; a row for each map."""
    names = ["map_bytes", "map_slope_bytes_per_s", "map_slope_low", "map_slope_high", "map_growing"]
    names += ["map_grown_bytes", "top_map", "top_map_bytes"]
    if not seen.map_ids:
        return missing(why_none or "it has no BPF maps", *names), (), None
    here = "memlock of the maps" + ("" if real else ", a figure of their size on this kernel")
    rows = sorted((_row(seen, one, facts[one]) for one in seen.map_ids), key=_greatest)
    whole = growth(seen.maps())
    top = rows[0]
    readings = {
        "map_bytes": known(seen.maps()[-1][1], "bytes", here),
        "map_bytes_real": known(real, "", "kernel release"),
        "top_map": known(f"{top['name']} ({top['id']})", "", here),
        "top_map_id": known(top["id"], "", here),
        "top_map_bytes": known(top["bytes"], "bytes", here),
    }
    if whole is None:
        return readings | missing(TOO_SHORT, *names[1:6]), tuple(rows), None
    return (
        {
            **readings,
            "top_map_slope_bytes_per_s": known(top["slope_bytes_per_s"], PER_S, here),
            "map_slope_bytes_per_s": known(whole.slope, PER_S, here),
            "map_slope_low": known(whole.low, PER_S, here),
            "map_slope_high": known(whole.high, PER_S, here),
            "map_growing": known(whole.growing, "", here),
            "map_grown_bytes": known(whole.grown, "bytes", here),
        },
        tuple(rows),
        whole,
    )


def _row(seen: Seen, map_id: int, facts: BpfMemory) -> dict[str, Scalar]:
    points = seen.maps({map_id})
    found = growth(points)
    return {
        "id": map_id,
        "name": facts.name,
        "type": facts.type,
        "bytes": points[-1][1],
        "grown_bytes": points[-1][1] - points[0][1],
        "slope_bytes_per_s": found.slope if found else None,
        "growing": found.growing if found else None,
    }


def _greatest(row: Mapping[str, Scalar]) -> tuple[float, float]:
    """Sorts by growth, then by size; the greatest first."""
    return -float(row["grown_bytes"] or 0), -float(row["bytes"] or 0)
