"""The arithmetic of bursts that overrun a ring, when fewer events are to be let in.

In a burst the rate says little: 100,000 events/s for 5 ms need no more room than 500 events.
What counts is the ring that would have held the largest burst seen. Keeping one event in N makes
that burst N times smaller, and it should fill 0.7 of the ring.

Not here: a larger ring, which loses nothing (``ring_buffer_size``), sustained overload (``overload``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.values import Prediction
from remediations.knobs.units import say_bytes
from remediations.overload import LOAD
from remediations.planning import Question, nothing


class Bursts(msgspec.Struct, frozen=True):
    """Bytes that the largest burst needed and that the ring holds; events per second in and lost there."""

    needed: float
    ring: float
    arriving: float
    lost: float

    @property
    def short_by(self) -> float:
        """By what factor the events must get fewer: needed / (0.7·ring)."""
        return self.needed / (LOAD * self.ring)

    @property
    def arithmetic(self) -> str:
        """The reckoning of ``short_by``."""
        return (
            f"the largest burst seen needed {say_bytes(self.needed)}:"
            f" {say_bytes(self.needed)} / ({LOAD} · {say_bytes(self.ring)}) = {self.short_by:.2f}"
        )


def bursts(asked: Question[Any]) -> Bursts:
    """The sizes from the evidence; refused when unknown, or when the ring holds the bursts."""
    seen = Bursts(
        needed=asked.need("flow.burst_bytes"),
        ring=asked.need("flow.ring_bytes"),
        arriving=asked.need("flow.in_per_s"),
        lost=asked.need("flow.dropped_ring_per_s"),
    )
    if seen.short_by <= 1:
        nothing(f"the ring of {say_bytes(seen.ring)} holds the largest burst seen, {say_bytes(seen.needed)}")
    return seen


def refuse_loss(seen: Bursts, keep: int, left_out: float) -> None:
    """Refuse to leave out on purpose (a share) more than is lost by chance."""
    lost = min(1.0, seen.lost / seen.arriving) if seen.arriving else 0.0
    if left_out > lost:
        nothing(
            f"1 in {keep} would leave out {left_out:.0%} of the events, and {lost:.0%} are lost now:"
            f" sampling would hide more than the bursts lose ({seen.arithmetic})"
        )


def losses(asked: Question[Any], seen: Bursts, kept: float) -> Prediction:
    """What is still lost when the share ``kept`` of the events is let in."""
    behind = asked.number("flow.dropped_behind_per_s") or 0.0
    short = max(0.0, seen.needed * kept - seen.ring)
    left = seen.lost * short / max(seen.needed - seen.ring, 1.0)
    burst, ring = say_bytes(seen.needed * kept), say_bytes(seen.ring)
    return Prediction(
        measure="flow.dropped_per_s",
        before=asked.number("flow.dropped_per_s"),
        after=left + behind,
        unit="events/s",
        at_most=True,
        arithmetic=f"a burst of {burst} in {ring}: "
        + (f"{say_bytes(short)} too much" if short else "all fits")
        + (f"; {behind:,.0f}/s are lost behind the ring" if behind else ""),
    )
