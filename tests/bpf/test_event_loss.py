"""The causes of lost events, each from the numbers that belong to it, and none from those of another."""

from __future__ import annotations

import msgspec
import pytest

from bpf.diagnoses.event_loss import EventLoss
from bpf.diagnoses.loss_advice import advised
from engine.values import Case, Cause, Evidence, Reading, Target

TARGET = Target(name="lab", ref="lab")

#: A ring of 1 MiB, 20,000 events/s, nothing wrong.
CALM = {
    "in_per_s": 20_000.0,
    "accepted_per_s": 20_000.0,
    "out_per_s": 20_000.0,
    "dropped_per_s": 0.0,
    "dropped_ring_per_s": 0.0,
    "dropped_behind_per_s": 0.0,
    "record_bytes": 72.0,
    "ring_bytes": float(1 << 20),
    "fill_peak": 0.02,
    "full_share": 0.0,
    "pattern": "steady",
    "service_per_s": 150_000.0,
    "service_is_limit": False,
    "asleep_share": 0.0,
    "held_up_share": 0.0,
    "drains_to_zero_share": 1.0,
    "consumer_moved": True,
}
EASY = {
    "busiest_thread_cores": 0.1,
    "runq_wait_share": 0.01,
    "throttled_share": 0.0,
    "throttled_s_per_s": 0.0,
    "host_idle_cores": 1.5,
}
LOSING = {"dropped_per_s": 5_000.0, "dropped_ring_per_s": 5_000.0, "fill_peak": 1.0, "full_share": 0.3}
OVERLOAD = {
    **LOSING,
    "full_share": 0.98,
    "pattern": "sustained",
    "service_per_s": 15_000.0,
    "service_is_limit": True,
    "out_per_s": 15_000.0,
    "drains_to_zero_share": 0.0,
}
SLOW_POLL = {**LOSING, "asleep_share": 0.9, "poll_interval_s": 1.0}
BURSTS = {
    **LOSING,
    "full_share": 0.01,
    "pattern": "bursts",
    "burst_in_per_s": 2_000_000.0,
    "burst_s": 0.004,
    "burst_spacing_s": 0.5,
    "burst_bytes": 700_000.0,
    "service_is_limit": True,
}
THROTTLED = {
    "busiest_thread_cores": 0.2,
    "cpu_quota_cores": 0.2,
    "throttled_share": 1.0,
    "throttled_s_per_s": 0.8,
    "runq_wait_share": 0.8,
}
BUSY = {"busiest_thread_cores": 0.99, "busiest_thread": "reader (7)", "runq_wait_share": 0.01}
NOISY = {"top_comm": "noisy", "top_per_s": 16_000.0, "total_per_s": 20_000.0}
STUCK = {
    **LOSING,
    "consumer_moved": False,
    "full_share": 1.0,
    "service_per_s": None,
    "consumer_flat_longest_s": 10.0,
}
BEHIND = {"dropped_per_s": 20_000.0, "dropped_behind_per_s": 20_000.0}


def evidence(short: str, values: dict[str, object]) -> Evidence:
    readings = {
        name: Reading(value=value) if value is not None else Reading(missing="-")
        for name, value in values.items()
    }
    return Evidence(probe=short, short=short, target="lab", started_at=0.0, ended_at=10.0, readings=readings)


def decide(
    flow: dict[str, object],
    process: dict[str, object] | None = EASY,
    sources: dict[str, object] | None = None,
    **more,
):
    seen = {"flow": evidence("flow", {**CALM, **flow})}
    if process is not None:
        seen["process"] = evidence("process", {**EASY, **process})
    if sources is not None:
        seen["sources"] = evidence("sources", sources)
    for short, values in more.items():
        seen[short] = evidence(short, values)
    return EventLoss().decide(Case(target=TARGET, evidence=seen))


PERF_BUFFER = {
    **dict.fromkeys(CALM),
    "dropped_per_s": 265_000.0,
    "dropped_ring_per_s": 265_000.0,
    "drop_source": "kernel perf buffer losses",
}


def test_a_perf_buffer_that_loses_while_its_process_does_nothing_has_a_stuck_reader():
    """Its positions can't be seen; a stopped process (SIGSTOP) must be named all the same."""
    verdict = decide(PERF_BUFFER, {"cpu_cores": 0.0, "busiest_thread_cores": 0.0, "runq_wait_share": 0.0})
    assert verdict.causes[0].name == "reader-stuck"
    assert "used no CPU" in verdict.sentence
    assert any("position can't be seen" in fact for fact in verdict.causes[0].speaks_against)


def test_a_perf_buffer_with_a_reader_at_work_has_no_known_cause_but_what_is_known_is_told():
    """'No cause fits' alone leaves a person where they were."""
    verdict = decide(PERF_BUFFER, {"cpu_cores": 0.5})
    assert not verdict.causes
    assert "265,000 events/s are lost, but no known cause fits: the reader's position can't be seen" in (
        verdict.sentence
    )
    assert "the process used 0.5 of a core" in verdict.sentence


