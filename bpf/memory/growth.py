"""Growth told from noise, in a series of bytes over time.

Its promise: a range that is honest for memory. An allocator takes memory in steps, and what was
taken stays taken, so neighbouring looks hang together and a straight line fitted through them claims
far too much. Here the series is cut into equal blocks of time; each block's growth is one fact; slope and
range are the Hodges-Lehmann estimate over those facts (the median of all pairs' means) and the
signed-rank range around it. One great step is then one fact of many, and no growth.

With n blocks at least six must grow; a saw-tooth (garbage collection) longer than the window
still looks like growth, so longer windows are better.

Not here: reading memory (``bpf.memory.processes``).
Source: Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, chapter 3.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

#: Blocks of a window: enough for a 95 % range (six), few enough that each holds several steps.
_LEAST_BLOCKS, _MOST_BLOCKS = 6, 12
#: Growth below this over a whole window is no growth: a few pages and tables.
NOISE_BYTES = 65536
NOISE_SHARE = 0.002

Points = Sequence[tuple[float, float]]


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """How one series of bytes grew.

    Attributes:
        slope, low, high: Bytes per second, and the ends of its 95 % range.
        growing: The range is above zero and the growth above what readings vary by.
        grown: Last value minus the first.
        early, late: The slope in either half.
        slowing: ``late`` over ``early``; None when it does not grow, or did not in the first half.
        flat_s: How long it has not grown at the end of the window.
        plateau: It does not grow, and the last third was flat.
        steps: Looks in which it grew.
    """

    slope: float
    low: float
    high: float
    growing: bool
    grown: float
    early: float
    late: float
    slowing: float | None
    flat_s: float
    plateau: bool
    steps: int


def growth(points: Points, noise: float = NOISE_BYTES) -> Growth | None:
    """The growth of (seconds, bytes) in order of time; None for fewer looks than blocks.

    Args:
        points: At least 7 looks.
        noise: What readings vary by over a window, bytes; at least 0.2 % of the value.

    Cost: 1 ms for 300 looks.
    """
    looks = sorted(points)
    if len(looks) <= _LEAST_BLOCKS or looks[-1][0] <= looks[0][0]:
        return None
    floor = max(noise, NOISE_SHARE * looks[-1][1])
    slope, low, high = _range(_block_slopes(looks))
    middle = (looks[0][0] + looks[-1][0]) / 2
    early, late = (_mean_slope(looks, span) for span in ((looks[0][0], middle), (middle, looks[-1][0])))
    grown = looks[-1][1] - looks[0][1]
    growing = low > 0 and grown > floor
    flat_s = _flat(looks, floor)
    return Growth(
        slope=slope,
        low=low,
        high=high,
        growing=growing,
        grown=grown,
        early=early,
        late=late,
        slowing=max(0.0, late / early) if grown > floor and early > 0 else None,
        flat_s=flat_s,
        plateau=not growing and flat_s >= (looks[-1][0] - looks[0][0]) / 3 - 1e-9,
        steps=sum(b > a for (_, a), (_, b) in pairwise(looks)),
    )


def estimate(facts: Sequence[float]) -> tuple[float, float, float]:
    """Value and 95 % range of independent facts about one quantity; at least six of them."""
    return _range(facts)


def _block_slopes(looks: Points) -> list[float]:
    """Bytes per second in each of equal stretches of time."""
    blocks = min(_MOST_BLOCKS, max(_LEAST_BLOCKS, (len(looks) - 1) // 4))
    start, end = looks[0][0], looks[-1][0]
    edges = [_at(looks, start + (end - start) * n / blocks) for n in range(blocks + 1)]
    return [(b - a) * blocks / (end - start) for a, b in pairwise(edges)]


def _at(looks: Points, moment: float) -> float:
    """The value at a moment, on the line between its neighbours."""
    after = bisect_right(looks, moment, key=lambda look: look[0])
    if after == len(looks):
        return looks[-1][1]
    (t0, v0), (t1, v1) = looks[max(0, after - 1)], looks[after]
    return v0 + (v1 - v0) * (moment - t0) / (t1 - t0) if t1 > t0 else v1


def _mean_slope(looks: Points, span: tuple[float, float]) -> float:
    return (_at(looks, span[1]) - _at(looks, span[0])) / (span[1] - span[0])


def _flat(looks: Points, floor: float) -> float:
    """Seconds from the end back to the last growth that was more than noise."""
    lowest = highest = looks[-1][1]
    for at, value in reversed(looks):
        lowest, highest = min(lowest, value), max(highest, value)
        if looks[-1][1] - lowest > floor:
            return looks[-1][0] - at
    return looks[-1][0] - looks[0][0]


def _range(facts: Sequence[float]) -> tuple[float, float, float]:
    walsh = sorted((a + b) / 2 for n, a in enumerate(facts) for b in facts[n:])
    outside = _outside(len(facts))
    return median(walsh), walsh[outside], walsh[-1 - outside]


@functools.lru_cache(maxsize=32)
def _outside(count: int) -> int:
    """How many of the sorted pair means lie below a 95 % range of ``count`` facts (six at least).

    From the exact distribution of the signed-rank sum: each rank adds with probability a half.
    """
    ways = [1]
    for rank in range(1, count + 1):
        ways = [
            (ways[total] if total < len(ways) else 0) + (ways[total - rank] if total >= rank else 0)
            for total in range(len(ways) + rank)
        ]
    allowed, below = 0.025 * 2**count, 0
    for total, number in enumerate(ways):
        below += number
        if below > allowed:
            return max(0, total - 1)
    return 0
