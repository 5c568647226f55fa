"""Which processes, and which system calls, cause the events that a target is given.

Its promise: counted at the agent's own attach point by a small program of ours, every event, none
sampled; where that can't be done the reading is unknown with the reason, never a guess. The
agent may filter what it takes, so these are the events offered to it. Where its profile tells
how to read a record, a sample of the records in its ring says besides whose events reach it.

Costs 30 to 60 ns per event while the window lasts, and up to 16 MiB of memory per attach point.
Not here: what the agent accepted or lost (the ``event-flow`` probe).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from bpf.libbpf import BpfError, BpfObject, usable
from bpf.objects import attach_points, inventory, maps
from bpf.objects.attach_points import Place, Places
from bpf.objects.iterators import possible_cpus
from bpf.objects.names import text
from bpf.objects.ring_records import RingRecords
from bpf.probes.asked import named
from bpf.syscall import MapInfo, ask, map_ids_of
from bpf.system import syscall_names
from engine.contracts import Window
from engine.values import Evidence, Field, Reading, Scalar, Support, Target

_OBJECT = Path(__file__).with_name("event_sources.bpf.o")
_KEY = struct.Struct("=II")  # struct source
_TALLY = struct.Struct("=QI16sI")  # struct tally, one per possible CPU
_POINTS = {"sys_enter": 1, "sys_exit": 2}
_NO_CALL = 0xFFFFFFFF
_WANTED_WORDS = 16
_WHOSE = ("ring_comm", "ring_pid", "ring_share")
_MOST_PLACES = 6
#: Sources counted at one place, and what their table may take on a machine with many CPUs.
_MOST_SOURCES, _MOST_BYTES = 16384, 16 << 20
_MOST_ROWS = 20
#: How often records are looked at, seconds.
_LOOK_EVERY_S = 0.02
_NOTE = "these are the events at the agent's attach point, before any filter of its own"
_UNKNOWN_FIELDS = (
    "top_comm",
    "top_pid",
    "top_share",
    "top_per_s",
    "rest_per_s",
    "total_per_s",
    "top_syscall",
)


class Seen(NamedTuple):
    """One process's use of one system call (or none) so far."""

    events: int
    uid: int
    comm: str


Tallies = dict[tuple[int, int], Seen]


class Counter:
    """Our program at one place, and what it has counted."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._object = BpfObject.open(_OBJECT)
        try:
            self._attach()
        except BaseException:
            self._object.close()
            raise

    def _attach(self) -> None:
        ours, place = self._object, self.place
        ours.set_global("point", struct.pack("=I", _POINTS.get(place.tracepoint, 0)))
        if place.calls:
            words = [0] * _WANTED_WORDS
            for call in place.calls:
                words[call // 64] |= 1 << call % 64
            ours.set_global("wanted", struct.pack(f"={_WANTED_WORDS}Q", *words))
            ours.set_global("only_wanted", struct.pack("=I", 1))
        room = _MOST_BYTES // (_TALLY.size * possible_cpus())
        ours.set_max_entries("tallies", min(_MOST_SOURCES, room))
        ours.skip("on_function" if place.tracepoint else "on_event")
        ours.load()
        self._map_id = ask(ours.map("tallies").fd, MapInfo()).id
        if place.tracepoint:
            ours.attach_raw_tracepoint("on_event", place.tracepoint)
        else:
            ours.attach_kprobe("on_function", place.function)

    def close(self) -> None:
        """Detach."""
        self._object.close()

    def read(self) -> Tallies:
        """Counts so far, all CPUs together."""
        seen: Tallies = {}
        for keys, values in maps.lookup_batch(self._map_id):
            step = len(values) // (len(keys) // _KEY.size)
            for at, key in enumerate(_KEY.iter_unpack(keys)):
                parts = [part for part in _TALLY.iter_unpack(values[at * step : (at + 1) * step]) if part[0]]
                if parts:
                    seen[key] = Seen(sum(part[0] for part in parts), parts[0][1], text(parts[0][2]))
        return seen

    def not_counted(self) -> int:
        """Events of processes that found no room in the table."""
        return int.from_bytes(self._object.get_global("not_counted"), "little")


class EventSources:
    """The probe ``event-sources``."""

    name = "event-sources"
    short = "sources"
    summary = "Which processes and system calls cause the events, counted at the agent's own attach point"
    fields: Mapping[str, Field] = {
        "attach_point": Field(help="where was counted: the target's busiest attach point", type="text"),
        "total_per_s": Field(help="events there", unit="events/s"),
        "top_comm": Field(help="name of the process that caused the most", type="text"),
        "top_pid": Field(help="its pid"),
        "top_per_s": Field(help="events it caused", unit="events/s"),
        "top_share": Field(help="its share of all events", unit="share"),
        "rest_per_s": Field(help="events of all others", unit="events/s"),
        "processes_seen": Field(help="processes that caused events"),
        "top_syscall": Field(help="the system call with the most events", type="text"),
        "top_syscall_share": Field(help="its share of all events", unit="share"),
        "ring_comm": Field(help="name of the process whose records are most in the ring", type="text"),
        "ring_pid": Field(help="its pid"),
        "ring_share": Field(help="its share of the records in the ring", unit="share"),
        "record_bytes": Field(help="mean size of a record in the ring, header included", unit="bytes"),
    }
    options: Mapping[str, str] = {}
    needs_target = True
    cpu_ceiling = 0.1

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def supported(self, target: Target | None) -> Support:
        """Needs root, BTF, and an attach point of the target that we can sit at too."""
        here = usable(loading=True)
        if here.answer != "yes" or target is None:
            return here
        places = _places(target)
        if places.countable:
            return Support(answer="yes", why=f"can count at {places.countable[0].label}")
        return Support(answer="no", why=_refusal(places), fix="event-flow and program-cost still work")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Count at each of the target's attach points for one window; tell of the busiest."""
        target = named(target, self.name)
        places = _places(target)
        with ExitStack() as stack:
            counters, refused = _attached(places, stack)
            rings = _rings(target, stack)
            started_at = window.begin()
            began = window.clock.monotonic()
            before = [counter.read() for counter in counters]
            for _ in window.ticks(_LOOK_EVERY_S) if rings else ():
                for ring in rings:
                    ring.look()
            window.wait()
            seconds = window.clock.monotonic() - began
            after = [counter.read() for counter in counters]
            missed = sum(counter.not_counted() for counter in counters)
        rows = [_since(old, new) for old, new in zip(before, after, strict=True)]
        readings, tables = _told(counters, rows, seconds or 1.0, refused, self._proc)
        readings |= _in_rings(
            rings, {pid: seen.comm for t in rows for (pid, _), seen in t.items()}, self._proc
        )
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=readings,
            tables=tables,
            notes=(
                *([_NOTE] if counters else []),
                *(f"not counted at {label}: {why}" for label, why in refused.items()),
                *(
                    [f"{missed} events of further processes are left out: the table is full"]
                    if missed
                    else []
                ),
            ),
        )


