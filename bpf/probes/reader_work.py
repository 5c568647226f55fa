"""Does a target's CPU go into events, or into asking for them?

Its promise: counted in the kernel for the window, every system call, wait and sleep of its threads; what
depends on the rings is unknown where their positions can't be asked, never guessed. A reader that spins
on its ring makes no system call: it is told by ticks of a clock at which it ran and the ring was empty.

Costs up to 45 ns at either end of each system call of the machine, 75 to 100 ns at a switch or wake-up.
Not here: in which functions (``cpu-profile``), the reader's rhythm in bytes (``event-flow``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bpf.flow.counting import Counters
from bpf.flow.readings import Seen, Sheet, rate_readings, record_of
from bpf.flow.rings import Rings
from bpf.libbpf import usable
from bpf.probes.asked import named
from bpf.probes.reader_work_fields import FIELDS
from bpf.stacks.spinning import ThreadWork, reader_of, spun_s
from bpf.stacks.watcher import MOST_RINGS, Call, Watcher
from bpf.system.procfs import PROC, alive, must_live, not_running
from bpf.system.procstat import Thread, threads_of
from engine.contracts import Window
from engine.values import Cost, Evidence, Field, Reading, Scalar, Support, Target

_HZ = 199
_LOOK_EVERY_S = 0.25
_FOLLOW_EVERY = 4  # looks
_SOURCE = "counted at each system call"
_ROWS = 20
_NO_RING = "no ring buffer whose fill can be asked"

Threads = dict[tuple[int, int], Thread]


class _Window(NamedTuple):
    """What one window gave.

    Attributes:
        cpu_s: CPU of all threads.
        read_bytes: Read from its rings.
        has_rings: Their fill could be asked.
    """

    seconds: float
    cpu_s: float
    calls: Sequence[Call]
    threads: Sequence[ThreadWork]
    read_bytes: int
    has_rings: bool


class ReaderWork:
    """The probe ``reader-work``."""

    name = "reader-work"
    short = "work"
    summary = "Whether its CPU goes into events or into asking: system calls, empty waits, spinning"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {}
    needs_target = True
    cpu_ceiling = 0.1

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc

    def supported(self, target: Target | None) -> Support:
        """Needs root, BTF, and a process to look at."""
        here = usable(loading=True)
        return (not_running(target, self._proc) if here.answer == "yes" else None) or here

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Count for one window."""
        target = named(target, self.name)
        rings = Rings(target)
        counters = Counters(target) if rings.open and not target.record_bytes else None
        try:
            ids = [ring.map_id for ring in rings.open]
            with Watcher(ids, _HZ) as watcher:
                return self._watch(target, window, _Eyes(rings, counters, watcher))
        finally:
            rings.close()
            if counters:
                counters.close()

    def _watch(self, target: Target, window: Window, eyes: _Eyes) -> Evidence:
        clock, rings = window.clock, eyes.rings
        started_at = window.begin()
        cpu = time.thread_time()
        first, began = self._threads(target), clock.monotonic()
        eyes.watcher.start(alive(target, self._proc))
        last = first
        for look, _ in enumerate(window.ticks(_LOOK_EVERY_S)):
            for ring in rings.open:
                ring.take(clock.monotonic())
            if look % _FOLLOW_EVERY == 0:
                rings.follow()
                if eyes.counters:
                    eyes.counters.take(clock.monotonic)
                last = {**last, **self._threads(target)}
        eyes.watcher.stop()
        seconds = clock.monotonic() - began
        last = {**last, **self._threads(target)}
        if eyes.counters:
            eyes.counters.take(clock.monotonic)
        seen = _Window(
            seconds=seconds,
            cpu_s=_ran(last) - _ran({key: each for key, each in first.items() if key in last}),
            calls=eyes.watcher.calls(),
            threads=eyes.watcher.threads(),
            read_bytes=sum(ring.moved()[1] for ring in rings.seen()),
            has_rings=bool(rings.open),
        )
        if not seen.threads:
            must_live(target, self._proc)
        sheet = _events(rings, eyes.counters, target)
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=clock.now(),
            readings=_readings(seen, sheet),
            tables=_tables(seen),
            notes=tuple(_notes(rings)),
            cost=Cost(cpu_s=time.thread_time() - cpu, bpf_s=eyes.watcher.bpf_s),
        )

    def _threads(self, target: Target) -> Threads:
        return {
            (pid, tid): thread
            for pid in alive(target, self._proc)
            for tid, thread in threads_of(pid, self._proc).items()
        }


class _Eyes(NamedTuple):
    """What one window is watched with."""

    rings: Rings
    counters: Counters | None
    watcher: Watcher


def _ran(threads: Threads) -> float:
    return sum(thread.ran_s for thread in threads.values())


