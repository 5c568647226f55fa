"""What an agent is, put together: a profile filled in for its processes, or what the kernel tells.

One promise: what a profile says is resolved for just this agent (absolute files, addresses, knobs);
without a profile nothing is said that was not seen.

Not here: which processes are agents (``engine.agents.targets``), placeholders and knobs themselves
(``engine.agents.placeholders``, ``engine.agents.knobs``).
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.agents import knobs
from engine.agents.matching import Held, rings
from engine.agents.placeholders import Placeholders, option
from engine.agents.processes import ProcessTable
from engine.agents.profile import Config, Profile
from engine.values import Knob, Process, Target


def config_file(profile: Profile, table: ProcessTable, pid: int) -> str:
    """Absolute path of its configuration file, empty when the profile names none."""
    config = profile.config if isinstance(profile.config, Config) else Config(otherwise=profile.config)
    given = option(table.argv(pid), *config.argument)
    path = given or Placeholders(table, pid, "").fill(config.otherwise)
    return knobs.absolute(path, table.cwd(pid))


def unreadable(file: str) -> str:
    """Why we may not read a configuration file, as a sentence; empty when we may, or none is there."""
    try:
        if file.startswith("/") and Path(file).exists() and not os.access(file, os.R_OK):
            return f"{file} can't be read: no right to"
    except OSError as error:
        return f"{file} can't be read: {error.strerror}"
    return ""


def of_profile(
    profile: Profile, processes: list[Process], at: str, table: ProcessTable, held: dict[int, Held]
) -> Target:
    """The agent that these processes of a profile are; none: one that does not run.

    Args:
        profile: What they fit.
        processes: The main one first.
        at: Their configuration file, absolute; else what tells it from others of its profile.
        table: Where their arguments, environment and directories are read.
        held: What each process holds, by pid.

    Raises:
        UsageError: The profile can't be filled in for them.
    """
    objects = Held()
    for process in processes:
        objects.add(held.get(process.pid, Held()))
    main = processes[0].pid if processes else 0
    file = at if at.startswith("/") else ""
    fill = Placeholders(table, main, file)
    return Target(
        name=profile.profile,
        ref=f"{profile.profile}:{at}",
        profile=profile.profile,
        processes=tuple(processes),
        program_ids=tuple(sorted(objects.programs)),
        map_ids=tuple(sorted(objects.maps)),
        link_ids=tuple(sorted(objects.links)),
        rings=rings(objects, profile.events.rings),
        record_bytes=profile.events.record_bytes,
        pid_at=profile.events.pid_at,
        drop_visibility=profile.drop_visibility,
        counters=profile.counters,
        knobs=knobs.resolve(profile, fill, file),
        maps=knobs.known_maps(profile),
        metrics_url=_address(fill.fill(profile.metrics)),
        health_url=_address(fill.fill(profile.health)),
        heap_url=_address(fill.fill(profile.heap)),
        log_file=knobs.absolute(fill.fill(profile.log), table.cwd(main)),
        config_file=file,
        start=knobs.reload_of(profile.start, fill),
        facts={name: fill.fill(fact) for name, fact in profile.facts.items()},
    )


def described(profile: Profile, table: ProcessTable, file: str) -> Target:
    """The agent of a profile that this configuration file would set up; it has no process."""
    return of_profile(profile, [], file, table, {})


def generic(pid: int, table: ProcessTable, objects: Held) -> Target | None:
    """An agent that nobody described: what the kernel tells of it, and its cgroup's quota."""
    process = table.process(pid)
    if process is None:
        return None
    quota = Knob(name="cpu-quota", backend="cgroup", unit="cores", verified=False)
    return Target(
        name=f"{process.comm}:{pid}",
        ref=f"generic:{process.comm}:{pid}",
        processes=(process,),
        program_ids=tuple(sorted(objects.programs)),
        map_ids=tuple(sorted(objects.maps)),
        link_ids=tuple(sorted(objects.links)),
        rings=rings(objects, ()),
        knobs={"cpu-quota": quota},
    )


def _address(url: str) -> str:
    """An address; one without a host (programs are told to listen on ``:2112``) is this machine's."""
    return url.replace("://:", "://127.0.0.1:", 1)
