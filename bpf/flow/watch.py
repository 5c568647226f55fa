"""One window over an agent's rings and counters: the samples behind ``event-flow``.

Not here: what the probe promises (``bpf.probes.event_flow``), what the samples mean
(``bpf.flow.readings``).
"""

from __future__ import annotations

import time
from array import array

import msgspec

from bpf.flow.beside import Beside
from bpf.flow.counting import Counters, Tally
from bpf.flow.evidence import evidence_of
from bpf.flow.readings import CUT_SHORT, NO_RING, Seen
from bpf.flow.rings import Rings
from bpf.flow.sampling import RingSamples
from bpf.system.procfs import must_live
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Cost, Evidence, Target

#: A sleep costs some 20 µs of CPU: at 1 ms these alone are 2 % of a core, and a flooded agent feels it.
SAMPLE_EVERY_S = 0.002
#: A long window is sampled less often, so that it never holds more samples than this.
MOST_SAMPLES = 300_000
#: How often the live display gets a number.
SHOW_EVERY_S = 0.25


def watch(target: Target, window: Window) -> Evidence:
    """Watch the rings for one window.

    Raises:
        ProbeFailed: There is neither a ring nor a counter to look at.
        TargetGone: The target ended in the window.
    """
    rings = Rings(target)
    counters = Counters(target)
    try:
        return _watch(target, window, rings, counters)
    finally:
        rings.close()
        counters.close()


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
        no_ring=CUT_SHORT if rings.open else NO_RING,
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
