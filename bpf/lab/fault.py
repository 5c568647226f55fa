"""What one fault of the practice agent is made of.

Not here: the faults themselves (``faults`` and the tables it puts together).
"""

from __future__ import annotations

import msgspec

MIB = 1 << 20
#: Much more memory than the practice agent ever takes.
AMPLE = 512 * MIB


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One way for the agent to fail.

    Attributes:
        settings: Config path → value, where it differs from the shipped file; ``{port}`` is its own.
        sources: The generator's sources: ``COMM:CALLS_PER_S``, ``COMM:CALLS_PER_S@EACH`` (so many from
            each short-lived process) or ``COMM:CALLS/EVERY_S``.
        keys: Values that the calls' first argument runs through: entries in the cache per source.
        quota_cores: CPU quota of a cgroup of its own, or None.
        without_capabilities: The agent has lost the right to load BPF programs for good.
        as_nobody: The agent runs as an unprivileged user, from an executable of its own.
        memory_bytes: Limit of a memory cgroup of its own, or None. ``AMPLE`` is no limit: the cgroup is
            for counting, and goes without where the host has no such.
        stalled_exporter: The exporter writes to a FIFO that nobody reads.
        unmounted: It pins in a directory of the instance, where no BPF file system is mounted.
        down: It is started, and then it ends; the lab's start waits for that.
        stopped: Somebody stops it, with SIGTERM.
        supervised: Whenever it ends, a supervisor starts it again after a second.
        provoked_by: Sources that run once, until it ends.
        fails: Its programs don't load; it tries again every second, as a supervisor would make it.
        runbook: The runbook that it practises.
        cause: The name that the runbook's diagnosis should give it.
        remedy: The knob or change that mends it.
    """

    name: str
    summary: str
    settings: dict[str, str] = {}
    sources: tuple[str, ...] = ()
    keys: int = 256
    quota_cores: float | None = None
    memory_bytes: int | None = None
    without_capabilities: bool = False
    as_nobody: bool = False
    stalled_exporter: bool = False
    unmounted: bool = False
    fails: bool = False
    down: bool = False
    stopped: bool = False
    supervised: bool = False
    provoked_by: tuple[str, ...] = ()
    runbook: str = ""
    cause: str = ""
    remedy: str = ""


def evenly(per_s: int) -> tuple[str, ...]:
    """``per_s`` calls a second from four processes, so that none of them stands out."""
    return tuple(f"{comm}:{per_s // 4}" for comm in ("lab-web", "lab-db", "lab-queue", "lab-cron"))
