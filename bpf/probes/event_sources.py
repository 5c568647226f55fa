"""Which processes, and which system calls, cause the events that a target is given.

Its promise: counted at the agent's own attach point by a small program of ours, every event, none
sampled; where that can't be done the reading is unknown with the reason, never a guess. The
agent may filter what it takes, so these are the events offered to it. Where its profile tells
how to read a record, a sample of the records in its ring says besides whose events reach it.

Costs 30 to 60 ns per event while the window lasts, and up to 16 MiB of memory per attach point.
Not here: what the agent accepted or lost (the ``event-flow`` probe).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from bpf.flow.source_counts import Counter, since
from bpf.flow.source_readings import in_rings, told
from bpf.libbpf import BpfError, usable
from bpf.objects import attach_points, inventory
from bpf.objects.attach_points import Places
from bpf.objects.ring_records import RingRecords
from bpf.probes.asked import named
from bpf.syscall import map_ids_of
from engine.contracts import Window
from engine.values import Evidence, Field, Support, Target

_MOST_PLACES = 6
#: How often records are looked at, seconds.
_LOOK_EVERY_S = 0.02
_NOTE = "these are the events at the agent's attach point, before any filter of its own"


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
        "processes": Field(help="one row per process, the one with the most events first", type="rows"),
        "syscalls": Field(help="one row per system call", type="rows"),
        "points": Field(help="one row per attach point", type="rows"),
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
        return Support(
            answer="no", why=_refusal(places.refused), fix="event-flow and program-cost still work"
        )

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
        rows = [since(old, new) for old, new in zip(before, after, strict=True)]
        labels = [counter.place.label for counter in counters]
        readings, tables = told(labels, rows, seconds or 1.0, _refusal(refused), self._proc)
        comms = {pid: seen.comm for tallies in rows for (pid, _), seen in tallies.items()}
        readings |= in_rings(rings, comms, self._proc)
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


def _refusal(refused: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{label}: {why}" for label, why in refused.items())
    return reasons or "where the target's programs are attached is not known"


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
