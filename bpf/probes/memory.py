"""What a target's memory is made of, whether it grows, and how long until a limit stops it.

Its promise: growth is told from noise with a range that is honest for memory (see
``bpf.memory.growth``); user heap is told from BPF maps, which no process's memory shows;
and what can be known from outside about pages that the allocator merely keeps is told.

Nothing of the target is changed or stopped. Processes above 1 GiB are read by the kernel's counters, not by
walking their pages.

Not here: where the memory was allocated (``allocations``, ``heap-profile``), elements of maps (``map-fill``).
Cost: 1 ms a look at most, 100 looks a window; then once the pages (2 ms per GiB) and the heap (0.2 s
at most).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bpf.memory import glibc_heap, limits, processes, telling
from bpf.memory.looking import Look, Place, look, maps_tell_real_use, place_of
from bpf.memory.telling import Readings, Seen, known, missing
from bpf.probes.asked import named
from bpf.probes.memory_fields import FIELDS
from bpf.system import cgroups, kmsg, oom_kills
from bpf.system.procfs import PROC, must_live, readable
from engine.contracts import Window
from engine.errors import TargetGone
from engine.values import Evidence, Field, Scalar, Series, Support, Target

_LOOKS, _EVERY_S = 100, 0.1
#: Up to this much resident memory the mappings are read once, at the window's end: 18 ms.
_MAPPINGS_UP_TO = 8 << 30


class Memory:
    """The probe ``memory``."""

    name = "memory"
    short = "memory"
    summary = "What the target's memory is made of, whether it grows, its BPF maps, limits and OOM kills"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {
        "kernel_log": "a file with the kernel's log, when /dev/kmsg is closed to us",
        "heap": "false: do not read how much of the heap is free inside its allocator",
    }
    needs_target = True
    cpu_ceiling = 0.1

    def __init__(self, proc: Path = PROC, log: Path = kmsg.DEVICE) -> None:
        self._proc, self._log = proc, log

    def supported(self, target: Target | None) -> Support:
        """Needs /proc, and a process to look at."""
        return readable(target, self._proc)

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch the target's memory for one window."""
        target = named(target, self.name)
        clock = window.clock
        place = place_of(target, self._proc)
        kills_before = limits.kills_so_far(place)
        started_at = window.begin()
        looks, times = [look(place, clock.monotonic())], [started_at]
        for at in window.ticks(max(_EVERY_S, window.seconds / _LOOKS)):
            must_live(target, self._proc)
            looks.append(look(place, clock.monotonic()))
            times.append(at)
            window.show("anonymous memory", sum(one.anon for one in looks[-1].splits.values()), "bytes")
        must_live(target, self._proc)
        seen = _seen(looks, target)
        file = window.options.get("kernel_log")
        log = Path(window.directory, file) if isinstance(file, str) and file else self._log
        further = {
            **self._amounts(seen),
            **self._heap(seen, wanted=window.options.get("heap") is not False),
            **self._last_kill(place, log, clock.now()),
            **limits.kill_counts(place, kills_before),
        }
        return _evidence(place, seen, times, (started_at, clock.now()), further)

    def _amounts(self, seen: Seen) -> Readings:
        """The split at the window's end, its pages walked when they are not too many."""
        last = seen.looks[-1].splits
        now = {
            pid: processes.split(pid, exact=last[pid].rss <= processes.EXACT_UP_TO, proc=self._proc)
            for pid in seen.pids
        }
        return telling.amounts(processes.together([now[pid] or last[pid] for pid in seen.pids]), len(now))

    def _heap(self, seen: Seen, *, wanted: bool) -> Readings:
        """The heap by its mappings, and what of it is free inside the allocator."""
        last = seen.splits()[-1][1]
        names = ("heap_bytes", "heap_free_bytes", "heap_free_share", "heap_read_share")
        if last.rss > _MAPPINGS_UP_TO:
            why = f"{last.rss >> 30} GiB are too many pages to be walked"
            return {"heap_bytes": known(last.anon, "bytes", "/proc/PID/status RssAnon")} | missing(
                why, *names[1:]
            )
        mappings = {pid: processes.mappings(pid, self._proc) for pid in seen.pids}
        if not any(mappings.values()):
            why = "the processes' mappings can't be read (they take root)"
            return {"heap_bytes": known(last.anon, "bytes", "/proc/PID/status RssAnon")} | missing(
                why, *names[1:]
            )
        heap = sum(one.anon for every in mappings.values() for one in every if one.is_heap)
        found = {"heap_bytes": known(heap, "bytes", "/proc/PID/smaps")}
        if not wanted:
            return found | missing("not asked for", *names[1:])
        try:
            walked = [glibc_heap.free_in(pid, every, self._proc) for pid, every in mappings.items()]
        except OSError as error:
            return found | missing(f"the heap can't be read: {error.strerror}", *names[1:])
        parts = [part for part in walked if part]
        if not parts:
            return found | missing("its heap is not glibc's, so its free parts are not known", *names[1:])
        return found | _free(parts, heap)

    def _last_kill(self, place: Place, file: Path, now: float) -> Readings:
        log = kmsg.read(file)
        if log.problem:
            why = f"the kernel log can't be read ({log.problem}); `with: {{kernel_log: FILE}}` names another"
            return missing(why, "oom_last", "oom_last_comm", "oom_last_pid")
        kills = oom_kills.of_target(oom_kills.kills(log.lines), place.target, self._proc)
        return limits.last_kill(kills, now)


