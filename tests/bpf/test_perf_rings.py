"""Perf buffers sampled: one look for all CPUs, and what the kernel lost beside the positions."""

from __future__ import annotations

import pytest

from bpf.flow.perf_rings import EVERY_S, PerfPositions, PerfSamples
from bpf.objects.perfbuf import PerfRing


class Looks:
    """Stands for a ``PerfWatch``: each look is one step later."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = 0

    def read(self) -> tuple[PerfRing, ...]:
        self.count += 1
        at = 328 * self.count
        return tuple(
            PerfRing(fd=fd, cpu=fd - 5, size=4096, head=at, tail=0, lost=self.count, next_bytes=328)
            for fd in (5, 6)
        )

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def samplers(looks: Looks) -> list[PerfSamples]:
    shared = PerfPositions(looks)
    return [PerfSamples("events", 7, shared, ring) for ring in shared.look(0.0).values()]


def test_one_look_serves_all_cpus_and_is_not_taken_more_often_than_it_is_worth(
    looks: Looks, samplers: list[PerfSamples]
) -> None:
    """A look costs a thousand times what it does at a mapped ring."""
    for step in range(50):
        for ring in samplers:
            ring.take(step * EVERY_S / 5)
    assert looks.count == pytest.approx(10, abs=1)
    assert len(samplers[0].times) == len(samplers[1].times) == looks.count


def test_losses_start_at_nothing_and_records_tell_their_size(samplers: list[PerfSamples]) -> None:
    """What was lost before the window is not of this window."""
    for step in range(5):
        samplers[0].take(step * EVERY_S * 1.01)
    trace = samplers[0].trace()
    assert list(trace.lost) == [0, 1, 2, 3, 4]
    assert samplers[0].record_bytes == (328,) * 5
    assert samplers[0].name == "events, CPU 0"


def test_the_eye_is_closed_once(looks: Looks, samplers: list[PerfSamples]) -> None:
    """All samplers share it."""
    for ring in samplers:
        ring.close()
    assert looks.closed == 1
