"""Growth told from noise: shapes of memory of which it is known whether they leak."""

from __future__ import annotations

import random

import pytest

from bpf.memory.growth import estimate, growth

MIB = 1 << 20
LOOKS = 101


def series(value, seconds: float = 10.0) -> list[tuple[float, float]]:
    return [(n * seconds / (LOOKS - 1), float(value(n))) for n in range(LOOKS)]


def noise(rng: random.Random):
    return series(lambda _n: 100 * MIB + rng.gauss(0, MIB))


def hanging_together(rng: random.Random):
    """What was taken a moment ago is mostly still taken."""
    held = [0.0]
    for _ in range(LOOKS):
        held.append(0.9 * held[-1] + rng.gauss(0, MIB / 4))
    return series(lambda n: 100 * MIB + held[n])


def wandering(rng: random.Random):
    held = [0.0]
    for _ in range(LOOKS):
        held.append(held[-1] + rng.gauss(0, MIB / 8))
    return series(lambda n: 100 * MIB + held[n])


def one_step(rng: random.Random):
    at = rng.randrange(1, LOOKS)
    return series(lambda n: (100 + 20 * (n >= at)) * MIB)


def three_steps(rng: random.Random):
    places = [rng.randrange(1, LOOKS) for _ in range(3)]
    return series(lambda n: (100 + sum(5 for at in places if n >= at)) * MIB)


def leak(rng: random.Random):
    """1.5 MiB/s, in the 132 KiB that glibc takes at a time."""
    phase, chunk = rng.random(), 132 << 10
    return series(lambda n: 20 * MIB + int(n * 0.15 * MIB / chunk + phase) * chunk)


def leak_in_noise(rng: random.Random):
    return [(at, value + rng.gauss(0, MIB / 4)) for at, value in leak(rng)]


@pytest.mark.parametrize("shape", [noise, hanging_together, wandering, one_step, three_steps])
def test_what_does_not_leak_is_rarely_said_to_grow(shape):
    """A false leak at night costs more trust than a leak found a minute later. A straight line fitted through
    such series claims growth in most of them.
    """
    rng = random.Random(7)
    said = sum(found.growing for _ in range(200) if (found := growth(shape(rng))))
    assert said <= 200 * 0.04


@pytest.mark.parametrize("shape", [leak, leak_in_noise])
def test_a_leak_is_found_and_its_rate_lies_in_the_range(shape):
    """The range is what the time until the limit rests on."""
    rng = random.Random(7)
    found = [growth(shape(rng)) for _ in range(100)]
    assert all(one.growing for one in found)
    assert sum(one.low <= 1.5 * MIB <= one.high for one in found) >= 90
    assert all(one.slope == pytest.approx(1.5 * MIB, rel=0.2) for one in found)


def test_a_cache_that_fills_to_its_bound_slows_and_then_is_flat():
    """Deceleration and plateau are what tells it from a leak."""
    filling = growth(series(lambda n: (100 - 100 * 0.97**n) * MIB))
    assert filling.growing
    assert filling.slowing < 0.5
    full = growth(series(lambda n: min(n, 40) * MIB))
    assert full.plateau
    assert full.flat_s == pytest.approx(6.0, abs=0.3)
    assert not full.growing


def test_a_great_step_on_top_does_not_change_the_rate_of_a_leak():
    """An agent that loads a table while it leaks still leaks at its own rate."""
    found = growth(series(lambda n: n * 0.15 * MIB + (300 * MIB if n > 60 else 0)))
    assert found.growing
    assert found.slope == pytest.approx(1.5 * MIB, rel=0.1)


def test_a_few_pages_are_no_growth():
    """Stacks and tables move by pages in every healthy process."""
    assert not growth(series(lambda n: 10 * MIB + n * 512)).growing


def test_too_few_looks_give_no_answer():
    """Six blocks are the least from which a 95 % range can be told."""
    assert growth([(0.1 * n, 1.0) for n in range(6)]) is None


def test_the_range_is_the_signed_rank_one():
    """Checked against the published critical value: 8 facts, T = 3, so the fourth pair mean at either end."""
    facts = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    walsh = sorted((a + b) / 2 for n, a in enumerate(facts) for b in facts[n:])
    assert estimate(facts)[1:] == (walsh[3], walsh[-4])
