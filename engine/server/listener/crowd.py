"""How many connections there are, in all and from one address.

One promise: one address, or one network of IPv6 (/64, which is one customer's), can't take them all.

Not here: what one connection may do (``protocol``).
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from ipaddress import IPv6Address


class Crowd:
    """Everybody who is connected now."""

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._from: Counter[str] = Counter()
        self.number = 0

    def enter(self, address: str) -> Place | None:
        """A place; None when there is none left, or none for this address."""
        origin = _origin(address)
        if self.number >= self._limit or self._from[origin] >= self._per_address:
            return None
        self.number += 1
        self._from[origin] += 1
        return Place(self, origin)

    def leave(self, origin: str) -> None:
        """One of them has gone."""
        self.number -= 1
        self._from[origin] -= 1
        if self._from[origin] <= 0:
            del self._from[origin]


class Place:
    """One connection's place, given back once, however often that is said."""

    def __init__(self, crowd: Crowd, origin: str) -> None:
        self._crowd: Crowd | None = crowd
        self._origin = origin

    def leave(self) -> None:
        """Give it back."""
        crowd, self._crowd = self._crowd, None
        if crowd is not None:
            crowd.leave(self._origin)


@lru_cache(1024)
def _origin(address: str) -> str:
    """An address; of IPv6 its /64, unless it is one of IPv4 in disguise."""
    if ":" not in address:
        return address
    try:
        whole = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(whole.ipv4_mapped or int(whole) >> 64)
