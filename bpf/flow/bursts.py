"""The shape of the arrivals, and the ring that would have held them.

Its promise: what was lost is part of the arrivals. The offered bytes of an interval are what
the ring accepted and what it refused, so a burst that a full ring cut off is seen whole as far
as its losses are counted.

Not here: the positions' own figures (``bpf.flow.positions``), counting (``bpf.flow.counters``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from bpf.flow.trace import ASLEEP, BUSY, CAUGHT_UP, HELD_UP, Trace, full_from

Pattern = Literal["quiet", "steady", "bursts", "sustained"]

#: Arrivals are binned this fine to judge their shape; several samples each.
BIN_S = 0.005
BIN_SAMPLES = 5
#: Bins hold bursts when the rate at which most events come is this many times the usual one.
BURSTY = 2.5
#: Rates within a gap this short belong to the same burst.
JOIN_S = 0.02
#: Without a loss counter the arrivals of an overloaded ring equal what its reader takes.
ABOUT = 0.98
#: A spell with less than this share of the usual burst's bytes is noise.
SMALL_BURST = 0.2
#: Below this many bytes in a window the arrivals have no shape.
QUIET_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When the events came.

    Attributes:
        pattern: ``sustained`` is steady and above what the reader can take.
        offered: Bytes per second over the window, with what was lost.
        burst: Bytes per second inside the bursts; None without bursts, as the next two.
        burst_s: Median length of a burst.
        spacing_s: Median time from one burst to the next; None for a single one.
        needed_bytes: The ring that would have lost nothing: the highest backlog that these
            arrivals and this reader would have built up in a ring without limit.
    """

    pattern: Pattern
    offered: float
    burst: float | None
    burst_s: float | None
    spacing_s: float | None
    needed_bytes: float


def spread_losses(trace: Trace, counts: Sequence[tuple[float, float]], record: float | None) -> list[float]:
    """Losses counted at a few moments, laid over the samples: events lost up to each sample.

    A loss happens while the ring is full, so what was counted between two moments is laid
    evenly over the full time between them, and over all of it when none was seen full.

    Args:
        trace: The samples.
        counts: (monotonic seconds, events lost so far), ascending.
        record: Bytes of a record in the ring, when known.
    """
    times, full = trace.times, full_from(trace.size, record)
    lost = [0.0] * len(times)
    for (a, at_a), (b, at_b) in pairwise(counts):
        more = at_b - at_a
        first, end = max(1, bisect_right(times, a)), bisect_right(times, b)
        if more <= 0 or end <= first:
            end = max(end, min(first + 1, len(times)))
        spans = range(first, end)
        weights = [
            times[i] - times[i - 1] if trace.producer[i] - trace.consumer[i] >= full else 0.0 for i in spans
        ]
        if not any(weights):
            weights = [times[i] - times[i - 1] for i in spans]
        whole = sum(weights)
        for i, weight in zip(spans, weights, strict=True):
            lost[i] += more * weight / whole if whole > 0 else 0.0
    total = 0.0
    for i, here in enumerate(lost):
        total += here
        lost[i] = total
    return lost


def offered_bytes(trace: Trace, record: float | None) -> list[float]:
    """Bytes that wanted into the ring in each interval; without ``record`` those it accepted."""
    producer, lost = trace.producer, trace.lost
    accepted = [float(b - a) for a, b in pairwise(producer)]
    if not lost or not record:
        return accepted
    return [got + (lost[i + 1] - lost[i]) * record for i, got in enumerate(accepted)]


def arrivals_of(trace: Trace, states: bytearray, service: float, record: float | None) -> Arrivals:
    """The shape of the arrivals against a reader of ``service`` bytes per second."""
    offered = offered_bytes(trace, record)
    whole = trace.seconds or 1.0
    rate = sum(offered) / whole
    spells = _bursts(trace.times, offered) if sum(offered) >= QUIET_BYTES else []
    pattern: Pattern = "steady"
    if sum(offered) < QUIET_BYTES:
        pattern = "quiet"
    elif spells:
        pattern = "bursts"
    if _behind_share(trace, states) > 0.5 and rate >= ABOUT * service > 0:
        pattern, spells = "sustained", []
    inside = sum(sum(offered[a:b]) for a, b in spells)
    lengths = [trace.times[b] - trace.times[a] for a, b in spells]
    starts = [trace.times[a] for a, _ in spells]
    gaps = [b - a for a, b in pairwise(starts)]
    return Arrivals(
        pattern=pattern,
        offered=rate,
        burst=inside / sum(lengths) if lengths else None,
        burst_s=median(lengths) if lengths else None,
        spacing_s=median(gaps) if gaps else None,
        needed_bytes=_needed(trace, states, service, record),
    )


