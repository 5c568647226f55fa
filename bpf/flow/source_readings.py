"""The readings and tables of ``event-sources``: who caused the events, and by which system calls.

One promise: shares are of all that was counted at the busiest place; what was not counted is unknown, with
the reason.

Not here: counting (``bpf.flow.source_counts``), sampling records (``bpf.objects.ring_records``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bpf.flow.source_counts import NO_CALL, Seen, Tallies
from bpf.objects.ring_records import RingRecords
from bpf.system import syscall_names
from engine.values import Reading, Scalar

_WHOSE = ("ring_comm", "ring_pid", "ring_share")
_MOST_ROWS = 20
_UNKNOWN_FIELDS = (
    "top_comm",
    "top_pid",
    "top_share",
    "top_per_s",
    "rest_per_s",
    "total_per_s",
    "top_syscall",
)


def in_rings(rings: Sequence[RingRecords], comms: Mapping[int, str], proc: Path) -> dict[str, Reading]:
    """Whose records are most in the fullest-sampled ring."""
    ring = max(rings, key=lambda one: one.records, default=None)
    shares = ring.shares() if ring else {}
    if ring is None or ring.mean_bytes is None:
        why = "no record came in the window" if rings else "it has no ring buffer that can be read"
        return {name: Reading(missing=why) for name in (*_WHOSE, "record_bytes")}
    source = f"{ring.records} records in the ring"
    size = {"record_bytes": Reading(value=ring.mean_bytes, unit="bytes", source=source)}
    if not shares:
        why = "the profile does not tell where a record holds its pid"
        return size | {name: Reading(missing=why) for name in _WHOSE}
    pid, share = next(iter(shares.items()))
    return size | {
        "ring_comm": Reading(value=_comm(pid, proc) or comms.get(pid, ""), source=source),
        "ring_pid": Reading(value=pid, source=source),
        "ring_share": Reading(value=share, unit="share", source=source),
    }


def told(
    labels: Sequence[str], rows: Sequence[Tallies], seconds: float, refusal: str, proc: Path
) -> tuple[dict[str, Reading], dict[str, tuple[dict[str, Scalar], ...]]]:
    """Readings and tables of the busiest place; all unknown when there was none to count at.

    Args:
        labels: The places.
        rows: What came at each of them.
        seconds: In so long.
        refusal: Why there is no place, when there is none.
        proc: Where processes tell their names.
    """
    if not labels:
        return {name: Reading(missing=refusal) for name in _UNKNOWN_FIELDS}, {}
    totals = [sum(seen.events for seen in tallies.values()) for tallies in rows]
    busiest = max(range(len(labels)), key=totals.__getitem__)
    label, total, tallies = labels[busiest], totals[busiest], rows[busiest]
    processes = _by_process(tallies, total, seconds, proc)
    calls = _by_call(tallies, total, seconds)
    points: list[dict[str, Scalar]] = [
        {"attach_point": point, "per_s": count / seconds} for point, count in zip(labels, totals, strict=True)
    ]
    readings = {
        "attach_point": Reading(value=label, source=label),
        "total_per_s": Reading(value=total / seconds, unit="events/s", source=label),
        "processes_seen": Reading(value=len(processes), source=label),
        **_top(processes, calls, total / seconds, label),
    }
    tables: dict[str, list[dict[str, Scalar]]]
    tables = {"processes": processes[:_MOST_ROWS], "syscalls": calls[:_MOST_ROWS], "points": points}
    return readings, {name: tuple(table) for name, table in tables.items()}


def _top(
    processes: list[dict[str, Scalar]], calls: list[dict[str, Scalar]], total_per_s: float, label: str
) -> dict[str, Reading]:
    if not processes:
        why = "no event came in the window"
        return {name: Reading(missing=why) for name in ("top_comm", "top_pid", "top_share", "top_syscall")}
    top = processes[0]
    per_s = float(top["per_s"] or 0)
    readings = {
        "top_comm": Reading(value=top["comm"], source=label),
        "top_pid": Reading(value=top["pid"], source=label),
        "top_per_s": Reading(value=per_s, unit="events/s", source=label),
        "top_share": Reading(value=top["share"], unit="share", source=label),
        "rest_per_s": Reading(value=total_per_s - per_s, unit="events/s", source=label),
    }
    if not calls:
        return {**readings, "top_syscall": Reading(missing="the attach point is no system call")}
    return {
        **readings,
        "top_syscall": Reading(value=calls[0]["syscall"], source=label),
        "top_syscall_share": Reading(value=calls[0]["share"], unit="share", source=label),
    }


def _by_process(tallies: Tallies, total: int, seconds: float, proc: Path) -> list[dict[str, Scalar]]:
    """One row per process, the busiest first."""
    summed: dict[int, Seen] = {}
    for (pid, _), seen in tallies.items():
        known = summed.get(pid)
        summed[pid] = seen._replace(events=seen.events + known.events) if known else seen
    ordered = sorted(summed.items(), key=lambda item: -item[1].events)
    return [
        {
            "pid": pid,
            "comm": _comm(pid, proc) or seen.comm if at < _MOST_ROWS else seen.comm,
            "uid": seen.uid,
            "per_s": seen.events / seconds,
            "share": seen.events / total,
        }
        for at, (pid, seen) in enumerate(ordered)
    ]


def _comm(pid: int, proc: Path) -> str:
    """The process's own name: an event only carries that of the thread. Empty once it has ended."""
    try:
        return (proc / str(pid) / "comm").read_text("utf-8", "replace").rstrip("\n")
    except OSError:
        return ""


def _by_call(tallies: Tallies, total: int, seconds: float) -> list[dict[str, Scalar]]:
    """One row per system call, the most frequent first; none where events are no system calls."""
    summed: dict[int, int] = {}
    for (_, call), seen in tallies.items():
        if call != NO_CALL:
            summed[call] = summed.get(call, 0) + seen.events
    return [
        {"syscall": syscall_names.name_of(call), "per_s": events / seconds, "share": events / total}
        for call, events in sorted(summed.items(), key=lambda item: -item[1])
    ]
