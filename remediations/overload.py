"""The arithmetic of a reader that is slower than its events.

λ is the rate that arrives (accepted and lost), μ the rate the reader manages. All changes
against overload aim at a load of 0.7: at λ = μ queues grow without end, and the next
burst should not be lost either.

Not here: what is changed (``workers``, ``sampling``, ``cpu_quota`` …).
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.values import Prediction
from remediations.planning import Question, nothing

LOAD = 0.7


class Overload(msgspec.Struct, frozen=True):
    """Events per second: arriving (λ), managed by the reader (μ), and lost."""

    arriving: float
    managed: float
    lost: float

    @property
    def short_by(self) -> float:
        """By what factor the reader must get faster, or its events fewer: λ / (0.7·μ)."""
        return self.arriving / (LOAD * self.managed)

    @property
    def arithmetic(self) -> str:
        """The reckoning of ``short_by``."""
        return f"{self.arriving:,.0f} / ({LOAD} · {self.managed:,.0f}) = {self.short_by:.2f}"


def overload(asked: Question[Any]) -> Overload:
    """λ and μ from the evidence; refused when unknown, or when the reader keeps up.

    In bursts λ is the rate inside them. While events are lost, μ is at most what came out.
    """
    arriving = asked.need("flow.in_per_s")
    if asked.case.text("flow.pattern") == "bursts":
        arriving = max(arriving, asked.number("flow.burst_in_per_s") or 0.0)
    lost = asked.number("flow.dropped_per_s") or 0.0
    managed, out = asked.number("flow.service_per_s"), asked.number("flow.out_per_s")
    if lost and out and asked.case.text("flow.pattern") == "sustained":
        managed = min(managed or out, out)
    if not managed:
        nothing("how fast the reader can be is unknown: it was not seen at work in this window")
    seen = Overload(arriving, managed, lost)
    if arriving <= LOAD * managed:
        nothing(f"the reader keeps up: {arriving:,.0f} events/s arrive, it manages {managed:,.0f}/s")
    return seen


def losses(asked: Question[Any], seen: Overload, arriving: float, managed: float) -> Prediction:
    """What is lost when ``arriving`` meets ``managed``: the surplus."""
    behind = asked.number("flow.dropped_behind_per_s") or 0.0
    surplus = max(0.0, arriving - managed)
    return Prediction(
        measure="flow.dropped_per_s",
        before=seen.lost,
        after=max(surplus, behind),
        unit="events/s",
        at_most=True,
        arithmetic=f"max(0, {arriving:,.0f} − {managed:,.0f})"
        + (f"; {behind:,.0f}/s are lost behind the ring" if behind else ""),
    )


def service(asked: Question[Any], after: float, arithmetic: str) -> Prediction:
    """How fast the reader will be."""
    return Prediction(
        measure="flow.service_per_s",
        before=asked.number("flow.service_per_s"),
        after=after,
        unit="events/s",
        arithmetic=arithmetic,
    )
