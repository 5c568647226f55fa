"""Which BPF programs, maps and links a target has, or the machine: loaded, attached, pinned, how large.

Its promise: one read of the kernel at one moment, whatever the window. A program that only its
descriptor holds, with no link to say where it is attached, is ``unknown``, not unattached: older ways of
attaching (perf events, netlink, cgroup flags) leave no link.

Not here: what programs cost (``program-cost``), how full maps are (``map-fill``).
Cost: 20 ms of set-up, and 5 µs for each map's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bpf.libbpf import BpfError, usable
from bpf.objects import inventory, maps
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import (
    BpfLink,
    BpfMap,
    BpfProgram,
    Evidence,
    Field,
    Inventory,
    Reading,
    Scalar,
    Support,
    Target,
)


class BpfObjects:
    """The probe ``bpf-objects``."""

    name = "bpf-objects"
    short = "objects"
    summary = "BPF programs, maps and links: loaded, attached, pinned, their memory"
    fields: Mapping[str, Field] = {
        "programs": Field(help="programs loaded"),
        "attached": Field(help="of them, with a link that attaches them"),
        "maps": Field(help="maps"),
        "links": Field(help="links"),
        "pinned": Field(help="programs, maps and links that are pinned, so outlive the agent"),
        "program_bytes": Field(help="memory of the programs' code", unit="bytes"),
        "map_bytes": Field(help="memory of the maps, where the kernel tells it", unit="bytes"),
    }
    options: Mapping[str, str] = {}
    needs_target = False
    cpu_ceiling = 1.0

    def supported(self, target: Target | None) -> Support:  # noqa: ARG002 - the contract's
        """Needs root."""
        return usable()

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Read once."""
        started_at = window.begin()
        try:
            found = inventory.read()
        except BpfError as error:
            raise ProbeFailed(error.problem, fix=error.fix) from error
        seen = found if target is None else _of(target, found)
        sizes = {one.id: _memory(one.id) for one in seen.maps}
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name if target else "",
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=_readings(seen, sizes),
            tables={
                "programs": tuple(_program(one, seen) for one in seen.programs),
                "maps": tuple(_map(one, sizes[one.id]) for one in seen.maps),
            },
            notes=seen.notes,
        )


def _of(target: Target, found: Inventory) -> Inventory:
    """Only what the target has: as it was found, and what its processes hold by now."""
    pids = {process.pid for process in target.processes}

    def mine(known: Iterable[int], one: BpfProgram | BpfMap) -> bool:
        return one.id in set(known) or bool(pids & set(one.owners))

    programs = tuple(one for one in found.programs if mine(target.program_ids, one))
    ids = {one.id for one in programs}
    return Inventory(
        taken_at=found.taken_at,
        source=found.source,
        programs=programs,
        maps=tuple(one for one in found.maps if mine(target.map_ids, one)),
        links=tuple(one for one in found.links if one.program_id in ids),
        notes=found.notes,
    )


def _readings(seen: Inventory, sizes: Mapping[int, int | None]) -> dict[str, Reading]:
    linked = {one.program_id for one in seen.links}
    known = [size for size in sizes.values() if size is not None]
    code = [one.memory_bytes for one in seen.programs if one.memory_bytes]

    def number(value: float, unit: str = "") -> Reading:
        return Reading(value=value, unit=unit, source=seen.source)

    objects: tuple[BpfProgram | BpfMap | BpfLink, ...] = (*seen.programs, *seen.maps, *seen.links)
    return {
        "programs": number(len(seen.programs)),
        "attached": number(sum(one.id in linked for one in seen.programs)),
        "maps": number(len(seen.maps)),
        "links": number(len(seen.links)),
        "pinned": number(sum(bool(one.pinned) for one in objects)),
        "program_bytes": number(sum(code), "bytes") if code else _untold(seen.programs),
        "map_bytes": number(sum(known), "bytes") if known else _untold(seen.maps),
    }


def _memory(map_id: int) -> int | None:
    try:
        return maps.memory_bytes(map_id)
    except (BpfError, OSError):  # it has gone since
        return None


def _untold(objects: tuple[object, ...]) -> Reading:
    why = "the kernel does not tell it here" if objects else "there are none"
    return Reading(unit="bytes", missing=why)


def _program(one: BpfProgram, seen: Inventory) -> dict[str, Scalar]:
    link = next((each for each in seen.links if each.program_id == one.id), None)
    place = (link.attached_to if link else "") or one.attached_to
    return {
        "id": one.id,
        "name": one.name,
        "type": one.type,
        "attached_to": place or ("linked" if link else None),
        "pinned": ", ".join(one.pinned),
    }


def _map(one: BpfMap, size: int | None) -> dict[str, Scalar]:
    return {
        "id": one.id,
        "name": one.name,
        "type": one.type,
        "max_entries": one.max_entries,
        "bytes": size,
        "pinned": ", ".join(one.pinned),
    }
