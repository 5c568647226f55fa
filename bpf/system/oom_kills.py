"""Which processes the kernel killed for want of memory, from its log; and which of them were a target's.

Not here: reading the log (``bpf.system.kmsg``), how often a cgroup saw kills (``bpf.system.cgroups``).
Source: ``mm/oom_kill.c``; the summary line that names the cgroup is of kernel 4.19.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bpf.system import cgroups
from bpf.system.kmsg import Line
from bpf.system.procfs import PROC
from engine.values import Target

#: ``Out of memory: Killed process 42 (agent) total-vm:…kB, anon-rss:…kB``, ``Memory cgroup out of memory: …``
_KILLED = re.compile(
    r"(?P<why>Memory cgroup out of memory|Out of memory).*?: Kill(?:ed)? process (?P<pid>\d+) "
    r"\((?P<comm>.*?)\),? (?:UID|total-vm)(?:.*?anon-rss:(?P<anon>\d+)kB)?"
)
#: ``oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/agents,task_memcg=/agents/a,task=agent,pid=42,uid=0``
_CHOSEN = re.compile(r"oom-kill:constraint=.*?task_memcg=(?P<cgroup>[^,]*),task=.*,pid=(?P<pid>\d+),")


class Kill(NamedTuple):
    """One process that the kernel killed for want of memory.

    Attributes:
        at: Epoch seconds; 0 where the log does not say.
        cgroup: Its memory cgroup; empty where the log does not say.
        limited: Its cgroup was at its limit; else the machine was out of memory.
        anon_bytes: Its anonymous memory when it was killed; 0 where the log does not say.
    """

    at: float
    pid: int
    comm: str
    cgroup: str
    limited: bool
    text: str
    anon_bytes: int = 0


def kills(lines: Iterable[Line]) -> tuple[Kill, ...]:
    """All kills that the log tells of, the oldest first. 2 µs a line."""
    groups: dict[int, str] = {}
    found = []
    for line in lines:
        if chosen := _CHOSEN.search(line.text):
            groups[int(chosen["pid"])] = chosen["cgroup"]
        elif killed := _KILLED.search(line.text):
            pid = int(killed["pid"])
            found.append(
                Kill(
                    at=line.at,
                    pid=pid,
                    comm=killed["comm"],
                    cgroup=groups.pop(pid, ""),
                    limited=killed["why"].startswith("Memory"),
                    text=line.text.strip(),
                    anon_bytes=int(killed["anon"] or 0) << 10,
                )
            )
    return tuple(found)


def of_target(found: Iterable[Kill], target: Target, proc: Path = PROC) -> tuple[Kill, ...]:
    """Those of one agent: by the pid, or by the name in the same memory cgroup.

    The killed process had another pid than the one that runs now. Another agent of the same kind has
    the same name: of an agent that runs, only one in the same cgroup can be it. The line that names the
    cgroup is older than the kill's own, so it may be overwritten first; then nothing is said.
    """
    pids = {one.pid for one in target.processes}
    names = {one.comm for one in target.processes} | {Path(target.facts.get("executable", "")).name[:15]}
    own = [groups[0].path for pid in pids if (groups := cgroups.groups(pid, "memory", proc))]
    known = names - {""}
    return tuple(
        kill for kill in found if (kill.pid in pids and kill.comm in known) or _same(kill, known, own)
    )


def _same(kill: Kill, names: set[str], own: Sequence[Path]) -> bool:
    here = any(f"{path}/".endswith(f"{kill.cgroup}/") for path in own) if kill.cgroup else False
    if here and kill.cgroup != "/":
        return True
    return kill.comm in names and (here or not own)
