"""Which processes a profile means, and which BPF objects they hold.

Not here: what becomes of them (``engine.agents.targets``).
"""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePath

from engine.agents.processes import ProcessTable
from engine.agents.profile import Match
from engine.values import BpfLink, BpfMap, BpfProgram, Inventory

COMM_LENGTH = 15  # characters of a process or BPF object name that the kernel keeps
_RINGS = ("ringbuf", "perf_event_array")


class Held:
    """The BPF objects of one or several processes."""

    def __init__(self) -> None:
        self.maps: dict[int, BpfMap] = {}
        self.programs: dict[int, BpfProgram] = {}
        self.links: dict[int, BpfLink] = {}

    def add(self, other: Held) -> None:
        """Join what another process holds."""
        self.maps |= other.maps
        self.programs |= other.programs
        self.links |= other.links

    def __bool__(self) -> bool:
        return bool(self.maps or self.programs or self.links)


def by_owner(inventory: Inventory) -> dict[int, Held]:
    """What each process holds, by pid."""
    held: dict[int, Held] = defaultdict(Held)
    for one in inventory.maps:
        for pid in one.owners:
            held[pid].maps[one.id] = one
    for program in inventory.programs:
        for pid in program.owners:
            held[pid].programs[program.id] = program
    for link in inventory.links:
        for pid in link.owners:
            held[pid].links[link.id] = link
    return dict(held)


def matching(match: Match, table: ProcessTable, held: dict[int, Held]) -> list[int]:
    """Pids of all processes that a profile means; the cheapest question first."""
    names = {name[:COMM_LENGTH] for name in match.comm}
    pids = [pid for pid, comm in table.comms().items() if not names or comm in names]
    if match.map:
        pids = [pid for pid in pids if _holds(held.get(pid, Held()).maps.values(), match.map)]
    if match.program:
        pids = [pid for pid in pids if _holds(held.get(pid, Held()).programs.values(), match.program)]
    if match.exe:
        pids = [pid for pid in pids if any(fnmatch.fnmatch(table.exe(pid), one) for one in match.exe)]
    if match.argv:
        pattern = re.compile(match.argv)
        pids = [pid for pid in pids if pattern.search(" ".join(table.argv(pid)))]
    if match.unit:
        unit = match.unit if "." in match.unit else f"{match.unit}.service"
        pids = [pid for pid in pids if any(f"/{unit}" in line for line in table.cgroups(pid).splitlines())]
    return pids


def ours(pid: int, table: ProcessTable) -> bool:
    """Whether a process is a ``runbook`` at work (a look loads BPF programs too), or a child of one.

    Known by its command line: ``runbook …``, ``python …/runbook …`` or ``python -m engine.…``.
    """
    return any(_runbook(table.argv(one)) for one in (pid, table.parent(pid)) if one)


def _runbook(argv: tuple[str, ...]) -> bool:
    if argv[1:2] == ("-m",):
        return argv[2:3] != () and argv[2].partition(".")[0] == "engine"
    return any(PurePath(word).name == "runbook" for word in argv[:2])


def _holds(objects: Iterable[BpfMap | BpfProgram], names: Iterable[str]) -> bool:
    wanted = {name[:COMM_LENGTH] for name in names}
    return any(one.name in wanted for one in objects)


def rings(objects: Held, names: tuple[str, ...]) -> tuple[int, ...]:
    """Ids of the buffers that carry events: those named; else all rings, else all perf buffers."""
    wanted = {name[:COMM_LENGTH] for name in names}
    kinds: dict[str, list[int]] = {kind: [] for kind in _RINGS}
    for one in objects.maps.values():
        if one.type in kinds and (not wanted or one.name in wanted):
            kinds[one.type].append(one.id)
    ring, perf = (tuple(sorted(kinds[kind])) for kind in _RINGS)
    return ring + perf if wanted else ring or perf
