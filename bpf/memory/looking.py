"""One look at the memory of a target, and what is found out once about where to look.

Its promise: each look is cheap (8 µs a process by its counters, 1 ms at the most where pages are
walked, 10 µs a map, 60 µs a control group), and whatever vanishes between two looks is absent, never
an error.

Not here: what is made of it (``bpf.memory.telling``).
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import msgspec

from bpf.libbpf import BpfError
from bpf.memory import processes
from bpf.memory.processes import EXACT_EACH_LOOK_UP_TO, Split
from bpf.objects import maps
from bpf.objects.names import MAP_TYPES, named, text
from bpf.syscall import map_info
from bpf.system import cgroups
from bpf.system.cgroups import Group
from bpf.system.procfs import PROC, alive, held_maps
from engine.values import Target

#: Pages that each CPU may have charged to a group and not used yet (mm/memcontrol.c, MEMCG_CHARGE_BATCH).
GROUP_NOISE = 64 * processes.PAGE * (os.cpu_count() or 1)


class BpfMemory(msgspec.Struct, frozen=True):
    """One map of the target."""

    name: str
    type: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look, found out once at the beginning.

    Attributes:
        groups: Memory control groups of the main process, its own first, those above after it.
        each_look_exact: Pages are few enough to be walked at every look.
        why_no_maps: Why its maps can't be asked; empty when they can.
    """

    target: Target
    pids: tuple[int, ...]
    maps: dict[int, BpfMemory]
    groups: tuple[Group, ...]
    each_look_exact: bool
    why_no_maps: str = ""
    proc: Path = PROC

    @property
    def watched_groups(self) -> tuple[Group, ...]:
        """Its own group, and those above that have a limit."""
        return tuple(
            group
            for at, group in enumerate(self.groups)
            if at == 0 or cgroups.memory_limit(group) is not None
        )


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is watched, at one moment.

    Attributes:
        at: Monotonic seconds.
        splits: By pid. maps: bytes by id. groups: bytes charged, by path.
        kernel: Kernel part of its own group's charge.
    """

    at: float
    splits: dict[int, Split]
    maps: dict[int, int]
    groups: dict[Path, int]
    kernel: int | None


def place_of(target: Target, proc: Path = PROC) -> Place:
    """Find out where to look."""
    pids = tuple(alive(target, proc))
    first = [one for pid in pids if (one := processes.split(pid, exact=False, proc=proc))]
    ids = {*target.map_ids, *(held for pid in pids for held in held_maps(pid, proc))}
    found: dict[int, BpfMemory] = {}
    why = ""
    for map_id in sorted(ids):
        try:
            info = map_info(map_id)
        except BpfError as error:
            why = error.problem
            continue
        found[map_id] = BpfMemory(text(info.name), named(MAP_TYPES, info.type))
    return Place(
        target=target,
        pids=pids,
        maps=found,
        groups=tuple(cgroups.groups(pids[0], "memory", proc)) if pids else (),
        each_look_exact=sum(one.rss for one in first) <= EXACT_EACH_LOOK_UP_TO,
        why_no_maps=why if not found else "",
        proc=proc,
    )


def look(place: Place, at: float) -> Look:
    """Look once."""
    splits = {
        pid: one
        for pid in alive(place.target, place.proc)
        if pid in place.pids and (one := processes.split(pid, exact=place.each_look_exact, proc=place.proc))
    }
    used = {group.path: bytes_ for group in place.watched_groups if (bytes_ := cgroups.memory_used(group))}
    return Look(
        at=at,
        splits=splits,
        maps={map_id: taken for map_id in place.maps if (taken := _map_bytes(map_id)) is not None},
        groups=used,
        kernel=cgroups.memory_kernel(place.groups[0]) if place.groups else None,
    )


def maps_tell_real_use(release: str = "") -> bool:
    """Whether this kernel accounts what maps really use (6.4); before, a figure made from their size."""
    version = re.match(r"(\d+)\.(\d+)", release or platform.release())
    return version is not None and (int(version[1]), int(version[2])) >= (6, 4)


def _map_bytes(map_id: int) -> int | None:
    try:
        return maps.memory_bytes(map_id)
    except (BpfError, OSError):
        return None  # it has gone
