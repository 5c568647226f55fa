"""The targets' processes: CPU, throttling, memory and its limit, OOM kills.

Its promise: totals since the process or its cgroup began, as the kernel keeps them.

Not here: their BPF programs' CPU, which is on nobody's account (``bpf.meters.programs``).
Source: proc(5), Linux Documentation/admin-guide/cgroup-v2.rst. Costs 0.1 ms per process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bpf.system import cgroups
from bpf.system.procfs import PROC, alive
from bpf.system.procstat import light
from engine.values import Family, Inventory, Sample, Target


class AgentMeter:
    """The meter ``agents``."""

    name = "agents"
    families: Mapping[str, Family] = {
        "bpf_agent_cpu_seconds_total": Family(help="CPU time of its processes.", type="counter"),
        "bpf_agent_throttled_seconds_total": Family(
            help="Time its CPU quota held it back, over all CPUs.", type="counter"
        ),
        "bpf_agent_throttled_periods_total": Family(
            help="Periods of its CPU quota in which it was held back.", type="counter"
        ),
        "bpf_agent_cpu_quota_cores": Family(help="The tightest CPU quota that rules it."),
        "bpf_agent_resident_bytes": Family(help="Resident memory of its processes."),
        "bpf_agent_memory_limit_bytes": Family(help="The tightest memory limit that rules it."),
        "bpf_agent_oom_kills_total": Family(
            help="Processes of its cgroup killed for want of memory.", type="counter"
        ),
    }

    def __init__(self, *, thorough: bool = False, proc: Path = PROC) -> None:
        del thorough
        self._proc = proc

    def read(self, targets: Sequence[Target], inventory: Inventory) -> Iterator[Sample]:  # noqa: ARG002
        """All processes of all targets."""
        for target in targets:
            for family, value in self._of(target).items():
                if value is not None:
                    yield Sample(family=family, value=value, target=target.ref)

    def glance(self) -> None:
        """Nothing peaks here."""

    def close(self) -> None:
        """Nothing is open."""

    def _of(self, target: Target) -> dict[str, float | None]:
        pids = alive(target, self._proc)
        if not pids:
            return {}
        cpu, resident = light(pids, self._proc)
        groups = cgroups.groups(pids[0], "cpu", self._proc)
        quotas = [cores for one in groups if (cores := cgroups.quota_cores(one))]
        held = cgroups.throttling(groups[0]) if groups else None
        memory = cgroups.groups(pids[0], "memory", self._proc)
        limits = [limit for one in memory if (limit := cgroups.memory_limit(one)) is not None]
        kills = cgroups.oom_kills(memory[0]) if memory else None
        return {
            "bpf_agent_cpu_seconds_total": cpu,
            "bpf_agent_resident_bytes": float(resident),
            "bpf_agent_throttled_seconds_total": held.seconds if held and quotas else None,
            "bpf_agent_throttled_periods_total": float(held.throttled) if held and quotas else None,
            "bpf_agent_cpu_quota_cores": min(quotas, default=None),
            "bpf_agent_memory_limit_bytes": float(min(limits)) if limits else None,
            "bpf_agent_oom_kills_total": float(kills) if kills is not None else None,
        }
