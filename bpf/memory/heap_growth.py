"""Growth between two heap profiles, by the function that allocated.

Pure. Its promise: growth within the profiles' own sampling error is none. Each sampled allocation stands for
``rate`` bytes, so what came and went between the two is known to the root of (bytes × rate); twice that
must be passed.

Not here: reading profiles (``bpf.memory.pprof``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import sqrt

import msgspec

from bpf.memory.pprof import Profile, Sample
from engine.values import Scalar

_MOST_SITES = 30
_DEFAULT_RATE = 524288  # Go's and gperftools'


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """One function, or one stack, in both profiles.

    Attributes:
        bytes, objects: Live in the second one.
        growth: Bytes more than in the first.
        error: What growth may be by sampling alone.
    """

    site: str
    stack: tuple[str, ...]
    bytes: int
    objects: int
    growth: int
    error: float

    @property
    def grows(self) -> bool:
        """More than sampling explains."""
        return self.growth > self.error


def by_function(first: Profile, last: Profile) -> list[Grown]:
    """By function, the one that grew most first; then the largest."""
    return _grown(first, last, lambda stack: stack[:1])


def by_stack(first: Profile, last: Profile) -> list[Grown]:
    """By stack, in the same order."""
    return _grown(first, last, lambda stack: stack)


def rows(found: Iterable[Grown], seconds: float) -> tuple[dict[str, Scalar], ...]:
    """A table of stacks, the greatest only."""
    held = list(found)
    whole = sum(one.bytes for one in held) or 1
    return tuple(
        {
            "site": one.site,
            "stack": " ← ".join(one.stack),
            "bytes": one.bytes,
            "objects": one.objects,
            "share": one.bytes / whole,
            "growth_bytes": one.growth,
            "growth_bytes_per_s": one.growth / seconds,
            "grows": one.grows,
        }
        for one in held[:_MOST_SITES]
    )


def _grown(first: Profile, last: Profile, key: Callable[[tuple[str, ...]], tuple[str, ...]]) -> list[Grown]:
    before, after = _summed(first.samples, key), _summed(last.samples, key)
    rate = last.sample_bytes or _DEFAULT_RATE
    found = []
    for stack, now in after.items():
        was = before.get(stack, (0, 0, 0))
        growth = now[0] - was[0]
        # What came and what went; all may have, where it is not told what was ever allocated.
        moved = 2 * (now[2] - was[2]) - growth if now[2] >= was[2] and now[2] else now[0] + was[0]
        found.append(
            Grown(
                site=stack[0] if stack else "[unknown]",
                stack=stack,
                bytes=now[0],
                objects=now[1],
                growth=growth,
                error=2 * max(rate, sqrt(max(0, moved) * rate)),
            )
        )
    return sorted(found, key=lambda one: (not one.grows, -one.growth if one.grows else 0, -one.bytes))


def _summed(
    samples: Iterable[Sample], key: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Live bytes, live objects and bytes ever allocated."""
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for sample in samples:
        part = sums[key(sample.stack)]
        part[0] += sample.bytes
        part[1] += sample.objects
        part[2] += sample.allocated or 0
    return {stack: (part[0], part[1], part[2]) for stack, part in sums.items()}
