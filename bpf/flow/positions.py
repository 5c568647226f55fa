"""Fill, rates and the reader's rhythm, from the positions of one ring buffer.

Its promise: all figures are in bytes and need nothing of the agent, neither a counter nor
the size of its records; what they can't show is None, never a guess.

Not here: the arrivals' shape and what was lost (``bpf.flow.bursts``), turning bytes into
events (``bpf.flow.readings``).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from bpf.flow.trace import ASLEEP, BUSY, CAUGHT_UP, HELD_UP, Trace, full_from, reader_states, runs

#: A full spell ends when this share of the ring is free again: a reader that frees one batch
#: at a time does not end a spell with each batch.
SPELL_ENDS_AT_FILL = 0.9
#: Fewer fully busy intervals than this can't carry a service rate.
ENOUGH_BUSY = 3
#: A staircase needs the reader to sleep for this share of the time that data waits.
STAIRCASE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Fill:
    """How full the ring was.

    Attributes:
        peak, mean: 0.0 to 1.0. ``mean`` is weighted by time.
        full_share: Share of the time at which it was full.
        spells: Start and end (monotonic seconds) of each stretch in which it was full.
        spare_bytes: Bytes that surely stayed free the whole time: the producer's next position
            less the reader's last one bounds the fill between two samples. May be negative,
            when samples lie too far apart to tell.
    """

    peak: float
    mean: float
    full_share: float
    spells: tuple[tuple[float, float], ...]
    spare_bytes: int


@dataclass(frozen=True, slots=True)
class Reader:
    """How the reader moved.

    Attributes:
        service: Bytes per second while data waited and the reader was not asleep.
        service_exact: False when the reader was never behind long enough to see its limit;
            ``service`` is then the fastest interval seen, so a lower bound.
        poll_interval_s: Median time without movement while data waited; None when the reader
            wakes for data (no staircase).
        asleep_share, held_up_share: Share of the time without movement although data waited:
            after having caught up, and in the middle of a backlog.
        drains_to_zero_share: Share of the reader's drains that emptied the ring.
        fill_after_drain: Mean share of the ring still in use at the end of a drain.
        moved: Whether it moved at all.
        flat_longest_s: Longest time without movement while data waited.
    """

    service: float
    service_exact: bool
    poll_interval_s: float | None
    asleep_share: float
    held_up_share: float
    drains_to_zero_share: float | None
    fill_after_drain: float | None
    moved: bool
    flat_longest_s: float


def fill_of(trace: Trace, record_bytes: float | None) -> Fill:
    """The fill over time; each sample stands for the interval that it ends."""
    full, ends = full_from(trace.size, record_bytes), SPELL_ENDS_AT_FILL * trace.size
    times, consumer, producer = trace.times, trace.consumer, trace.producer
    peak, weighted, full_s, most = 0, 0.0, 0.0, 0
    spells: list[tuple[float, float]] = []
    began: float | None = None
    for i in range(1, len(times)):
        used = min(max(0, producer[i] - consumer[i]), trace.size)
        step = times[i] - times[i - 1]
        most = max(most, producer[i] - consumer[i - 1])
        peak = max(peak, used)
        weighted += used * step
        if used >= full:
            full_s += step
            began = times[i - 1] if began is None else began
        elif began is not None and used < ends:
            spells.append((began, times[i - 1]))
            began = None
    if began is not None:
        spells.append((began, times[-1]))
    whole = trace.seconds or 1.0
    return Fill(
        peak=peak / trace.size,
        mean=weighted / whole / trace.size,
        full_share=full_s / whole,
        spells=tuple(spells),
        spare_bytes=trace.size - most,
    )


def reader_of(trace: Trace, states: bytearray | None = None) -> Reader:
    """The reader's rhythm and limit."""
    states = reader_states(trace) if states is None else states
    whole = trace.seconds or 1.0
    service, exact = _service(trace, states)
    asleep, held_up, waited = _standing(trace, states)
    flats = _flats(trace, states)
    enough = waited > 0 and (asleep + held_up) >= STAIRCASE_SHARE * waited
    zero_share, left = _drains(trace, states)
    return Reader(
        service=service,
        service_exact=exact,
        poll_interval_s=median(flats) if flats and enough and len(flats) > 1 else None,
        asleep_share=asleep / whole,
        held_up_share=held_up / whole,
        drains_to_zero_share=zero_share,
        fill_after_drain=left,
        moved=len(trace.consumer) > 1 and trace.consumer[-1] != trace.consumer[0],
        flat_longest_s=max(flats, default=0.0),
    )


def _service(trace: Trace, states: bytearray) -> tuple[float, bool]:
    """Bytes per second while behind, and whether that is the limit or a lower bound.

    The interval in which the reader wakes is left out: it worked for a part of it only.
    """
    times, consumer = trace.times, trace.consumer
    taken, busy_s, busy, fastest = 0, 0.0, 0, 0.0
    before = CAUGHT_UP
    for i, state in enumerate(states):
        step, got = times[i + 1] - times[i], consumer[i + 1] - consumer[i]
        if state in (BUSY, HELD_UP) and before != ASLEEP:
            taken += got
            busy_s += step
            busy += state == BUSY
        if step > 0:
            fastest = max(fastest, got / step)
        before = state
    if busy >= ENOUGH_BUSY and busy_s > 0:
        return taken / busy_s, True
    return fastest, False


def _standing(trace: Trace, states: bytearray) -> tuple[float, float, float]:
    """Seconds asleep, held up, and in which data waited at all."""
    times, consumer, producer = trace.times, trace.consumer, trace.producer
    spent = [0.0, 0.0, 0.0, 0.0]
    for i, state in enumerate(states):
        if state != CAUGHT_UP or producer[i] > consumer[i]:
            spent[state] += times[i + 1] - times[i]
    return spent[ASLEEP], spent[HELD_UP], sum(spent)


def _flats(trace: Trace, states: bytearray) -> list[float]:
    """Lengths of the stretches without movement while data waited, two intervals or longer.

    A stretch at the edge of the window is longer than was seen: it counts only when there is
    no whole one. A stretch in which data waited for less than half of the time says more about
    the arrivals than about the reader, and is left out.
    """
    times = trace.times
    whole: list[float] = []
    cut: list[float] = []
    last_moved = times[0] if times else 0.0
    for state, first, end in runs(states):
        if state in (ASLEEP, HELD_UP):
            length, waiting = times[end] - last_moved, times[end] - times[first]
            if end - first >= 2 and waiting >= length / 2:
                inside = first > 0 and end < len(states)
                (whole if inside else cut).append(length)
        moved = [i for i in range(first, end) if trace.consumer[i + 1] != trace.consumer[i]]
        last_moved = times[moved[-1] + 1] if moved else last_moved
    return whole or cut


def _drains(trace: Trace, states: bytearray) -> tuple[float | None, float | None]:
    """Share of drains that emptied the ring, and what they left on average (share of the ring).

    A drain is a stretch in which the reader moves from sample to sample; what it leaves is what
    had lain there one sample before it stopped.
    """
    consumer, producer = trace.consumer, trace.producer
    lefts = []
    for i in range(len(states)):
        moves = consumer[i + 1] != consumer[i]
        goes_on = i + 1 < len(states) and consumer[i + 2] != consumer[i + 1]
        if moves and not goes_on:
            lefts.append(max(0, producer[i] - consumer[i + 1]) / trace.size)
    if not lefts:
        return None, None
    return sum(left == 0 for left in lefts) / len(lefts), sum(lefts) / len(lefts)
