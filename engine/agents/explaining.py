"""Why a process is, or is not, the agent that a profile describes: condition by condition.

One promise: a process is said to match exactly when ``matching`` picks it; what could not be looked at
(no right to list BPF objects, to see a program's path) is neither yes nor no, and says so.

Not here: picking (``engine.agents.matching``), what a matched agent answers (``engine.agents.answers``).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from engine.agents.matching import COMM_LENGTH, Held, ours
from engine.agents.processes import ProcessTable
from engine.agents.profile import Match, Profile
from engine.agents.profiles import Found

_UNSEEN = "can't be seen (run as root)"
_MOST_SHOWN = 6  # names of BPF objects in one line


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a profile's ``match``, held against one process.

    Attributes:
        key: ``comm``, ``exe``, ``argv``, ``unit``, ``map`` or ``program``.
        wanted: What the profile says.
        found: What the process has.
        met: None when it could not be looked at.
    """

    key: str
    wanted: str
    found: str
    met: bool | None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A process that might be the agent.

    Attributes:
        matches: Whether all conditions are met.
        taken_by: The profile that came first, where this process is its.
    """

    pid: int
    comm: str
    matches: bool
    conditions: tuple[Condition, ...]
    taken_by: str = ""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One profile, and the processes that might be its agent.

    Attributes:
        file: Where it was read.
        overrides: Files of the same name of profile that do not count because of it.
        unseen: What could not be looked at.
    """

    profile: str
    summary: str
    file: str
    verified: str
    overrides: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    unseen: tuple[str, ...] = ()


def explain(
    found: Found, table: ProcessTable, held: Mapping[int, Held], *, listed: bool, only: str = ""
) -> tuple[Explained, ...]:
    """Each profile with its candidates: processes that meet a condition.

    Args:
        found: All profiles, in the order in which they pick.
        table: The processes.
        held: What BPF objects each holds.
        listed: Whether BPF objects could be listed at all.
        only: The profile that is asked for: its candidates are then also all that hold BPF objects.
    """
    taken: dict[int, str] = {}
    told = []
    for profile in found.profiles:
        candidates = []
        for pid, comm in table.comms().items():
            met = conditions(profile.match, pid, table, held.get(pid, Held()), listed=listed)
            interesting = any(one.met for one in met) or (only and held.get(pid))
            if not interesting or ours(pid, table):
                continue
            matches = all(one.met for one in met)
            candidates.append(
                Candidate(pid=pid, comm=comm, matches=matches, conditions=met, taken_by=taken.get(pid, ""))
            )
            if matches:
                taken.setdefault(pid, profile.profile)
        if not only or profile.profile == only:
            told.append(_told(profile, found, candidates, listed=listed))
    return tuple(told)


def _told(profile: Profile, found: Found, candidates: Iterable[Candidate], *, listed: bool) -> Explained:
    blind = bool(profile.match.map or profile.match.program) and not listed
    file = found.files.get(profile.profile, Path())
    return Explained(
        profile=profile.profile,
        summary=profile.summary,
        file=str(file),
        verified=profile.verified,
        overrides=tuple(str(path) for path in found.overridden.get(profile.profile, ())),
        candidates=tuple(sorted(candidates, key=lambda one: (not one.matches, one.pid))),
        unseen=("which BPF objects a process holds: it could not be listed",) if blind else (),
    )


def conditions(
    match: Match, pid: int, table: ProcessTable, held: Held, *, listed: bool
) -> tuple[Condition, ...]:
    """Each condition of a profile, held against one process."""
    met: list[Condition] = []
    if match.comm:
        comm = table.comms().get(pid, "")
        names = [name[:COMM_LENGTH] for name in match.comm]
        met.append(_said("comm", " or ".join(names), comm, comm in names))
    for key, wanted, objects in (
        ("map", match.map, held.maps.values()),
        ("program", match.program, held.programs.values()),
    ):
        if wanted:
            there = {one.name for one in objects}
            cut = [name[:COMM_LENGTH] for name in wanted]
            yes = any(name in there for name in cut) if listed else None
            met.append(_said(key, " or ".join(cut), _names(there) if listed else _UNSEEN, yes))
    if match.exe:
        exe = table.exe(pid)
        yes = any(fnmatch.fnmatch(exe, one) for one in match.exe) if exe else None
        met.append(_said("exe", " or ".join(match.exe), exe or _UNSEEN, yes))
    if match.argv:
        line = " ".join(table.argv(pid))
        met.append(_said("argv", match.argv, line or "none", bool(re.search(match.argv, line))))
    if match.unit:
        unit = match.unit if "." in match.unit else f"{match.unit}.service"
        lines = table.cgroups(pid).splitlines()
        paths = sorted({line.split(":", 2)[-1] for line in lines} - {"/"})
        met.append(_said("unit", unit, _names(paths), any(f"/{unit}" in line for line in lines)))
    return tuple(met)


def _said(key: str, wanted: str, found: str, met: bool | None) -> Condition:
    return Condition(key=key, wanted=wanted, found=found, met=met)


def _names(names: Iterable[str]) -> str:
    known = sorted(names)
    return (
        ", ".join(known[:_MOST_SHOWN])
        + (f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else "")
        or "none"
    )
