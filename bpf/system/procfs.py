"""Small reads of /proc that several probes need: is it still alive, which maps does it hold.

Its promise: a process is its pid *and* its start time, so a reused pid is not mistaken for the
target. What vanishes while being read is absent, never an error.

Not here: CPU, memory, limits (``bpf.probes.process``), all owners at once (``bpf.objects.inventory``).
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import TargetGone
from engine.values import Support, Target

PROC = Path("/proc")
RINGBUF, PERF_EVENT_ARRAY = 27, 4  # linux/bpf.h


def read_text(path: Path | str) -> str:
    """The whole file, or "" when it is gone or closed to us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def stat_fields(pid: int, proc: Path = PROC, tid: int = 0) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third one (state) on; empty when it is gone.

    The name, which may hold spaces and brackets, is left out. Source: proc(5).
    """
    place = proc / str(pid) / "task" / str(tid) / "stat" if tid else proc / str(pid) / "stat"
    return read_text(place).rpartition(")")[2].split()


def started_ticks(pid: int, proc: Path = PROC) -> int:
    """Start of a process in clock ticks since boot; 0 when it is gone or a zombie."""
    fields = stat_fields(pid, proc)
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else 0


def alive(target: Target, proc: Path = PROC) -> list[int]:
    """Pids of the target that still run, and are the ones they were."""
    pids = []
    for process in target.processes:
        ticks = started_ticks(process.pid, proc)
        if ticks and process.started_ticks in (0, ticks):
            pids.append(process.pid)
    return pids


def must_live(target: Target, proc: Path = PROC) -> None:
    """Raise ``TargetGone`` when every process of the target has ended. 10 µs each."""
    if target.processes and not alive(target, proc):
        pids = ", ".join(str(process.pid) for process in target.processes)
        raise TargetGone(
            f"{target.name} ended while it was looked at (pid {pids})",
            fix=f"find out why and start it: runbook run agent-down --target {target.name}",
        )


def not_running(target: Target | None, proc: Path = PROC) -> Support | None:
    """Why a probe of processes has nothing to look at; None while one of them runs, or none is named."""
    if target is None or alive(target, proc):
        return None
    return Support(answer="no", why=f"{target.name} has no running process", fix="runbook targets")


def readable(target: Target | None, proc: Path = PROC) -> Support:
    """Whether a probe that needs nothing but /proc can look."""
    if not (proc / "self").exists():
        return Support(answer="no", why="/proc is not mounted", fix="mount -t proc proc /proc")
    return not_running(target, proc) or Support(answer="yes", why="/proc can be read")


def held_maps(pid: int, proc: Path = PROC) -> dict[int, int]:
    """Id → type of every BPF map that a process holds a descriptor of.

    Maps that it only keeps mapped or pinned are not among them. 10 µs per open descriptor.
    """
    maps: dict[int, int] = {}
    place = f"{proc}/{pid}"
    try:
        fds = os.listdir(f"{place}/fdinfo")  # noqa: PTH208 - five times faster, and there may be thousands
    except OSError:
        return maps
    for fd in fds:
        try:
            if not os.readlink(f"{place}/fd/{fd}").endswith("bpf-map"):  # noqa: PTH115 - as above
                continue
        except OSError:
            continue
        facts = dict(
            line.split(":\t", 1) for line in read_text(f"{place}/fdinfo/{fd}").splitlines() if ":\t" in line
        )
        if "map_id" in facts:
            maps[int(facts["map_id"])] = int(facts.get("map_type", "0"))
    return maps


def held_programs(pid: int, proc: Path = PROC) -> int:
    """How many BPF programs a process holds: descriptors of programs, or of links where there are more.

    A library may close a program's descriptor once its link holds it. 5 µs per open descriptor.
    """
    place = f"{proc}/{pid}/fd"
    try:
        fds = os.listdir(place)  # noqa: PTH208 - as above
    except OSError:
        return 0
    held = {"bpf-prog": 0, "bpf_link": 0, "bpf-link": 0}
    for fd in fds:
        try:
            kind = os.readlink(f"{place}/{fd}").partition("anon_inode:")[2].strip("[]")  # noqa: PTH115 - as above
        except OSError:
            continue
        if kind in held:
            held[kind] += 1
    return max(held.values())
