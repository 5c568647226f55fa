"""Few points that still show what thousands of samples saw.

Its promise: a chart of fill keeps every peak, a chart of a rate keeps its area, so what a
person reads off it is what happened.

Not here: drawing (``engine.reports``).
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.values import Series

POINTS = 300


def peaks(
    label: str, unit: str, times: Sequence[float], values: Sequence[float], points: int = POINTS
) -> Series:
    """At most ``points`` points, each the highest value of its stretch, at its own moment."""
    if len(times) <= points:
        return Series(label=label, unit=unit, times=tuple(times), values=tuple(values))
    kept = [max(range(a, b), key=values.__getitem__) for a, b in _stretches(len(times), points)]
    return Series(
        label=label, unit=unit, times=tuple(times[i] for i in kept), values=tuple(values[i] for i in kept)
    )


def rates(
    label: str, unit: str, times: Sequence[float], amounts: Sequence[float], points: int = POINTS
) -> Series:
    """At most ``points`` rates from amounts per interval; ``times`` has one more than ``amounts``.

    Each is the mean rate of its stretch and stands at the stretch's middle.
    """
    middles, values = [], []
    for a, b in _stretches(len(amounts), min(points, len(amounts))):
        length = times[b] - times[a]
        if length > 0:
            middles.append((times[a] + times[b]) / 2)
            values.append(sum(amounts[a:b]) / length)
    return Series(label=label, unit=unit, times=tuple(middles), values=tuple(values))


def _stretches(count: int, parts: int) -> list[tuple[int, int]]:
    """``count`` items cut into ``parts`` runs of nearly equal length."""
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)] if count else []
