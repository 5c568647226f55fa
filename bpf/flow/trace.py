"""The positions of one ring buffer over time, and what its reader did between two of them.

Its promise: every judgement here follows from two samples alone, so it holds however far
apart they are. A reader that has passed the producer's *earlier* position was caught up; one
that has not was behind for the whole interval.

Not here: taking samples (``bpf.probes.event_flow``), rates and spells (``bpf.flow.positions``),
bursts (``bpf.flow.bursts``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd

#: What the reader did between two samples.
CAUGHT_UP = 0  # it had taken everything that lay there at the interval's start
ASLEEP = 1  # it did not move although data waited, and it had been caught up before
HELD_UP = 2  # it did not move, in the middle of a backlog: throttled, starved, or a batch limit
BUSY = 3  # it moved and did not catch up

#: From this fill on a ring counts as full when the record size is not known.
FULL = 0.99
#: Fewer positions of the producer than this do not show its step; nor is one a larger share of a ring.
ENOUGH_STEPS = 8
LARGEST_STEP = 0.125


@dataclass(frozen=True, slots=True)
class Trace:
    """Samples of one BPF ring buffer.

    Attributes:
        size: Bytes of data area (``max_entries`` of the map).
        times: Monotonic seconds of each sample.
        consumer, producer: Positions in bytes since the ring was made; they never go back.
        lost: Events lost at this ring up to each sample, as far as they are counted; empty
            when nothing counts them.
    """

    size: int
    times: Sequence[float]
    consumer: Sequence[int]
    producer: Sequence[int]
    lost: Sequence[float] = ()

    @property
    def seconds(self) -> float:
        """From the first sample to the last one."""
        return self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0


def record_in_ring(payload_bytes: int) -> int:
    """What a record takes in a ring: 8 bytes of header, rounded up to 8.

    Source: ``__bpf_ringbuf_reserve`` in kernel/bpf/ringbuf.c (5.8 and later).
    """
    return (payload_bytes + 8 + 7) // 8 * 8


def step_of(trace: Trace) -> int:
    """What every step of the producer is a multiple of: the records' size, where all have one size.

    At least one record; several where they always come together. Records of many sizes leave 8, to
    which all are rounded. 0 when too little came to tell, or steps as large as no record is.
    """
    places = set(trace.producer)
    if len(places) < ENOUGH_STEPS:
        return 0
    start = min(places)
    step = gcd(*(place - start for place in places))
    return step if step <= trace.size * LARGEST_STEP else 0


def full_from(size: int, record_bytes: float | None) -> float:
    """The bytes in use from which a ring counts as full.

    99 % of it; in a small ring less, when one more record would not fit. The kernel refuses a
    record that would bring the bytes in use above ``size - 1``.
    """
    limit = FULL * size
    return limit if not record_bytes else min(limit, size - record_bytes)


def reader_states(trace: Trace) -> bytearray:
    """What the reader did in each interval between samples: one less than there are samples.

    A first interval without movement counts as ``ASLEEP``: what came before it is unknown.
    """
    consumer, producer = trace.consumer, trace.producer
    states = bytearray(max(0, len(consumer) - 1))
    before = CAUGHT_UP
    for i in range(len(states)):
        now = consumer[i + 1]
        if now >= producer[i]:
            state = CAUGHT_UP
        elif now != consumer[i]:
            state = BUSY
        else:
            state = ASLEEP if before in (CAUGHT_UP, ASLEEP) else HELD_UP
        states[i] = before = state
    return states


def runs(states: bytearray) -> Iterator[tuple[int, int, int]]:
    """Stretches of equal state: (state, first interval, one past the last)."""
    start = 0
    for i, (a, b) in enumerate(pairwise(states), start=1):
        if a != b:
            yield states[start], start, i
            start = i
    if states:
        yield states[start], start, len(states)
