"""How often something is written down that others can bring about as often as they like.

One promise: of each kind one a minute, with how many there were since; what is remembered is bounded.

Not here: what is written, and where (``deeds``, ``answering``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

#: One of a kind within so many seconds; so many kinds are remembered.
EVERY_S, MOST = 60.0, 1000


class Seldom:
    """Counts what happens, by its kind."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def times(self, kind: Hashable) -> int:
        """It happened: how often since it was written down last; 0 where it need not be now."""
        now = self._now()
        at, more = self._since.get(kind, (float("-inf"), 0))
        if now - at < EVERY_S:
            self._since[kind] = at, more + 1
            return 0
        self._since[kind] = now, 0
        self._since.move_to_end(kind)
        while len(self._since) > MOST:
            self._since.popitem(last=False)
        return more + 1
