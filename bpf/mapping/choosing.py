"""Which maps a target has, how full each is, and which one to watch closely.

Not here: watching it (``bpf.mapping.watching``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bpf.libbpf import BpfError
from bpf.mapping import filling, memory
from bpf.mapping.filling import COUNTED, Entries, Filling
from bpf.objects.names import text
from bpf.syscall import MapInfo, ids, map_ids_of, map_info
from bpf.system.procfs import must_live
from engine.errors import ProbeFailed
from engine.values import KnownMap, Target

#: What the kernel keeps of a map's name.
NAME_BYTES = 15


def infos_of(target: Target | None, ours: frozenset[int]) -> dict[int, MapInfo]:
    """Facts of every map of the target: held by its processes, or used by its programs.

    Raises:
        ProbeFailed: It has none (any more).
    """
    wanted: Iterable[int] = ids("map")
    if target is not None:
        wanted = dict.fromkeys((*target.map_ids, *_used_by(target.program_ids)))
    found = {
        number: info
        for number in wanted
        if number not in ours and (info := info_if_there(number)) is not None
    }
    if not found:
        if target is not None:
            must_live(target)
        raise ProbeFailed("there is no BPF map to look at", fix="runbook targets")
    return found


def _used_by(programs: Iterable[int]) -> list[int]:
    found: list[int] = []
    for program in programs:
        try:
            found += map_ids_of(program)
        except BpfError:
            continue  # it ended
    return found


def info_if_there(number: int) -> MapInfo | None:
    """The facts of a map; None when it is gone."""
    try:
        return map_info(number)
    except BpfError:
        return None


def count_all(infos: Mapping[int, MapInfo], filled: Filling, at_most: int) -> dict[int, Entries]:
    """Entries of each map that is still there."""
    by_kernel, found = filled.by_kernel(), {}
    for number, info in infos.items():
        try:
            found[number] = filling.entries(info, by_kernel, at_most)
        except BpfError as error:
            if info_if_there(number) is not None:
                found[number] = Entries(None, error.problem)
    return found


def choose(infos: Mapping[int, MapInfo], counts: Mapping[int, Entries], wanted: str) -> MapInfo:
    """The map that is named; else the fullest that refuses; else the fullest of all.

    Raises:
        ProbeFailed: There is no such map, or none with entries.
    """
    if wanted:
        named = [i for i in infos.values() if wanted == str(i.id) or wanted[:NAME_BYTES] == text(i.name)]
        if not named:
            known = ", ".join(sorted({text(i.name) for i in infos.values() if memory.kind(i) in COUNTED}))
            raise ProbeFailed(f"the target has no map {wanted!r}", fix=f"it has: {known or 'none'}")
        return max(named, key=lambda info: info.id)  # after a reload the older one is about to go
    counted = [i for i in infos.values() if i.id in counts and counts[i.id].number is not None]
    if not counted:
        raise ProbeFailed("the target has no map with entries to count", fix="runbook targets")

    def fullness(info: MapInfo) -> tuple[bool, float, int]:
        share = (counts[info.id].number or 0) / max(1, info.max_entries)
        return not memory.evicts(info), share, info.max_entries

    return max(counted, key=fullness)


def known_of(target: Target | None, info: MapInfo) -> KnownMap | None:
    """What the profile says of this map; its names may be longer than the kernel keeps."""
    name = text(info.name)
    if target is None:
        return None
    return next((known for full, known in target.maps.items() if full[:NAME_BYTES] == name), None)
