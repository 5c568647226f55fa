"""The evidence of event-flow: every number with its source, and nothing estimated in silence."""

from __future__ import annotations

import os

import pytest

from bpf.flow.counting import Counters, Tally
from bpf.flow.evidence import evidence_of
from bpf.flow.fields import FIELDS
from bpf.flow.readings import CUT_SHORT, RingSeen, Seen
from bpf.flow.simulate import Ring, pulses, simulate, steadily, wakes
from bpf.flow.trace import Trace
from bpf.probes.event_flow import EventFlow
from bpf.system.procfs import must_live, started_ticks
from engine.errors import TargetGone
from engine.testing import check_probe
from engine.values import Counter, Process, Target

DROPPED = Counter(counts="dropped", source="bpf-variable", name="dropped")
RING = Ring(256 * 1024, 72)
OVERLOAD = simulate(steadily(100_000), wakes(60_000), ring=RING, seconds=2.0)
CALM = simulate(steadily(10_000), wakes(200_000), ring=RING, seconds=2.0)


class Fixed:
    """A source that gives what it is told."""

    cheap = False

    def __init__(self, label: str = "bpf-variable dropped") -> None:
        self.label, self.value = label, 0.0

    def read(self) -> float | None:
        return self.value

    def close(self) -> None:
        pass


def tally(trace, values, counter=DROPPED, label="bpf-variable dropped") -> Tally:
    count = Tally(counter, Fixed(label))
    for moment, value in zip(trace.times, values, strict=True):
        count.add(moment, value)
    return count


def bare(trace):
    return type(trace)(trace.size, trace.times, trace.consumer, trace.producer)


def seen_of(trace, **more) -> Seen:
    return Seen(rings=(RingSeen("events", 7, (bare(trace),)),), **more)


def evidence(seen: Seen):
    return evidence_of(seen, "lab", 0.0, 2.0, [])


def test_counted_losses_make_the_offered_rate():
    """λ is what the ring accepted and what it refused."""
    trace, truth = OVERLOAD
    flow = evidence(seen_of(trace, dropped={"ring": tally(trace, trace.lost)}, payload_bytes=64))
    assert flow.number("in_per_s") == pytest.approx(truth.offered / 2, rel=0.01)
    assert flow.number("dropped_per_s") == pytest.approx(truth.lost / 2, rel=0.01)
    assert flow.number("lost_share") == pytest.approx(truth.lost / truth.offered, rel=0.01)
    assert flow.text("drop_source") == "bpf-variable dropped"
    assert flow.number("burst_bytes") > RING.size


def test_a_full_ring_without_a_counter_gives_a_time_and_no_number():
    """Never estimated silently: a person reads how long it was full instead."""
    flow = evidence(seen_of(OVERLOAD[0], payload_bytes=64))
    assert flow.number("dropped_per_s") is None
    assert flow.number("dropped_total") is None
    assert flow.text("drop_source").startswith("ring full for 1")
    assert flow.number("drop_count_known") == 0
    assert "lower bound" in flow.readings["in_per_s"].source
    assert flow.readings["burst_bytes"].missing


def test_a_ring_that_always_had_room_lost_nothing_and_that_is_proven():
    """An agent without counters can still be called healthy, from the positions alone."""
    flow = evidence(seen_of(CALM[0], payload_bytes=64))
    assert flow.number("dropped_per_s") == 0
    assert flow.text("drop_source") == "ring full for 0 ms"
    assert any("behind the ring" in note for note in flow.notes)


def test_without_a_record_size_there_are_bytes_and_no_events():
    """Bytes over a guessed size would be a guessed rate."""
    flow = evidence(seen_of(CALM[0]))
    assert flow.number("bytes_in_per_s") == pytest.approx(720_000, rel=0.01)
    assert flow.number("in_per_s") is None
    assert "neither fixed nor counted" in flow.readings["in_per_s"].missing
    assert flow.series["in"].unit == "bytes/s"


def test_a_record_size_learned_from_the_agent_s_count_says_so():
    """Learned is not fixed."""
    trace, _ = CALM
    received = tally(
        trace,
        [p / 72 for p in trace.producer],
        Counter(counts="received", source="metric", name="r"),
        "metric r",
    )
    flow = evidence(seen_of(trace, received=received))
    assert flow.number("record_bytes") == pytest.approx(72, rel=0.01)
    assert flow.number("record_size_fixed") == 0
    assert "learned" in flow.readings["in_per_s"].source


def test_loss_behind_the_ring_is_kept_apart():
    """The remedy differs by stage."""
    trace, _ = CALM
    queue = tally(
        trace,
        [t * 500 for t in trace.times],
        Counter(counts="dropped", stage="queue", source="metric", name="q"),
        "metric q",
    )
    flow = evidence(seen_of(trace, dropped={"queue": queue}, payload_bytes=64))
    assert flow.number("dropped_behind_per_s") == pytest.approx(500)
    assert flow.number("dropped_ring_per_s") == 0
    assert flow.number("dropped_per_s") == pytest.approx(500)


def test_the_fullest_of_several_rings_is_the_one_pictured_and_rates_are_summed():
    """Trouble in one of two rings must not be averaged away."""
    rings = (RingSeen("calm", 1, (bare(CALM[0]),)), RingSeen("full", 2, (bare(OVERLOAD[0]),)))
    flow = evidence(Seen(rings=rings, payload_bytes=64))
    assert flow.text("ring_name") == "full"
    assert len(flow.tables["rings"]) == 2
    assert flow.number("out_per_s") == pytest.approx(70_000, rel=0.05)


