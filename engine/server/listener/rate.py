"""How often one may come: so many a second, and twice as many at once after a pause.

Not here: who (``senders``).
"""

from __future__ import annotations


class Bucket:
    """Holds two seconds' worth of requests; each takes one."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = self._left = 2.0 * per_second
        self._at = 0.0

    def wait_s(self, now: float) -> float:
        """0, and one is taken; or the seconds until there is one. ``now``: monotonic."""
        self._left = (
            min(self._most, self._left + (now - self._at) * self._per_second) if self._at else self._most
        )
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._per_second