def _places(target: Target) -> Places:
    """Where the target's programs sit; those that feed its rings, when that can be told."""
    programs = [program for program in inventory.read().programs if program.id in target.program_ids]
    feeding = [program for program in programs if set(map_ids_of(program.id)) & set(target.rings)]
    return attach_points.of(program.attached_to for program in feeding or programs)


def _refusal(places: Places) -> str:
    told = "; ".join(f"{label}: {why}" for label, why in places.refused.items())
    return told or "where the target's programs are attached is not known"


def _attached(places: Places, stack: ExitStack) -> tuple[list[Counter], dict[str, str]]:
    """A counter at each place, closed by the stack; and the places where none could be."""
    counters: list[Counter] = []
    refused = dict(places.refused)
    for place in places.countable:
        if len(counters) == _MOST_PLACES:
            refused[place.label] = f"{_MOST_PLACES} places are watched at most"
            continue
        try:
            counter = Counter(place)
        except BpfError as error:
            refused[place.label] = error.problem.splitlines()[0]
            continue
        stack.callback(counter.close)
        counters.append(counter)
    return counters, refused


def _rings(target: Target, stack: ExitStack) -> list[RingRecords]:
    """The target's rings; closed by the stack."""
    found = []
    for map_id in target.rings:
        with suppress(BpfError, OSError):  # a perf buffer, or a ring that a reload has just replaced
            found.append(stack.enter_context(RingRecords(map_id, target.pid_at)))
    return found


def _in_rings(rings: list[RingRecords], comms: Mapping[int, str], proc: Path) -> dict[str, Reading]:
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


def _since(before: Tallies, after: Tallies) -> Tallies:
    """What came in between."""
    rows = {}
    for key, now in after.items():
        events = now.events - (before[key].events if key in before else 0)
        if events > 0:
            rows[key] = now._replace(events=events)
    return rows


def _told(
    counters: list[Counter], rows: list[Tallies], seconds: float, refused: Mapping[str, str], proc: Path
) -> tuple[dict[str, Reading], dict[str, tuple[dict[str, Scalar], ...]]]:
    """Readings and tables of the busiest place; all unknown when there was none to count at."""
    if not counters:
        why = _refusal(Places(refused=dict(refused)))
        return {name: Reading(missing=why) for name in _UNKNOWN_FIELDS}, {}
    totals = [sum(seen.events for seen in tallies.values()) for tallies in rows]
    busiest = max(range(len(counters)), key=totals.__getitem__)
    label, total, tallies = counters[busiest].place.label, totals[busiest], rows[busiest]
    processes = _by_process(tallies, total, seconds, proc)
    calls = _by_call(tallies, total, seconds)
    points: list[dict[str, Scalar]] = [
        {"attach_point": counter.place.label, "per_s": count / seconds}
        for counter, count in zip(counters, totals, strict=True)
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
        if call != _NO_CALL:
            summed[call] = summed.get(call, 0) + seen.events
    return [
        {"syscall": syscall_names.name_of(call), "per_s": events / seconds, "share": events / total}
        for call, events in sorted(summed.items(), key=lambda item: -item[1])
    ]
