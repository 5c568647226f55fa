"""The analysis of ring positions, against a simulated ring whose truth is known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.flow.bursts import arrivals_of, spread_losses
from bpf.flow.positions import fill_of, reader_of
from bpf.flow.simulate import Ring, held_back, never, pulses, simulate, sleeps, steadily, wakes
from bpf.flow.trace import Trace, full_from, reader_states, record_in_ring

RECORD = 72
RING = Ring(256 * 1024, RECORD)


def worked_out(trace: Trace, record: int = RECORD):
    states = reader_states(trace)
    reader = reader_of(trace, states)
    return fill_of(trace, record), reader, arrivals_of(trace, states, reader.service, record)


@pytest.mark.parametrize(("payload", "in_ring"), [(64, 72), (1, 16), (8, 16), (9, 24), (0, 8)])
def test_a_record_takes_its_header_and_is_rounded_to_eight_bytes(payload, in_ring):
    """Sizes are bytes as the kernel lays them down; a wrong one would bend every rate."""
    assert record_in_ring(payload) == in_ring


def test_a_small_ring_counts_as_full_when_no_record_fits_any_more():
    """99 % is never reached by a ring of a few dozen records."""
    assert full_from(4096, RECORD) == 4096 - RECORD
    assert full_from(1 << 20, RECORD) == pytest.approx(0.99 * (1 << 20))


def test_a_reader_that_keeps_up_is_steady_and_its_limit_is_only_a_lower_bound():
    """A reader never seen behind must not be told a limit that it does not have."""
    trace, truth = simulate(steadily(20_000), wakes(500_000), ring=RING)
    fill, reader, arrivals = worked_out(trace)
    assert truth.lost == 0
    assert fill.spare_bytes > 0.9 * RING.size
    assert not reader.service_exact
    assert reader.poll_interval_s is None
    assert arrivals.pattern == "steady"
    assert arrivals.offered / RECORD == pytest.approx(20_000, rel=0.01)


def test_bursts_are_seen_whole_although_the_ring_cut_them_off():
    """The offered rate holds what was refused; else a burst looks like the ring's own size."""
    trace, truth = simulate(pulses(5_000, 800_000, 0.02, 0.5), wakes(300_000), ring=RING)
    fill, reader, arrivals = worked_out(trace)
    assert truth.lost > 0
    assert arrivals.pattern == "bursts"
    assert arrivals.burst / RECORD == pytest.approx(800_000, rel=0.1)
    assert arrivals.burst_s == pytest.approx(0.02, abs=0.003)
    assert arrivals.spacing_s == pytest.approx(0.5, abs=0.01)
    assert reader.service / RECORD == pytest.approx(300_000, rel=0.05)
    assert len(fill.spells) == 10
    assert fill.full_share < 0.1


def test_the_ring_that_a_burst_needed_would_have_lost_nothing_and_one_smaller_would():
    """The size a remediation plans with must be enough, and not many times enough."""
    arrive = pulses(5_000, 800_000, 0.02, 0.5)
    trace, _ = simulate(arrive, wakes(300_000), ring=RING)
    needed = worked_out(trace)[2].needed_bytes
    assert simulate(arrive, wakes(300_000), ring=Ring(int(needed * 1.05), RECORD))[1].lost == 0
    assert simulate(arrive, wakes(300_000), ring=Ring(int(needed * 0.9), RECORD))[1].lost > 0


def test_a_slow_poll_is_a_staircase_that_empties_the_ring():
    """The interval is what the remediation divides by; the reader's speed is not its average."""
    trace, truth = simulate(steadily(50_000), sleeps(0.2, 3_000_000), ring=RING)
    _, reader, arrivals = worked_out(trace)
    assert truth.lost > 0
    assert reader.poll_interval_s == pytest.approx(0.2, abs=0.005)
    assert reader.drains_to_zero_share == 1
    assert reader.asleep_share > 0.9
    assert arrivals.needed_bytes == pytest.approx(50_000 * 0.2 * RECORD, rel=0.05)
    assert arrivals.pattern == "steady"


