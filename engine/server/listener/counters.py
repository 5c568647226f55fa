"""What the listener counts of itself.

One promise: nothing that a stranger chooses becomes a label; a refusal is logged at most once a minute
for each reason, with how many there were.

Not here: how it is shown (``metrics``), what the worker counts.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from typing import Final

from engine.server.log import Log

#: Upper bounds in seconds of the buckets of the time to answer.
BOUNDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SAID_EVERY_S: Final = 60.0


class Counters:
    """Numbers since the start; one loop writes them.

    Attributes:
        requests: (sender, status) → requests for alerts; the sender is empty where it is not known to be one.
        refusals: Reason → how many.
        alerts: Sender → alerts that were read and offered.
        buckets: Of the time to answer, each for itself; the last without bound.
    """

    def __init__(self, log: Log | None = None) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self._log = log
        self._said: dict[str, tuple[float, int]] = {}

    def answered(self, sender: str, status: int, took_s: float) -> None:
        """A request for alerts got its answer."""
        self.requests[sender, status] += 1
        self.buckets[bisect_left(BOUNDS, took_s)] += 1
        self.seconds += took_s

    def refused(self, reason: str, address: str = "") -> None:
        """Something was refused; ``address``: of the last one, for the log."""
        self.refusals[reason] += 1
        at, before = self._said.get(reason, (0.0, 0))
        now = time.monotonic()
        if self._log is not None and (not at or now - at >= _SAID_EVERY_S):
            number = self.refusals[reason]
            self._said[reason] = now, number
            self._log.warning("refused", reason=reason, last_from=address, times=number - before)