def _seen(looks: list[Look], target: Target) -> Seen:
    seen = Seen(looks)
    if not seen.pids:
        raise TargetGone(
            f"no process of {target.name} was there for the whole window", fix="look for a shorter time"
        )
    return seen


def _free(parts: list[glibc_heap.Free], heap: int) -> Readings:
    """Free share of what was read, and what that makes of all that is glibc's."""
    read, whole = sum(part.read for part in parts), sum(part.heap for part in parts)
    share, here = sum(part.free for part in parts) / read, "glibc's pieces, read from its memory"
    return {
        "heap_free_share": known(share, "share", here),
        "heap_free_bytes": known(share * whole, "bytes", here),
        "heap_read_share": known(min(1.0, read / heap) if heap else 0.0, "share", here),
    }


def _evidence(
    place: Place, seen: Seen, times: list[float], span: tuple[float, float], further: Readings
) -> Evidence:
    real = maps_tell_real_use()
    anon, anon_growth = telling.anonymous(seen)
    maps, rows, map_growth = telling.map_memory(seen, place.maps, place.why_no_maps, real=real)
    slopes = sum(one.slope for one in (anon_growth, map_growth) if one and one.growing)
    tops = {one.path: limit for one in place.groups if (limit := cgroups.memory_limit(one)) is not None}
    own = place.groups[0].path if place.groups else None
    around = {**limits.groups(seen, own, tops, slopes), **limits.host(place)}
    lasting = limits.lasting(around, slopes) if anon_growth else missing(telling.TOO_SHORT, "lasts_s")
    return Evidence(
        probe=Memory.name,
        short=Memory.short,
        target=place.target.name,
        started_at=span[0],
        ended_at=span[1],
        readings={
            **anon,
            **telling.first_touch(anon, further),
            **maps,
            **around,
            **lasting,
            **further,
        },
        series=_series(seen, own, times),
        tables={"maps": rows, "processes": _processes(place, seen)},
        notes=_notes(place, seen, real=real),
    )


def _series(seen: Seen, own: Path | None, times: list[float]) -> dict[str, Series]:
    """Anonymous memory, maps and the group's charge over time."""
    lines = {
        "anon": ("anonymous memory", [float(split.anon) for _, split in seen.splits()]),
        "maps": ("BPF maps", [value for _, value in seen.maps()] if seen.map_ids else []),
        "cgroup": ("control group", [value for _, value in seen.group(own)] if own else []),
    }
    return {
        name: Series(label=label, unit="bytes", times=tuple(times), values=tuple(values))
        for name, (label, values) in lines.items()
        if len(values) == len(times)
    }


def _processes(place: Place, seen: Seen) -> tuple[dict[str, Scalar], ...]:
    """A row for each process, the one that grew most first."""
    comms = {process.pid: process.comm for process in place.target.processes}
    first, last = seen.looks[0].splits, seen.looks[-1].splits
    rows: list[dict[str, Scalar]] = [
        {
            "pid": pid,
            "comm": comms.get(pid, ""),
            "rss_bytes": last[pid].rss,
            "anon_bytes": last[pid].anon,
            "grown_bytes": last[pid].anon - first[pid].anon,
            "peak_bytes": last[pid].peak,
        }
        for pid in seen.pids
    ]
    return tuple(sorted(rows, key=lambda row: -float(row["grown_bytes"] or 0)))


def _notes(place: Place, seen: Seen, *, real: bool) -> tuple[str, ...]:
    left = len(place.pids) - len(seen.pids)
    gone = len(place.maps) - len(seen.map_ids)
    return tuple(
        note
        for applies, note in (
            (
                not place.each_look_exact,
                "growth is by the kernel's counters: its pages are too many to be walked",
            ),
            (left > 0, f"{left} of its processes ended in the window and are left out"),
            (gone > 0, f"{gone} of its maps went in the window and are left out"),
            (
                bool(place.maps) and not real,
                "before kernel 6.4 map memory is a figure of the maps' sizes and shows no growth in them",
            ),
        )
        if applies
    )
