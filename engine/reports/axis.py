"""The time axis of charts: seconds since the run's start, without the stretches in which it waited.

A run that waits an hour for a yes would else be an hour of nothing with a sliver at each end.
One promise: what is written along the axis is the true time since the start.

Not here: drawing (``engine.reports.charts``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine import record

#: A shorter pause is drawn as it was, in seconds.
SHORTEST_S = 15.0
#: What others write down while a run stands still.
_FROM_OUTSIDE = (record.Ruled, record.Answered, record.Barred, record.Alerted, record.Extended)


class Pause(NamedTuple):
    """A stretch in which nothing was done. ``at``: epoch seconds of its beginning."""

    at: float
    seconds: float


class Axis(NamedTuple):
    """Time along a chart. ``start``, ``end``: of the run, epoch seconds."""

    start: float
    end: float
    pauses: Sequence[Pause] = ()

    @property
    def length(self) -> float:
        """How many seconds are drawn; at least one."""
        return max(self.along(self.end), 1.0)

    def along(self, at: float) -> float:
        """Where a moment is drawn: seconds from the axis's beginning."""
        left_out = sum(min(max(at - pause.at, 0.0), pause.seconds) for pause in self.pauses)
        return at - self.start - left_out

    def told(self, along: float) -> float:
        """What is written there: seconds since the run's start."""
        for pause in self.pauses:
            if along > pause.at - self.start:
                along += pause.seconds
        return along


def pauses(run: record.Run) -> tuple[Pause, ...]:
    """The stretches before a run was taken up again: it waited for somebody, or had been broken off."""
    found, last = [], run.head.started_at
    for event in run.events:
        if isinstance(event, record.Resumed) and event.at - last >= SHORTEST_S:
            found.append(Pause(last, event.at - last))
        if not isinstance(event, _FROM_OUTSIDE):
            last = event.at
    return tuple(found)
