"""How many logins may fail before one has to wait: per address and per name.

One promise: an attempt counts from its beginning, so that many at once are not many free ones; what is
kept is bounded, whatever is tried.

Not here: passwords (``engine.server.worker.passwords``).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict, deque

#: Failures are forgotten after so long.
WINDOW_S = 300.0
#: So many addresses and names are remembered; then the one tried longest ago is forgotten.
MOST = 10_000

#: What an attempt counted against, to give it back when it succeeded.
Counted = tuple[tuple[bytes, float], ...]


class Attempts:
    """Counts what failed of late. ``limit``: failures within ``WINDOW_S``, per address and per name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed: OrderedDict[bytes, deque[float]] = OrderedDict()

    def take(self, remote: str, name: str, now: float) -> Counted | float:
        """Count an attempt as failed until it is given back; or the seconds to wait for the next one."""
        keys = (_key("address", network(remote)), _key("name", name))
        waits = [wait for key in keys if (wait := self._wait(key, now))]
        if waits:
            return max(waits)
        for key in keys:
            self._failed.setdefault(key, deque()).append(now)
            self._failed.move_to_end(key)
        while len(self._failed) > MOST:
            self._failed.popitem(last=False)
        return tuple((key, now) for key in keys)

    def give_back(self, counted: Counted) -> None:
        """It did not fail."""
        for key, at in counted:
            times = self._failed.get(key)
            if times is not None and at in times:
                times.remove(at)

    def _wait(self, key: bytes, now: float) -> float:
        times = self._failed.get(key)
        if times is None:
            return 0.0
        while times and not 0 <= now - times[0] < WINDOW_S:  # ahead of now: the clock was set back
            times.popleft()
        return times[0] + WINDOW_S - now if len(times) >= self._limit else 0.0


def network(remote: str) -> str:
    """An address as it counts: of IPv6 the /64, which one subscriber has whole."""
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return remote[:64]
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _key(kind: str, value: str) -> bytes:
    """Of one size, however long a name is."""
    return hashlib.sha256(f"{kind}\0{value}".encode("utf-8", "surrogatepass")).digest()[:16]