def _events(rings: Rings, counters: Counters | None, target: Target) -> Reading:
    """Events taken out of the rings per second."""
    seen = Seen(
        rings=rings.seen(),
        received=counters.received if counters else None,
        payload_bytes=target.record_bytes,
    )
    sheet = Sheet()
    rate_readings(sheet, seen, record_of(seen))
    return sheet.readings["out_per_s"]


def _readings(seen: _Window, events: Reading) -> dict[str, Reading]:
    made = sum(call.made for call in seen.calls)
    waited = sum(call.waited for call in seen.calls)
    empty = sum(call.empty for call in seen.calls)
    sleeps = sum(thread.sleeps for thread in seen.threads)
    per_s = seen.seconds or 1.0
    top = seen.calls[0] if seen.calls else None
    quiet = "it made no system call in the window"
    no_wait = "none of its waits ended in the window"
    return {
        "syscalls_per_s": _known(made / per_s, "1/s"),
        "top_syscall": Reading(value=top.name, source=_SOURCE) if top else Reading(missing=quiet),
        "top_syscall_share": _known(top.made / made if top and made else None, "share", quiet),
        "waits_per_s": _known(waited / per_s, "1/s"),
        "empty_wakeups_per_s": _known(empty / per_s, "1/s"),
        "empty_share": _known(empty / waited if waited else None, "share", no_wait),
        "wakeups_per_s": Reading(value=sleeps / per_s, unit="1/s", source="counted at each switch"),
        "cpu_cores": Reading(value=seen.cpu_s / per_s, unit="cores", source="/proc/PID/task/TID/schedstat"),
        **_per_event(seen, made, events),
        **_spinning(seen),
    }


def _known(value: float | None, unit: str = "", missing: str = "") -> Reading:
    if value is None:
        return Reading(unit=unit, missing=missing)
    return Reading(value=value, unit=unit, source=_SOURCE)


def _per_event(seen: _Window, made: int, events: Reading) -> dict[str, Reading]:
    """The target's work for one event."""
    rate = events.value if isinstance(events.value, int | float) else None
    missing = events.missing if rate is None else "" if rate else "no event was taken in the window"
    taken = (rate or 0.0) * seen.seconds
    return {
        "events_per_s": events,
        "syscalls_per_event": _known(made / taken if taken else None, "", missing),
        "cpu_us_per_event": _known(seen.cpu_s * 1e6 / taken if taken else None, "µs", missing),
    }


def _spinning(seen: _Window) -> dict[str, Reading]:
    """CPU that went into asking."""
    if not seen.has_rings:
        return {
            "spin_cores": Reading(unit="cores", missing=_NO_RING),
            "spin_share": Reading(unit="share", missing=_NO_RING),
            "spinning_thread": Reading(missing=_NO_RING),
        }
    reader = reader_of(seen.threads, seen.read_bytes)
    spent = {thread: spun_s(thread, reader, _HZ) for thread in seen.threads}
    spun = min(sum(spent.values()), seen.cpu_s) if seen.cpu_s else sum(spent.values())
    most = max(spent, key=lambda thread: spent[thread], default=None)
    source = "ticks without sleep and with empty rings, and time after empty waits"
    named = most is not None and spent[most] >= 0.01 * seen.seconds
    return {
        "spin_cores": Reading(value=spun / (seen.seconds or 1.0), unit="cores", source=source),
        "spin_share": Reading(value=spun / seen.cpu_s if seen.cpu_s else 0.0, unit="share", source=source),
        "spinning_thread": Reading(value=f"{most.name} ({most.tid})", source=source)
        if named and most
        else Reading(missing="no thread spends a hundredth of a CPU on asking"),
    }


def _tables(seen: _Window) -> dict[str, tuple[dict[str, Scalar], ...]]:
    per_s = seen.seconds or 1.0
    reader = reader_of(seen.threads, seen.read_bytes)
    calls: list[dict[str, Scalar]] = [
        {
            "syscall": call.name,
            "per_s": call.made / per_s,
            "waits_per_s": call.waited / per_s,
            "empty_per_s": call.empty / per_s,
        }
        for call in seen.calls[:_ROWS]
    ]
    busiest = sorted(seen.threads, key=lambda thread: (-thread.ticks, -thread.ran_s))
    threads: list[dict[str, Scalar]] = [
        {
            "thread": thread.name,
            "tid": thread.tid,
            "cores": thread.ticks / _HZ / per_s,
            "sleeps_per_s": thread.sleeps / per_s,
            "awake_share": thread.awake_ticks / thread.ticks if thread.ticks else 0.0,
            "asking_cores": spun_s(thread, reader, _HZ) / per_s,
            "reads_the_ring": reader is not None and reader.tid == thread.tid,
        }
        for thread in busiest[:_ROWS]
    ]
    return {"syscalls": tuple(calls), "threads": tuple(threads)}


def _notes(rings: Rings) -> list[str]:
    many = len(rings.open) - MOST_RINGS
    return [*rings.notes, *([f"{many} of its rings are left out of spinning"] if many > 0 else [])]
