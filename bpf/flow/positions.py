"""Fill, rates and the reader's rhythm, from the positions of one ring buffer.

Its promise: all figures are in bytes and need nothing of the agent, neither a counter nor
the size of its records; what they can't show is None, never a guess.

Not here: the arrivals' shape and what was lost (``bpf.flow.bursts``), turning bytes into
events (``bpf.flow.readings``).
"""

from __future__ import annotations

from dataclasses import dataclass

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
        poll_interval_s: Time without movement while data waited, by the median of the standing
            time; None when the reader wakes for data (no staircase).
        asleep_share, held_up_share: Share of the time without movement although data waited:
            after having caught up, and in the middle of a backlog.
        drains_to_zero_share: Share of the reader's stops before which it had emptied the ring.
        fill_after_drain: Mean share of the ring still in use when it stops.
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
        mean=min(weighted / whole, peak) / trace.size,  # sums of floats may end a hair above
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
    stands = _stands(trace, states)
    staircase = len(stands) > 1 and asleep + held_up >= STAIRCASE_SHARE * waited
    usual = _usual([stand.length for stand in stands]) if staircase else None
    lefts = [stand.left for stand in stands if stand.length >= usual / 2] if usual else _pauses(trace)
    return Reader(
        service=service,
        service_exact=exact,
        poll_interval_s=usual,
        asleep_share=asleep / whole,
        held_up_share=held_up / whole,
        drains_to_zero_share=sum(left == 0 for left in lefts) / len(lefts) if lefts else None,
        fill_after_drain=sum(lefts) / len(lefts) / trace.size if lefts else None,
        moved=len(trace.consumer) > 1 and trace.consumer[-1] != trace.consumer[0],
        flat_longest_s=max((stand.length for stand in stands), default=0.0),
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


@dataclass(frozen=True, slots=True)
class _Stand:
    """The reader standing still while data waits.

    Attributes:
        length: Seconds without movement.
        left: Bytes that it had left in the ring when it stopped.
    """

    length: float
    left: int


def _stands(trace: Trace, states: bytearray) -> list[_Stand]:
    """Where the reader stood still while data waited, for two intervals or longer.

    A stand at the edge of the window is longer than was seen: it counts only when there is no
    whole one. One in which data waited for less than half of the time says more about the
    arrivals than about the reader, and is left out.
    """
    times, consumer = trace.times, trace.consumer
    whole: list[_Stand] = []
    cut: list[_Stand] = []
    stopped = 0  # the sample at which the reader last moved
    for state, first, end in runs(states):
        if state in (ASLEEP, HELD_UP):
            length, waiting = times[end] - times[stopped], times[end] - times[first]
            if end - first >= 2 and waiting >= length / 2:
                left = max(0, trace.producer[stopped - 1] - consumer[stopped]) if stopped else 0
                inside = stopped > 0 and end < len(states)
                (whole if inside else cut).append(_Stand(length, left))
        else:
            last = next((i for i in range(end - 1, first - 1, -1) if consumer[i + 1] != consumer[i]), None)
            stopped = stopped if last is None else last + 1
    return whole or cut


def _usual(lengths: list[float]) -> float:
    """The length that half of the standing *time* reaches: a few short stumbles do not count."""
    half, so_far = sum(lengths) / 2, 0.0
    for length in sorted(lengths):
        so_far += length
        if so_far >= half:
            return length
    return 0.0


def _pauses(trace: Trace) -> list[int]:
    """What the reader left in the ring each time it did not go on from one sample to the next.

    For a reader without a staircase. What it leaves is what had lain there one sample before.
    """
    consumer, producer = trace.consumer, trace.producer
    lefts = []
    for i in range(len(consumer) - 1):
        moves = consumer[i + 1] != consumer[i]
        goes_on = i + 2 < len(consumer) and consumer[i + 2] != consumer[i + 1]
        if moves and not goes_on:
            lefts.append(max(0, producer[i] - consumer[i + 1]))
    return lefts