@pytest.mark.parametrize(
    ("cause", "process", "taken"),
    [
        ("reader-cpu-bound", {"busiest_thread_cores": 0.98}, None),
        ("reader-throttled", {"throttled_share": 0.6, "throttled_s_per_s": 0.3}, None),
        ("reader-starved", {"runq_wait_share": 0.5}, None),
        ("burst-exceeds-buffer", {"busiest_thread_cores": 0.3}, 900_000.0),
    ],
)
def test_of_a_perf_buffer_the_readers_cpu_tells_what_limits_it(cause, process, taken):
    """Most agents still have perf buffers; a bigger one is no cure for a reader at a full core."""
    verdict = decide({**PERF_BUFFER, "out_per_s": taken}, {"cpu_cores": 1.0, **process})
    assert verdict.causes[0].name == cause
    assert any("can't be seen" in fact for fact in verdict.causes[0].speaks_against)


def test_a_perf_buffer_that_loses_most_of_its_events_has_no_mere_bursts():
    """A reader with CPU to spare that takes less than is lost is held up by something that nobody saw."""
    assert not decide(
        {**PERF_BUFFER, "out_per_s": 10.0}, {"cpu_cores": 0.3, "busiest_thread_cores": 0.3}
    ).causes


@pytest.mark.parametrize(
    ("cause", "flow", "process", "sources"),
    [
        ("burst-exceeds-buffer", BURSTS, EASY, None),
        ("reader-polls-too-slowly", SLOW_POLL, EASY, None),
        ("reader-cpu-bound", OVERLOAD, BUSY, None),
        (
            "reader-cpu-bound",
            OVERLOAD,
            BUSY,
            {"top_comm": "web", "top_per_s": 6_000.0, "total_per_s": 20_000.0},
        ),
        ("reader-throttled", {**OVERLOAD, "held_up_share": 0.8, "poll_interval_s": 0.08}, THROTTLED, None),
        (
            "reader-starved",
            {**OVERLOAD, "held_up_share": 0.5},
            {"busiest_thread_cores": 0.4, "runq_wait_share": 0.55},
            None,
        ),
        ("flood-from-one-source", OVERLOAD, BUSY, NOISY),
        ("loss-behind-the-ring", BEHIND, EASY, None),
        ("reader-stuck", STUCK, {"busiest_thread_cores": 0.0}, None),
    ],
)
def test_each_cause_is_named_first_from_its_own_numbers(cause, flow, process, sources):
    """The remedy follows from the first cause: a wrong one costs a reload and helps nothing."""
    verdict = decide(flow, process, sources)
    assert verdict.causes[0].name == cause
    assert verdict.causes[0].speaks_for
    assert set(EventLoss.causes) >= {each.name for each in verdict.causes}


def test_no_loss_gives_no_cause_and_says_what_was_seen():
    """A healthy agent must not be treated."""
    verdict = decide({})
    assert not verdict.causes
    assert verdict.sentence == "No event was lost of 20,000 a second; the ring was at most 2 % full."


def test_a_flood_is_one_only_if_the_rest_would_be_served():
    """Filtering the loudest process does not help a reader that the others overload as well."""
    loud = {"top_comm": "noisy", "top_per_s": 80_000.0, "total_per_s": 100_000.0}
    verdict = decide({**OVERLOAD, "in_per_s": 100_000.0}, BUSY, loud)
    assert [cause.name for cause in verdict.causes] == ["reader-cpu-bound"]


def test_a_loud_process_that_the_agent_may_filter_out_is_a_suspicion_and_comes_second():
    """Sources are counted before the agent's own filter: where far more passes than arrives, a
    process with a rate like the arrivals' may have nothing to do with them."""
    verdict = decide(OVERLOAD, BUSY, {**NOISY, "total_per_s": 90_000.0})
    assert [cause.name for cause in verdict.causes] == ["reader-cpu-bound", "flood-from-one-source"]
    assert "it filters" in verdict.causes[1].speaks_against[0]


def test_a_reader_short_of_cpu_is_judged_by_what_a_whole_one_would_do():
    """On a crowded host the flood is still the cause, with a doubt."""
    crowded = {"busiest_thread_cores": 0.2, "runq_wait_share": 0.8}
    flow = {**OVERLOAD, "service_per_s": 3_000.0, "out_per_s": 3_000.0}
    verdict = decide({**flow, "in_per_s": 20_000.0}, crowded, NOISY)
    assert verdict.causes[0].name == "flood-from-one-source"
    assert any("waited for a CPU" in line for line in verdict.causes[0].speaks_against)


def test_a_process_louder_than_all_that_arrives_is_not_its_source():
    """It must be filtered out, at least in part."""
    verdict = decide(OVERLOAD, BUSY, {"top_comm": "other", "top_per_s": 70_000.0, "total_per_s": 90_000.0})
    assert verdict.causes[0].name == "reader-cpu-bound"


