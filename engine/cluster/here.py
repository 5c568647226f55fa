"""The processes of a pod's container on this machine, if it runs here.

One promise: a process is named only when its cgroup bears the very id of the container, 64 hex
digits that no other has; run anywhere but on the pod's node, there are none.

Source: the kubelet's cgroup names (``kubepods…/pod<uid>/…<container id>``). Cost: one read per
process of the machine.

Not here: asking the API server for the pods (``engine.cluster.source``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.cluster.workload import Object, status_of
from engine.values import Process


def processes(pods: Iterable[Object], container: str, proc: Path = Path("/proc")) -> tuple[Process, ...]:
    """All processes of that container of these pods, the oldest first."""
    marks = [mark for pod in pods for mark in _marks(pod, container)]
    if not marks:
        return ()
    pids = [entry for entry in proc.iterdir() if entry.name.isdigit()]
    found = [process for entry in pids if (process := _process(entry, marks))]
    return tuple(sorted(found, key=lambda one: (one.started_ticks, one.pid)))


def _marks(pod: Object, container: str) -> list[str]:
    """What the cgroup path of its process must hold: the container's own id."""
    identity = str(status_of(pod, container).get("containerID") or "").rpartition("//")[2]
    return [identity] if len(identity) >= 32 else []


def _process(entry: Path, marks: list[str]) -> Process | None:
    try:
        cgroups = (entry / "cgroup").read_text()
        if not any(mark in cgroups for mark in marks):
            return None
        stat = (entry / "stat").read_text(errors="replace")
        argv = tuple((entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
    except OSError:
        return None  # it has ended
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return Process(
        pid=int(entry.name),
        started_ticks=int(fields[19]),
        comm=stat[stat.index("(") + 1 : stat.rindex(")")],
        argv=argv,
        uid=entry.stat().st_uid,
        cgroup=_path_of(cgroups),
    )


def _path_of(cgroups: str) -> str:
    """The v2 path, or the one of the v1 cpu hierarchy."""
    rows = [line.split(":", 2) for line in cgroups.splitlines() if line.count(":") >= 2]
    named = [path for _, names, path in rows if "cpu" in names.split(",")]
    whole = [path for number, names, path in rows if number == "0" and not names]
    return (named or whole or [""])[0]
