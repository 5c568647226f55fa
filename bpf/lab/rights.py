"""What a practice agent is denied: it runs as nobody, or with a capability gone for good.

An agent that runs as nobody has an executable of its own, a copy in a place where file
capabilities count, so that giving it some touches nobody else.

Not here: what the agent denies itself (``confine.c``).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from bpf.lab import processes
from engine.errors import RunbookError

NOBODY = 65534
#: Where executables go when the instances' file system is mounted nosuid, as /run often is.
PROGRAMS = Path("/var/lib/runbook-lab")
#: Capabilities by number, as setpriv knows them on every version: perfmon, bpf, sys_admin.
BPF_CAPABILITIES = ("cap_38", "cap_39", "sys_admin")


class LabFailed(RunbookError):
    """A practice agent could not be started."""


def without_capabilities(argv: Sequence[str]) -> list[str]:
    """The command with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN gone for good: no file gives them back."""
    without = ",".join(f"-{capability}" for capability in BPF_CAPABILITIES)
    return [_setpriv(), f"--bounding-set={without}", *argv]


def as_nobody(argv: Sequence[str]) -> list[str]:
    """The command as an unprivileged user who may gain what the executable gives."""
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]
    return [_setpriv(), *user, *argv]


def own_program(directory: Path) -> Path:
    """Give an instance an agent of its own, with all it reads beside it; its path."""
    place = directory
    if os.statvfs(directory).f_flag & os.ST_NOSUID:
        place = PROGRAMS / directory.name
        place.mkdir(parents=True, exist_ok=True)
    for original in (processes.AGENT, processes.OBJECT, processes.OPTIONAL):
        shutil.copy(original, place)
    return place / processes.AGENT.name


def remove_program(program: Path) -> None:
    """Take away a copy that stands outside its instance's directory, and nothing else."""
    if program.parent.parent == PROGRAMS:
        shutil.rmtree(program.parent, ignore_errors=True)


def hand_over(directory: Path) -> None:
    """Let nobody write into an instance's directory, and reach it.

    Raises:
        LabFailed: A directory above it is closed to others.
    """
    directory.parent.chmod(0o711)
    for above in directory.parents:
        if not above.stat().st_mode & stat.S_IXOTH:
            raise LabFailed(
                f"this fault's agent runs as nobody, who can't enter {above}",
                fix="RUNBOOK_LAB=/var/tmp/lab runbook lab start …",
            )
    log = directory / "agent.log"
    log.touch(mode=0o600)
    for path in (directory, log):
        os.chown(path, NOBODY, NOBODY)


def _setpriv() -> str:
    found = shutil.which("setpriv")
    if found is None:
        raise LabFailed("setpriv, which takes rights away, is not installed", fix="apt install util-linux")
    return found
