"""How events flow through an agent's ring buffer: in, out, lost, and how full it ran.

Its promise: it works from outside on any agent, says which source served each number, and an
agent that reloads or dies in the window is noticed, not averaged over.

Rungs for losses: the agent's BPF counter → its BPF map → its metric → its log line → the kernel's
own count, where it keeps one (``bpf.flow.kernel_losses``) → the time for which the ring was full.
Rings are seen from kernel 5.8 on; of perf buffers only the losses.

Not here: what the samples mean (``bpf.flow``), why events are lost (``bpf.diagnoses.event_loss``).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping

import msgspec

from bpf.flow.beside import Beside
from bpf.flow.counting import Counters, Tally
from bpf.flow.evidence import evidence_of
from bpf.flow.fields import FIELDS
from bpf.flow.readings import Seen
from bpf.flow.rings import Rings
from bpf.flow.sampling import RingSamples
from bpf.library import usable
from bpf.procfs import PERF_EVENT_ARRAY, RINGBUF, held_maps, must_live
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Cost, Evidence, Field, Support, Target

SAMPLE_EVERY_S = 0.001
#: A long window is sampled less often, so that it never holds more samples than this.
MOST_SAMPLES = 300_000
#: How often the live display gets a number.
SHOW_EVERY_S = 0.25


class EventFlow:
    """The probe ``event-flow``."""

    name = "event-flow"
    short = "flow"
    summary = "events in, out and lost per second, and how full the ring buffer runs"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {"sample_every": "time between two looks at the ring, 1ms by default"}
    needs_target = True
    cpu_ceiling = 0.15

    def supported(self, target: Target | None) -> Support:
        """Needs root, and a ring buffer or a counter to look at."""
        support = usable()
        if support.answer != "yes" or target is None:
            return support
        if target.rings or target.map_ids or target.counters or _holds_buffers(target):
            return Support(answer="yes", why="ring buffer positions can be mapped, or the agent counts")
        return Support(
            answer="no",
            why=f"{target.name} holds no BPF maps and its profile names no counters",
            fix="see runbook targets; name its rings and counters in an agent profile",
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch the rings for one window."""
        if target is None:
            raise ProbeFailed("event-flow needs a target", fix="name one with --target")
        rings = Rings(target)
        counters = Counters(target)
        try:
            return _watch(target, window, rings, counters)
        finally:
            rings.close()
            counters.close()


def _holds_buffers(target: Target) -> bool:
    """Whether its processes hold a ring or perf buffer, whatever the profile knows."""
    kinds = (kind for process in target.processes for kind in held_maps(process.pid).values())
    return any(kind in (RINGBUF, PERF_EVENT_ARRAY) for kind in kinds)


def _watch(target: Target, window: Window, rings: Rings, counters: Counters) -> Evidence:
    if not rings.open and not counters.all:
        raise ProbeFailed(
            f"{target.name} has no ring buffer to look at, and none of its counters can be read: "
            + ("; ".join([*rings.notes, *counters.notes]) or "its profile names none"),
            fix="see runbook targets; name its rings and counters in an agent profile",
        )
    clock = window.clock
    started_at = window.begin()
    offset = clock.now() - clock.monotonic()
    cpu = time.thread_time()
    beside = Beside(target, rings, counters, clock.monotonic)
    beside.start()
    try:
        fine = _sample(window, rings, counters, beside)
    finally:
        beside.stop()
    must_live(target)
    for tally, moments, values in fine:
        tally.add_all(moments, values)
    seen = Seen(
        rings=rings.seen(),
        dropped=counters.dropped,
        received=counters.received,
        payload_bytes=target.record_bytes,
        epoch_offset=offset,
    )
    notes = [*rings.notes, *counters.notes]
    evidence = evidence_of(seen, target.name, started_at, clock.now(), notes)
    spent = time.thread_time() - cpu + beside.cpu_s
    return msgspec.structs.replace(evidence, cost=Cost(cpu_s=spent, wall_s=clock.now() - started_at))


def _sample(
    window: Window, rings: Rings, counters: Counters, beside: Beside
) -> list[tuple[Tally, array[float], array[float]]]:
    """Take samples until the window ends; gives the counts that were read along with them."""
    clock = window.clock
    every = max(_seconds(window), window.seconds / MOST_SAMPLES)
    cheap = [(tally, array("d"), array("d")) for tally in counters.all if tally.source.cheap]
    shown = clock.monotonic()
    for _ in window.ticks(every):
        moment = clock.monotonic()
        for ring in rings.open:
            ring.take(moment)
        for tally, moments, values in cheap:
            value = tally.source.read()
            if value is not None:
                moments.append(moment)
                values.append(value)
        if moment - shown >= SHOW_EVERY_S:
            shown = moment
            _show(window, rings.open)
        if beside.gone:
            break
    return cheap


def _seconds(window: Window) -> float:
    asked = window.options.get("sample_every")
    if asked is None:
        return SAMPLE_EVERY_S
    if not isinstance(asked, int | float) or isinstance(asked, bool) or not 0.0001 <= asked <= 1:
        raise ProbeFailed(f"sample_every can't be {asked!r}", fix="a duration from 100us to 1s: 1ms")
    return float(asked)


def _show(window: Window, rings: tuple[RingSamples, ...]) -> None:
    for ring in rings:
        window.show(f"{ring.name} in use", ring.fill, "share")
