"""The practice agents of this machine, as their directories tell.

Each instance has a directory with an ``instance.json``, written before anything is started and
again after each step, so that whatever a killed starter left can be found and removed.

Not here: starting and stopping (``lab``).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from bpf.lab import processes
from engine.errors import UnknownName, UsageError


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One practice agent with its generator, as its ``instance.json`` holds it.

    Attributes:
        pid: The agent; 0 before its start. started_ticks: Its start, in clock ticks since boot.
        generator_pid: 0 when there is none.
        sources: The generator's, as its command line has them.
        cgroup: The directory of its own cgroup, or empty.
        argv: The command that starts the agent. program: Its executable.
        mount: A directory on which somebody may mount a file system for the agent, or empty.
    """

    name: str
    fault: str
    directory: str
    config_file: str
    log_file: str
    metrics_url: str
    health_url: str
    pid: int = 0
    started_ticks: int = 0
    generator_pid: int = 0
    sources: tuple[str, ...] = ()
    cgroup: str = ""
    argv: tuple[str, ...] = ()
    program: str = ""
    mount: str = ""

    @property
    def alive(self) -> bool:
        """Whether the agent still runs: the pid and its start are those we started."""
        return self.pid > 0 and processes.started_ticks(self.pid) == self.started_ticks


def root_directory() -> Path:
    """Where instances live: ``$RUNBOOK_LAB``; else ``/run``, without root the user's runtime directory."""
    given = os.environ.get("RUNBOOK_LAB")
    if given:
        return Path(given).absolute()
    base = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp"))  # noqa: S108
    return base / "runbook-lab"


def save(instance: Instance) -> Instance:
    """Write its ``instance.json``, whole or not at all; gives it back."""
    file = Path(instance.directory) / "instance.json"
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(instance))
    fresh.replace(file)
    return instance


def instances(directory: Path | None = None) -> tuple[Instance, ...]:
    """All instances, by name; also those whose agent has ended."""
    found = []
    for file in sorted((directory or root_directory()).glob("*/instance.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(file.read_bytes(), type=Instance))
    return tuple(found)


def instance_named(name: str, directory: Path | None = None) -> Instance:
    """The instance of that name; empty is the only one there is.

    Raises:
        UnknownName, UsageError: There is none, or which one is not clear.
    """
    known = {each.name: each for each in instances(directory)}
    if name in known:
        return known[name]
    if name:
        raise UnknownName("practice agent", name, known)
    if not known:
        raise UsageError("no practice agent is running", fix="runbook lab start --fault burst")
    if len(known) > 1:
        raise UsageError(f"there are several: {', '.join(known)}", fix="name one, or use --all")
    return next(iter(known.values()))


def instance_of(config_file: Path) -> Instance:
    """The instance that a configuration file in an instance's directory belongs to.

    Raises:
        UnknownName: There is none.
    """
    directory = config_file.absolute().parent
    return instance_named(directory.name, directory.parent)
