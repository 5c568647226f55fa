"""What happened between looks at a map: keys that came, went and stayed, values that changed.

Keeps the first look and the one before, not all of them.

Not here: the looks themselves (``bpf.mapping.elements``).
"""

from __future__ import annotations

from typing import NamedTuple

from bpf.mapping.elements import Look


class Movement(NamedTuple):
    """Rates over the whole map per second; None where the looks can't tell.

    Attributes:
        came, went: Keys that appeared and disappeared from one look to the next.
        first_seen: Keys that no earlier look of the window had seen.
        used: Entries whose value changed from one look to the next; one that is used twice in between counts
            once.
        used_share: Share of the entries, there at the first and the last look, whose value changed.
        seen: Different keys in the whole window.
        looks: How many looks told it.
    """

    came: float | None = None
    went: float | None = None
    first_seen: float | None = None
    used: float | None = None
    used_share: float | None = None
    seen: int = 0
    looks: int = 0


class Comparison:
    """Takes look after look, in the order of time.

    Attributes:
        first, last: The first look and the latest, each with its monotonic moment.
    """

    def __init__(self) -> None:
        self.first: tuple[float, Look] | None = None
        self.last: tuple[float, Look] | None = None
        self._looks = self._came = self._went = self._first_seen = self._used = 0
        self._known: set[bytes] = set()
        self._lowest = float("inf")
        self._share = 1.0

    def add(self, moment: float, look: Look) -> None:
        """Compare with the look before. What comes and goes between two looks is not seen."""
        if self.last is not None:
            before = self.last[1]
            appeared = look.below(before.reach).keys() - before.elements.keys()
            self._came += len(appeared)
            self._went += len(before.below(look.reach).keys() - look.elements.keys())
            self._first_seen += len((look.below(self._lowest).keys() & appeared) - self._known)
            self._used += sum(_changed(before, look))
        self._known |= look.elements.keys()
        self._lowest = min(self._lowest, look.reach)
        self._share = min(self._share, look.share or 0.0)
        self._looks += 1
        self.first = self.first or (moment, look)
        self.last = (moment, look)

    def result(self) -> Movement:
        """The rates so far."""
        if self.first is None or self.last is None:
            return Movement()
        scale = (self.last[0] - self.first[0]) * self._share
        if scale <= 0:
            return Movement(seen=len(self._known), looks=self._looks)
        changed = _changed(self.first[1], self.last[1])
        return Movement(
            came=self._came / scale,
            went=self._went / scale,
            first_seen=self._first_seen / scale,
            used=self._used / scale,
            used_share=sum(changed) / len(changed) if changed else None,
            seen=len(self._known),
            looks=self._looks,
        )


def _changed(before: Look, after: Look) -> list[bool]:
    """For each key in both looks, whether its value changed in between."""
    now = after.elements
    return [now[key].digest != was.digest for key, was in before.elements.items() if key in now]