def _behind_share(trace: Trace, states: bytearray) -> float:
    """Share of the time in which the reader worked and did not catch up."""
    times = trace.times
    behind = sum(times[i + 1] - times[i] for i, state in enumerate(states) if state in (BUSY, HELD_UP))
    return behind / (trace.seconds or 1.0)


def _needed(trace: Trace, states: bytearray, service: float, record: float | None) -> float:
    """The highest backlog in a ring without limit.

    What a full ring refused would have waited behind what it held. That excess shrinks at the
    service rate when the real reader had time to spare; what is lost while the reader sleeps
    waits until it wakes, and only the older excess would have kept it from falling asleep.
    """
    times, consumer, producer, lost = trace.times, trace.consumer, trace.producer, trace.lost
    excess, while_asleep, highest = 0.0, 0.0, 0.0
    for i, state in enumerate(states):
        more = (lost[i + 1] - lost[i]) * record if lost and record else 0.0
        if state == ASLEEP:
            while_asleep += more
        else:
            excess, while_asleep = excess + while_asleep + more, 0.0
        if excess > 0 and state in (ASLEEP, CAUGHT_UP):
            spare = service * (times[i + 1] - times[i]) - (consumer[i + 1] - consumer[i])
            excess = max(0.0, excess - max(0.0, spare))
        highest = max(highest, excess + while_asleep + producer[i + 1] - consumer[i + 1])
    return highest


def _bursts(times: Sequence[float], offered: Sequence[float]) -> list[tuple[int, int]]:
    """Bursts as (first interval, one past the last); empty when the arrivals are even.

    The usual rate is the one that three quarters of the *time* reach; the busy rate the one at
    which the busiest tenth of the *bytes* comes. Far apart, they are bursts, and a burst is
    where the rate is nearer to the busy one.
    """
    bins = _binned(times, offered)
    rates = sorted(rate for _, _, rate, _ in bins)
    usual, busy = rates[len(rates) // 4], _busy_rate(bins)
    if busy < BURSTY * max(usual, 1.0):
        return []
    level = (usual + busy) / 2
    spells: list[tuple[int, int]] = []
    for first, end, rate, _ in bins:
        if rate < level:
            continue
        if spells and times[first] - times[spells[-1][1]] <= JOIN_S:
            spells[-1] = (spells[-1][0], end)
        else:
            spells.append((first, end))
    usual_size = median([sum(offered[a:b]) for a, b in spells])
    whole = [(a, b) for a, b in spells if sum(offered[a:b]) >= SMALL_BURST * usual_size]
    return [_trimmed(times, offered, spell, level) for spell in whole]


def _binned(times: Sequence[float], offered: Sequence[float]) -> list[tuple[int, int, float, float]]:
    """Bins of at least ``BIN_S`` and ``BIN_SAMPLES``: (first interval, end, bytes/s, bytes)."""
    bins = []
    first = 0
    for i in range(len(offered)):
        length = times[i + 1] - times[first]
        if (i + 1 - first >= BIN_SAMPLES and length >= BIN_S) or i + 1 == len(offered):
            here = sum(offered[first : i + 1])
            bins.append((first, i + 1, here / length if length > 0 else 0.0, here))
            first = i + 1
    return bins


def _busy_rate(bins: Sequence[tuple[int, int, float, float]]) -> float:
    """The rate that the busiest tenth of the bytes came at or above."""
    tenth = sum(here for *_, here in bins) / 10
    for _, _, rate, here in sorted(bins, key=lambda item: -item[2]):
        tenth -= here
        if tenth <= 0:
            return rate
    return 0.0


def _trimmed(
    times: Sequence[float], offered: Sequence[float], spell: tuple[int, int], level: float
) -> tuple[int, int]:
    """A burst without the quiet samples that its first and last bin brought along."""
    first, end = spell
    while end - first > 1 and offered[first] < level * (times[first + 1] - times[first]):
        first += 1
    while end - first > 1 and offered[end - 1] < level * (times[end] - times[end - 1]):
        end -= 1
    return first, end