def test_a_reader_that_stumbles_while_it_drains_keeps_its_rhythm():
    """On a busy host every drain is interrupted; counted by number those pauses would hide the sleep."""
    inner = sleeps(0.2, 400_000)
    trace, _ = simulate(
        steadily(30_000), lambda now, waiting: 0 if now % 0.008 < 0.004 else inner(now, waiting), ring=RING
    )
    _, reader, _ = worked_out(trace)
    assert reader.poll_interval_s == pytest.approx(0.2, abs=0.01)
    assert reader.drains_to_zero_share == 1


def test_an_overloaded_reader_shows_its_limit_and_the_arrivals_are_sustained():
    """λ and μ decide between a bigger ring, which only delays, and fewer events."""
    trace, truth = simulate(steadily(120_000), wakes(60_000), ring=RING)
    fill, reader, arrivals = worked_out(trace)
    assert arrivals.pattern == "sustained"
    assert fill.full_share > 0.95
    assert reader.service_exact
    assert reader.service / RECORD == pytest.approx(60_000, rel=0.02)
    assert arrivals.offered / RECORD == pytest.approx(truth.offered / 5, rel=0.01)


def test_a_throttled_reader_is_held_up_in_its_backlog_not_asleep():
    """Its limit is what the quota leaves of it; standing still in a backlog is not its own choice."""
    trace, _ = simulate(steadily(60_000), held_back(100_000, 0.3), ring=RING)
    _, reader, arrivals = worked_out(trace)
    assert arrivals.pattern == "sustained"
    assert reader.held_up_share == pytest.approx(0.7, abs=0.05)
    assert reader.asleep_share < 0.05
    assert reader.service / RECORD == pytest.approx(30_000, rel=0.05)


def test_a_stuck_reader_did_not_move_and_the_ring_stood_full():
    """Told apart from a slow one by the whole window without a step."""
    trace, _ = simulate(steadily(60_000), never, ring=RING)
    fill, reader, _ = worked_out(trace)
    assert not reader.moved
    assert fill.full_share > 0.95
    assert reader.flat_longest_s == pytest.approx(5.0, abs=0.1)


def test_few_events_have_no_shape():
    """Five events a second are not bursts of one."""
    trace, _ = simulate(steadily(5), wakes(100_000), ring=RING)
    assert worked_out(trace)[2].pattern == "quiet"


def test_losses_counted_once_a_second_are_laid_over_the_time_the_ring_was_full():
    """A scraped counter is coarse; the loss still belongs to the bursts."""
    trace, truth = simulate(pulses(5_000, 800_000, 0.02, 0.5), wakes(300_000), ring=RING)
    seconds = range(0, len(trace.times), 1000)
    counts = [(trace.times[i], trace.lost[i]) for i in seconds]
    lost = spread_losses(trace, counts, RECORD)
    assert lost[-1] == pytest.approx(truth.lost, rel=0.001)
    coarse = Trace(trace.size, trace.times, trace.consumer, trace.producer, lost)
    assert worked_out(coarse)[2].burst == pytest.approx(worked_out(trace)[2].burst, rel=0.15)


def test_a_trace_of_a_single_sample_breaks_nothing():
    """A window may be cut short at once."""
    fill, reader, arrivals = worked_out(Trace(4096, [1.0], [0], [0]))
    assert fill.full_share == 0
    assert not reader.moved
    assert arrivals.pattern == "quiet"


@settings(max_examples=25, deadline=None)
@given(
    rate=st.integers(1_000, 200_000),
    limit=st.integers(1_000, 400_000),
    size=st.sampled_from([4096, 65536, 1 << 20]),
)
def test_what_arrives_is_what_was_taken_lost_or_lies_there(rate, limit, size):
    """Conservation: no analysis may invent or lose an event, and no loss goes unproven."""
    trace, truth = simulate(steadily(rate), wakes(limit), ring=Ring(size, RECORD), seconds=1.0)
    fill, reader, arrivals = worked_out(trace)
    seen = arrivals.offered * trace.seconds / RECORD
    assert seen == pytest.approx(truth.offered, rel=0.02, abs=rate * 0.002)
    assert 0 <= fill.mean <= fill.peak <= 1
    assert 0 <= fill.full_share <= 1
    assert reader.service / RECORD <= limit * 1.1 + 1000
    if truth.lost:
        assert fill.spare_bytes < RECORD, "a proof that nothing was lost, where something was"