def test_a_busy_reader_without_enough_cpu_is_starved_only_if_a_whole_cpu_would_do():
    """Moving neighbours away can't help a reader that needs more than one CPU."""
    waits = {"busiest_thread_cores": 0.6, "runq_wait_share": 0.4}
    assert decide({**OVERLOAD, "in_per_s": 20_000.0}, waits).causes[0].name == "reader-starved"
    assert decide({**OVERLOAD, "in_per_s": 90_000.0}, waits).causes[0].name == "reader-cpu-bound"


def test_waiting_under_a_quota_is_the_quota_s():
    """The kernel counts throttled time as waiting for a CPU: it must not be read as starvation."""
    names = [cause.name for cause in decide({**OVERLOAD, "held_up_share": 0.8}, THROTTLED).causes]
    assert "reader-starved" not in names


def test_a_reader_that_sleeps_is_not_called_slow_when_the_ring_outlasts_its_sleep():
    """A poll of 5 ms is no trouble for a ring of a second."""
    names = [cause.name for cause in decide({**SLOW_POLL, "poll_interval_s": 0.005}).causes]
    assert "reader-polls-too-slowly" not in names


def test_loss_at_both_stages_is_shared_out():
    """Raising the ring mends only its own part."""
    both = {
        **BURSTS,
        "dropped_per_s": 10_000.0,
        "dropped_ring_per_s": 7_500.0,
        "dropped_behind_per_s": 2_500.0,
    }
    verdict = decide(both)
    shares = {cause.name: cause.explains for cause in verdict.causes}
    assert shares["burst-exceeds-buffer"] == pytest.approx(0.75)
    assert shares["loss-behind-the-ring"] == pytest.approx(0.25)
    assert verdict.causes[0].name == "burst-exceeds-buffer"


def test_the_arithmetic_can_be_redone_by_hand():
    """λ·P·r against S: the numbers stand in the report as they are."""
    (cause,) = decide(SLOW_POLL).causes
    assert "20,000/s × 1 s × 72 B = 1.37 MiB" in cause.arithmetic[0]
    assert "364 ms" in cause.arithmetic[2]


def test_without_process_evidence_the_limit_is_named_with_little_confidence():
    """Overload is seen in the positions alone; what limits the reader is not."""
    verdict = decide(OVERLOAD, None)
    assert verdict.causes[0].name == "reader-cpu-bound"
    assert verdict.causes[0].confidence < 0.5
    assert any("process was not looked at" in note for note in verdict.notes)


def test_uncounted_losses_still_have_a_cause():
    """Most rings have no counter; standing full is the evidence then."""
    uncounted = {"dropped_per_s": None, "dropped_ring_per_s": None, "dropped_behind_per_s": None}
    verdict = decide({**SLOW_POLL, **uncounted})
    assert verdict.causes[0].name == "reader-polls-too-slowly"
    assert "nothing counts what it refused" in verdict.sentence


def test_losses_that_others_saw_outside_the_window_ask_for_a_longer_one():
    """A window shorter than the burst spacing sees nothing."""
    verdict = decide({}, metrics={"dropped_per_s": 12.0})
    assert not verdict.causes
    assert any("lengthen it" in note for note in verdict.notes)


def test_bursts_seen_less_than_three_times_ask_for_a_longer_window():
    """One burst is no rhythm."""
    verdict = decide({**BURSTS, "burst_spacing_s": 6.0})
    assert any("at least 18 s" in note for note in verdict.notes)


def test_numbers_that_fit_nothing_name_no_cause():
    """An unknown cause is better than a wrong one."""
    verdict = decide(LOSING)
    assert not verdict.causes
    assert "no known cause fits" in verdict.sentence


def test_without_flow_nothing_is_said():
    """The other eyes do not see losses by stage."""
    verdict = EventLoss().decide(Case(target=TARGET))
    assert not verdict.causes
    assert "was not looked at" in verdict.sentence


def test_any_reading_may_be_missing():
    """A probe may fail in part; the diagnosis must not."""
    for flow in (BURSTS, SLOW_POLL, OVERLOAD, STUCK, BEHIND):
        for name in {**CALM, **flow}:
            decide({**flow, name: None}, BUSY, NOISY)


def test_the_profile_advises_where_its_agent_has_no_knob_for_the_cause():
    """A reader at a full core that can't be sampled gets less to read by the agent's own settings."""
    cause = Cause(name="reader-cpu-bound", sentence="x", confidence=1)
    agent = Target(name="a", ref="a", facts={"fewer_events": "leave out calls that failed"})
    assert advised(cause, agent).fix == "leave out calls that failed"
    assert advised(cause, Target(name="a", ref="a")) is cause
    assert advised(msgspec.structs.replace(cause, fix="mine"), agent).fix == "mine"
