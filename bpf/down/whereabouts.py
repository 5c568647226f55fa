"""The processes of an agent now, also of one that ends and is started again while we look.

Its promise: a supervisor that starts the agent, or a generator beside it, is not taken for the agent.

Cost: two small reads for each process of the machine, 10 to 20 ms for a thousand.
Not here: which agents there are (the engine's).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from bpf.system.procfs import PROC, read_text, stat_fields
from engine.values import Target

COMM_CHARACTERS = 15
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Found(msgspec.Struct, frozen=True):
    """One process of the agent: pid, and its start in clock ticks since boot."""

    pid: int
    started_ticks: int


def names_of(target: Target) -> frozenset[str]:
    """What its processes are called: as they were, and as its executable is."""
    comms = {process.comm for process in target.processes}
    executables = {target.facts.get("executable", ""), *(process.exe for process in target.processes)}
    names = comms | {Path(path).name[:COMM_CHARACTERS] for path in executables if path}
    return frozenset(names - {""})


def find(target: Target, unit_pid: int = 0, proc: Path = PROC) -> Found | None:
    """Its main process: the known one, its unit's, or the eldest that looks like it; None: none runs."""
    for process in target.processes:
        found = _alive(process.pid, proc)
        if found and process.started_ticks in (0, found.started_ticks):
            return found
    if unit_pid and (found := _alive(unit_pid, proc)):
        return found
    names, argv = names_of(target), {process.argv for process in target.processes if process.argv}
    alike = (
        found
        for entry in os.scandir(proc)
        if entry.name.isdigit()
        and read_text(proc / entry.name / "comm").strip() in names
        and _is_of(target, argv, proc / entry.name)
        and (found := _alive(int(entry.name), proc))
    )
    return min(alike, key=lambda one: one.started_ticks, default=None)


def uptime_s(found: Found, proc: Path = PROC) -> float | None:
    """For how long it has run."""
    since_boot = read_text(proc / "uptime").split()
    return max(0.0, float(since_boot[0]) - found.started_ticks / _TICKS_PER_S) if since_boot else None


def last_pid(target: Target) -> tuple[int, float] | None:
    """The pid in its pid file (the profile's fact ``pid_file``), and when it wrote it; None: not known."""
    file = Path(target.facts.get("pid_file") or "/")
    try:
        return int(file.read_text().split()[0]), file.stat().st_mtime
    except (OSError, ValueError, IndexError):
        return None


def _alive(pid: int, proc: Path) -> Found | None:
    fields = stat_fields(pid, proc)
    return Found(pid, int(fields[19])) if len(fields) > 19 and fields[0] not in "ZX" else None


def _is_of(target: Target, argvs: set[tuple[str, ...]], place: Path) -> bool:
    """By its configuration file on the command line; without one, by the whole command line."""
    argv = tuple(read_text(place / "cmdline").rstrip("\0").split("\0"))
    return target.config_file in argv if target.config_file else argv in argvs