def test_counters_alone_serve_where_no_ring_can_be_seen():
    """A perf event array shows nothing; its reader's counts still speak."""
    trace, _ = CALM
    dropped = tally(trace, [t * 50 for t in trace.times])
    flow = evidence(Seen(rings=(), dropped={"ring": dropped}))
    assert flow.number("dropped_per_s") == pytest.approx(50)
    assert flow.number("fill_peak") is None
    assert flow.readings["fill_peak"].missing


def test_a_ring_of_large_records_is_full_when_the_next_one_does_not_fit():
    """97 % full, and 29 records of 8760 bytes is all that fits: that is no proof that none was refused."""
    size, record = 1 << 18, 8760
    most = size // record * record
    steps = [most * min(i, 20) // 20 // record * record for i in range(60)]
    trace = Trace(size=size, times=[i * 0.002 for i in range(60)], consumer=[0] * 60, producer=steps)
    flow = evidence(Seen(rings=(RingSeen("events", 1, (trace,)),)))
    assert flow.number("fill_peak") == pytest.approx(0.969, abs=0.001)
    assert flow.number("dropped_per_s") is None
    assert flow.number("full_share") > 0.5


def test_the_records_of_a_perf_buffer_are_as_large_as_those_that_were_seen():
    """Nobody counts what a perf buffer took: records that were seen there turn bytes into events."""
    trace = CALM[0]
    ring = RingSeen("events, CPU 1", 1, (trace,), record_bytes=(328, 328, 328))
    flow = evidence(Seen(rings=(ring,)))
    assert flow.number("record_bytes") == 328
    assert flow.number("record_size_fixed")
    assert flow.number("in_per_s") == pytest.approx(flow.number("bytes_in_per_s") / 328)
    assert "3 records" in flow.readings["record_bytes"].source


def test_a_window_that_was_cut_short_says_so_and_not_that_there_is_no_ring():
    """53 ms after Ctrl-C nothing is known of a ring that is there."""
    made = evidence(Seen(rings=(), no_ring=CUT_SHORT))
    assert {made.readings[name].missing for name in ("fill_peak", "bytes_in_per_s", "dropped_per_s")} == {
        CUT_SHORT
    }


def test_every_reading_is_a_declared_field_and_every_field_has_a_reading():
    """A runbook is checked against the fields: one outside would be unknown for ever."""
    for seen in (seen_of(OVERLOAD[0]), Seen(rings=()), seen_of(CALM[0], payload_bytes=64)):
        flow = evidence(seen)
        check_probe(EventFlow(), flow)
        assert set(flow.readings) | set(flow.tables) == set(FIELDS)


def test_charts_keep_their_peaks_and_stay_small():
    """A burst of four milliseconds is what the chart is for."""
    trace, _ = simulate(pulses(1_000, 800_000, 0.004, 1.0), wakes(100_000), ring=RING, seconds=4.0)
    flow = evidence(seen_of(trace, dropped={"ring": tally(trace, trace.lost)}, payload_bytes=64))
    assert all(len(series.times) <= 300 for series in flow.series.values())
    assert max(flow.series["fill"].values) == pytest.approx(flow.number("fill_peak"))


def test_a_counter_that_the_agent_sets_back_never_counts_below_zero():
    """Some agents zero their counts every second."""
    count = Tally(DROPPED, Fixed())
    for moment, value in enumerate([5, 9, 2, 4]):
        count.add(float(moment), float(value))
    assert count.grown == 4 + 2 + 2


def test_a_metric_that_is_not_on_the_page_is_told_not_taken_for_zero(tmp_path):
    """The next best source serves, and the notes say why."""
    log = tmp_path / "agent.log"
    log.write_text("ringbuf: dropped events: 100\n")
    target = Target(
        name="a",
        ref="a",
        log_file=str(log),
        counters=(
            Counter(counts="dropped", source="metric", name="lost_total"),
            Counter(counts="dropped", source="log", name=r"dropped events: (\d+)", cumulative=True),
        ),
    )
    counters = Counters(target)
    with log.open("a") as out:
        counters.take(lambda: 1.0)
        out.write("ringbuf: dropped events: 160\n")
    counters.take(lambda: 2.0)
    counters.close()
    assert counters.dropped["ring"].label == "log"
    assert counters.dropped["ring"].grown == 60
    assert any("lost_total" in note for note in counters.notes)


def test_a_silent_log_is_unknown(tmp_path):
    """An agent that does not log its losses has not told that there are none."""
    log = tmp_path / "agent.log"
    log.write_text("started\n")
    target = Target(
        name="a",
        ref="a",
        log_file=str(log),
        counters=(Counter(counts="dropped", source="log", name="lost (\\d+)"),),
    )
    counters = Counters(target)
    counters.take(lambda: 1.0)
    counters.take(lambda: 2.0)
    counters.close()
    assert not counters.dropped["ring"].known


def test_a_target_that_ended_is_gone_and_so_is_one_whose_pid_was_given_away():
    """A reused pid is another process."""
    me = Process(pid=os.getpid(), started_ticks=started_ticks(os.getpid()))
    must_live(Target(name="me", ref="me", processes=(me,)))
    other = Process(pid=os.getpid(), started_ticks=1)
    with pytest.raises(TargetGone, match="ended while it was looked at") as gone:
        must_live(Target(name="me", ref="me", processes=(other,)))
    assert "runbook run agent-down --target me" in gone.value.fix
