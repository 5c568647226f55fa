"""What the listener counts of itself.

One promise: nothing that a stranger chooses becomes a label; a refusal is logged at most once a minute
for each reason, with how many there were, and so is what a sender leaves out.

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
        left_out: Sender → alerts that it has left out of its notifications, by its own words.
        buckets: Of the time to answer, each for itself; the last without bound.
    """

    def __init__(self, log: Log | None = None) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
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
        if times := self._news(reason, self.refusals[reason]):
            self._say("refused", reason=reason, last_from=address, times=times)

    def left_out_by(self, sender: str, number: int) -> None:
        """A sender says that it has more alerts than stand in its notification."""
        self.left_out[sender] += number
        if alerts := self._news(f"left out by {sender}", self.left_out[sender]):
            fix = "raise max_alerts of its webhook, or group alerts in more groups"
            self._say("alerts left out by their sender", sender=sender, alerts=alerts, fix=fix)

    def _news(self, what: str, number: int) -> int:
        """How many there were since it was said last; 0 when that was just now."""
        at, before = self._said.get(what, (0.0, 0))
        now = time.monotonic()
        if at and now - at < _SAID_EVERY_S:
            return 0
        self._said[what] = now, number
        return number - before

    def _say(self, event: str, **values: object) -> None:
        if self._log is not None:
            self._log.warning(event, **values)
