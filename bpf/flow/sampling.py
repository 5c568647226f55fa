"""Positions of one ring, and the counts beside them, taken many times a second.

Its promise: taking a sample allocates nothing that outlives it but four numbers, and makes no
system call: a kilohertz costs about one percent of a core.

Not here: what the samples mean (``bpf.flow.trace`` and its neighbours).
"""

from __future__ import annotations

from array import array
from typing import Protocol

from bpf.flow.trace import Trace


class Watch(Protocol):
    """What gives the positions of a ring; ``bpf.objects.ringbuf.RingWatch`` does."""

    size: int

    def positions(self) -> tuple[int, int]:
        """Consumer and producer position, bytes."""

    def close(self) -> None:
        """Let go of it."""


class RingSamples:
    """The samples of one ring from one map id on; a replaced ring gets new ones.

    Attributes:
        name, map_id: Of the ring.
    """

    def __init__(self, name: str, map_id: int, watch: Watch) -> None:
        self.name, self.map_id = name, map_id
        self._watch = watch
        self.size = watch.size
        self.times = array("d")
        self.consumer = array("Q")
        self.producer = array("Q")

    def take(self, moment: float) -> None:
        """One sample."""
        consumer, producer = self._watch.positions()
        self.times.append(moment)
        self.consumer.append(consumer)
        self.producer.append(producer)

    @property
    def record_bytes(self) -> tuple[int, ...]:
        """Sizes of records that were seen; of a ring buffer only positions are looked at."""
        return ()

    @property
    def fill(self) -> float:
        """Share of the ring in use at the last sample."""
        return (self.producer[-1] - self.consumer[-1]) / self.size if self.times else 0.0

    def trace(self) -> Trace:
        """What was seen, without counts."""
        return Trace(size=self.size, times=self.times, consumer=self.consumer, producer=self.producer)

    def close(self) -> None:
        """Let go of the ring's memory; the samples stay."""
        self._watch.close()
