"""The arithmetic of each plan, number by number, and what is refused."""

import msgspec
import pytest

from engine.values import Host, Knob, KnobValue
from remediations.batch_size import BatchSize
from remediations.cpu_quota import CpuQuota
from remediations.event_filter import EventFilter
from remediations.poll_interval import PollInterval
from remediations.queue_size import QueueSize
from remediations.ring_buffer_size import RingBufferSize
from remediations.sampling import Sampling
from remediations.wakeup_policy import WakeupPolicy
from remediations.workers import Workers


def predicted(plan, measure):
    """What the plan predicts for one number."""
    return next(each.after for each in plan.predictions if each.measure == measure)


# ── ring-buffer-size ──


def test_the_ring_becomes_twice_the_largest_burst_up_to_a_power_of_two(case_for):
    """1.5 MB · 2 = 3 MB → 4 MiB; the burst then fills 36 %."""
    remedy = RingBufferSize()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == "4MiB"
    assert predicted(plan, "flow.dropped_per_s") == 0
    assert predicted(plan, "flow.fill_peak") == pytest.approx(1_500_000 / (4 << 20))
    assert plan.memory_bytes == (4 << 20) - (256 << 10)
    assert "8 MiB virtual" in plan.memory_limit


@pytest.mark.parametrize(
    ("flow", "process", "reason"),
    [
        ({"pattern": "sustained"}, {}, "sustained"),
        ({"in_per_s": 60_000.0}, {}, "sustained: 60,000 events/s arrive, 50,000/s are read"),
        ({}, {"busiest_thread_cores": 0.97}, "0.97 of one core"),
        ({"dropped_ring_per_s": 0.0, "dropped_behind_per_s": 900.0}, {}, "900 events/s are lost behind it"),
        ({"burst_bytes": 0.0}, {}, "no burst was seen"),
        ({}, {"memory_left_bytes": 3e6}, "does not fit: the agent's memory limit"),
    ],
)
def test_a_ring_is_not_raised_where_it_would_not_help_or_not_fit(case_for, flow, process, reason):
    """Name the stage before raising a buffer."""
    remedy = RingBufferSize()
    plan = remedy.plan(case_for(remedy, flow=flow, process=process))
    assert not plan.changes
    assert reason in plan.reason


PERF = {"ring_bytes": None, "burst_bytes": None, "pattern": None, "service_per_s": None}


def test_a_perf_buffer_grows_by_four_and_half_of_its_loss_must_go(case_for):
    """Its fill can't be seen, so nothing is reckoned; what does not help is taken back."""
    remedy = RingBufferSize()
    plan = remedy.plan(case_for(remedy, flow=PERF | {"dropped_ring_per_s": 900.0, "dropped_per_s": 900.0}))
    assert plan.changes[0].after == "1MiB"
    assert predicted(plan, "flow.dropped_per_s") == 450
    assert "virtual" not in plan.memory_limit


@pytest.mark.parametrize(
    ("flow", "process", "reason"),
    [
        ({"dropped_ring_per_s": 0.0}, {}, "burst_bytes is unknown"),
        ({"dropped_ring_per_s": 900.0}, {"busiest_thread_cores": 0.97}, "0.97 of one core"),
        ({"dropped_ring_per_s": 900.0}, {"busiest_thread_cores": None}, "busiest_thread_cores is unknown"),
        ({"dropped_ring_per_s": 900.0}, {"memory_left_bytes": 1e6}, "does not fit"),
    ],
)
def test_a_perf_buffer_is_left_alone_where_its_reader_may_be_the_limit(case_for, flow, process, reason):
    """Bigger buffers are the reflex, and often not the cure."""
    remedy = RingBufferSize()
    plan = remedy.plan(case_for(remedy, flow=PERF | flow, process=process))
    assert not plan.changes
    assert reason in plan.reason


def test_a_ring_that_is_called_for_and_cannot_be_changed_is_blocked(case_for):
    """What can't be done is not what need not be done: the ladder goes by it."""
    remedy = RingBufferSize()
    for needed, flow in ((True, {}), (False, {"burst_bytes": 0.0})):
        case = case_for(remedy, flow=flow)
        link = msgspec.structs.replace(case.knobs[remedy.knob], missing="it is a symbolic link")
        plan = remedy.plan(msgspec.structs.replace(case, knobs={remedy.knob: link}))
        assert not plan.changes
        assert plan.blocked is needed
        assert (plan.reason == "it is a symbolic link") is needed


def test_a_setting_that_cannot_be_read_is_blocked(case_for):
    """Whether a change is called for is then unknown."""
    remedy = RingBufferSize()
    gone = KnobValue(missing="it can't be read")
    assert remedy.plan(msgspec.structs.replace(case_for(remedy), knobs={remedy.knob: gone})).blocked


def test_a_bound_gives_the_largest_size_allowed_and_says_what_will_still_be_lost(case_for):
    """1 MiB holds part of the burst: the prediction is the rest, not zero."""
    remedy = RingBufferSize()
    plan = remedy.plan(case_for(remedy, at_most="1MiB"))
    assert plan.changes[0].after == "1MiB"
    short = (1_500_000 - (1 << 20)) / (1_500_000 - (256 << 10))
    assert predicted(plan, "flow.dropped_per_s") == pytest.approx(2_000 * short)
    assert "too small" in plan.warnings[0]


def test_a_factor_bounds_one_application_and_the_next_one_goes_on(case_for, agent):
    """A ladder of steps, each within the policy."""
    remedy = RingBufferSize()
    sizes = []
    for ring in (256 << 10, 1 << 20, 4 << 20):
        plan = remedy.plan(case_for(remedy, flow={"ring_bytes": float(ring)}, factor=4))
        sizes.append(plan.changes[0].after)
        agent.file.write_text(agent.file.read_text().replace(plan.changes[0].before, sizes[-1]))
    assert sizes == ["1MiB", "4MiB", "8MiB"]


def test_rings_per_cpu_count_once_for_each(case_for, agent):
    """Eight rings take eight times the memory."""
    remedy = RingBufferSize()
    target = agent.target
    knob = msgspec.structs.replace(target.knobs["ring-buffer-size"], per="cpu")
    target = msgspec.structs.replace(target, knobs={**target.knobs, knob.name: knob})
    plan = remedy.plan(case_for(remedy, target=target))
    assert plan.memory_bytes == 8 * ((4 << 20) - (256 << 10))


def test_a_ring_on_large_pages_is_a_power_of_two_of_them(case_for):
    """280,000 bytes are five pages of 64 KiB: eight."""
    remedy = RingBufferSize()
    plan = remedy.plan(case_for(remedy, flow={"burst_bytes": 140_000.0}, host=Host(page_bytes=65536)))
    assert plan.changes[0].after == "512KiB"


def test_an_agent_without_a_profile_is_told_to_get_one(case_for, agent):
    """'Has no knob' sends people looking for a setting; what lacks is the profile."""
    bare = msgspec.structs.replace(agent.target, profile="generic", knobs={})
    reasons = {remedy.plan(case_for(remedy, target=bare)).reason for remedy in (RingBufferSize(), Sampling())}
    assert reasons == {
        "agent has no profile, so where its settings are is unknown: docs/first-agent.md"
    }  # one reason: the outcome names it once


# ── poll-interval ──


def test_the_interval_is_that_in_which_half_the_ring_fills(case_for):
    """0.5 · 262144 / (30000 · 72) = 60.7 ms, down to 60."""
    remedy = PollInterval()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == "60ms"
    assert predicted(plan, "flow.fill_peak") == pytest.approx(30_000 * 0.06 * 72 / 262_144)
    assert predicted(plan, "flow.dropped_per_s") == 0


def test_an_interval_short_enough_is_left(case_for):
    """Waking up costs CPU for nothing."""
    remedy = PollInterval()
    plan = remedy.plan(case_for(remedy, flow={"in_per_s": 100.0, "burst_in_per_s": None}))
    assert not plan.changes
    assert "short enough" in plan.reason


def test_a_floor_that_can_not_hold_is_said(case_for):
    """Polling faster than the floor would be a busy loop."""
    remedy = PollInterval()
    plan = remedy.plan(case_for(remedy, floor="200ms"))
    assert not plan.changes
    assert "shortest possible" in plan.reason


# ── overload ──


def test_workers_grow_with_the_load_up_to_the_idle_cores(case_for):
    """1 · 120000 / (0.7 · 50000) = 3.43 → 4."""
    remedy = Workers()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == 4
    assert predicted(plan, "flow.service_per_s") == 200_000
    two = remedy.plan(case_for(remedy, process={"host_idle_cores": 1.0}))
    assert two.changes[0].after == 2
    assert predicted(two, "flow.dropped_per_s") == 20_000


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        ({"host_idle_cores": 0.1}, "only 0.10 cores are left"),
        ({"cpu_quota_left": 0.0}, "only 0.00 cores are left"),
        ({"busiest_thread_cores": 0.2}, "it waits"),
        ({"host_idle_cores": None}, "unknown"),
    ],
)
def test_workers_need_idle_cores_and_a_busy_reader(case_for, process, reason):
    """More threads that fight over one core make it worse."""
    remedy = Workers()
    plan = remedy.plan(case_for(remedy, process=process))
    assert not plan.changes
    assert reason in plan.reason


def test_sampling_keeps_what_seventy_per_cent_of_the_reader_can_bear(case_for):
    """120000 / (0.7 · 50000) → 1 in 4: 30000 arrive."""
    remedy = Sampling()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == 4
    assert plan.changes[0].before_text == "not set (default none)"
    assert predicted(plan, "flow.in_per_s") == 30_000
    assert predicted(plan, "flow.dropped_per_s") == 0
    assert plan.temporary


def live_case(case_for, remedy, value=1, **options):
    """The same case with a live door, whose value is handed in."""
    case = case_for(remedy, **options)
    knob = case.target.knobs["sampling"]
    live = Knob(name="sampling", backend="bpf-variable", path="sample_n", map_id=7, unit="one-in-n")
    knob = msgspec.structs.replace(knob, live=live)
    target = msgspec.structs.replace(case.target, knobs={**case.target.knobs, "sampling": knob})
    now = KnobValue(value=value, raw=str(value), effective=value, source="BPF variable sample_n (map 77)")
    return msgspec.structs.replace(case, target=target, knobs={**case.knobs, "sampling.live": now})


BURST = {"pattern": "bursts", "burst_in_per_s": 2_000_000.0, "in_per_s": 20_000.0, "service_per_s": 50_000.0}


def test_sampling_for_bursts_is_sized_by_the_ring_and_not_by_the_rate_inside(case_for):
    """330 KB / (0.7 · 256 KiB) = 1.8 → 1 in 2; the 2,000,000/s of 4 ms would have said 1 in 58."""
    remedy = Sampling()
    flow = BURST | {"burst_bytes": 330_000.0, "dropped_ring_per_s": 11_000.0, "dropped_per_s": 11_000.0}
    plan = remedy.plan(case_for(remedy, flow=flow))
    assert plan.changes[0].after == 2
    assert predicted(plan, "flow.in_per_s") == 10_000
    assert "leaves 10,000 events/s" in plan.changes[0].why
    assert predicted(plan, "flow.dropped_per_s") == 0


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        ({"burst_bytes": 700_000.0}, "would leave out 75% of the events, and 55% are lost now"),
        ({"burst_bytes": 150_000.0}, "holds the largest burst seen"),
        ({"burst_bytes": None}, "flow.burst_bytes is unknown"),
    ],
)
def test_sampling_never_hides_more_than_the_bursts_lose(case_for, flow, reason):
    """To lose 75 % on purpose instead of 55 % by chance is no help."""
    remedy = Sampling()
    lost = {"dropped_ring_per_s": 11_000.0, "dropped_per_s": 11_000.0}
    plan = remedy.plan(case_for(remedy, flow=BURST | lost | flow))
    assert not plan.changes
    assert reason in plan.reason


def test_sampling_goes_through_the_live_door_where_there_is_one(case_for):
    """No reload, in force with the next event; both doors when asked."""
    remedy = Sampling()
    (live,) = remedy.plan(live_case(case_for, remedy)).changes
    assert (live.live, live.knob.backend, live.knob.reload.by) == (True, "bpf-variable", "none")
    assert live.where == "BPF variable sample_n (map 77)"
    by_hand = remedy.plan(live_case(case_for, remedy)).undo_by_hand
    assert by_hand.startswith("runbook undo (it stores 1 in BPF variable sample_n (map 77)), or restart")
    both = remedy.plan(live_case(case_for, remedy, through="both")).changes
    assert [each.knob.backend for each in both] == ["bpf-variable", "yaml-file"]
    (config,) = remedy.plan(live_case(case_for, remedy, through="config")).changes
    assert config.knob.backend == "yaml-file"


def test_sampling_starts_from_the_rate_in_force(case_for):
    """1 in 3 now and still 3.43 times too much: 1 in 11. A variable of 0 keeps all."""
    remedy = Sampling()
    assert remedy.plan(live_case(case_for, remedy, value=3)).changes[0].after == 11
    assert remedy.plan(live_case(case_for, remedy, value=0)).changes[0].after == 4


@pytest.mark.parametrize("remedy", [Workers(), Sampling(), BatchSize()])
def test_a_reader_that_keeps_up_is_left_alone(case_for, remedy):
    """Loss behind the ring is no reason to slow the ring's producer."""
    plan = remedy.plan(case_for(remedy, flow={"in_per_s": 20_000.0}))
    assert not plan.changes
    assert "keeps up" in plan.reason


def test_a_quota_grows_by_what_the_load_needs_within_the_machine(case_for):
    """0.5 · 3.4286 = 1.72 cores; on a one-core machine 1."""
    remedy = CpuQuota()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == 1.72
    assert plan.risk == "medium"
    small = remedy.plan(case_for(remedy, process={"host_cpus": 1.0}))
    assert small.changes[0].after == 1.0


def test_a_quota_that_did_not_throttle_is_left(case_for):
    """Raising it would change nothing but the neighbours' share."""
    remedy = CpuQuota()
    plan = remedy.plan(case_for(remedy, process={"throttled_share": 0.0}))
    assert "did not hold the agent back" in plan.reason


def test_a_batch_is_quadrupled_and_the_gain_bounded_by_system_time(case_for):
    """20 % system time: at best 50000 / (1 − 0.2 · 0.75)."""
    remedy = BatchSize()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == 256
    assert predicted(plan, "flow.service_per_s") == pytest.approx(50_000 / 0.85)


# ── event-filter, wakeup-policy ──


def test_the_noisy_process_is_added_to_the_list(case_for):
    """What stood there stays; the rest of the events is predicted."""
    remedy = EventFilter()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == ["init", "curl"]
    assert predicted(plan, "flow.in_per_s") == pytest.approx(12_000)
    assert plan.temporary
    assert plan.risk == "medium"
    assert "hides every event" in plan.warnings[0]


@pytest.mark.parametrize(
    ("sources", "options", "reason"),
    [
        ({"top_per_s": 40_000.0}, {}, "no source stands out"),
        ({"top_comm": "init"}, {}, "left out already"),
        ({}, {"never": "sshd, curl"}, "must never be left out"),
    ],
)
def test_a_filter_needs_one_source_that_may_be_hidden(case_for, sources, options, reason):
    """Hiding the wrong process hides the attack."""
    remedy = EventFilter()
    plan = remedy.plan(case_for(remedy, sources=sources, **options))
    assert not plan.changes
    assert reason in plan.reason


def test_where_the_agent_filters_nobody_is_hidden_on_a_guess(case_for):
    """Sources are counted before the agent's filter: cc1 may never reach it. A human may name one."""
    remedy = EventFilter()
    rows = ({"comm": "cc1", "per_s": 35_000.0}, {"comm": "curl", "per_s": 30_000.0})

    def plan(**options):
        case = case_for(remedy, flow={"in_per_s": 36_000.0}, sources={"total_per_s": 100_000.0}, **options)
        sources = msgspec.structs.replace(case.evidence["sources"], tables={"processes": rows})
        return remedy.plan(msgspec.structs.replace(case, evidence={**case.evidence, "sources": sources}))

    assert not plan().changes
    assert "it filters already" in plan().reason
    assert plan(comm="curl").changes[0].after == ["init", "curl"]
    assert predicted(plan(comm="curl"), "flow.in_per_s") == 6_000
    assert "not among" in plan(comm="nginx").reason


def test_a_sleeper_is_woken_earlier_and_a_busy_reader_less_often(case_for, agent):
    """The same knob, two directions, by the evidence."""
    remedy = WakeupPolicy()
    assert remedy.plan(case_for(remedy)).changes[0].after == "auto"
    agent.file.write_text(agent.file.read_text().replace("'none'", "'force'"))
    busy = remedy.plan(
        case_for(remedy, process={"busiest_thread_cores": 1.0, "context_switches_per_s": 40_000.0})
    )
    assert busy.changes[0].after == "every"
    assert predicted(busy, "process.context_switches_per_s") == 20_000


# ── queue-size ──


def test_the_queue_gets_room_for_what_each_burst_loses(case_for):
    """4,000/s every half second are 2,000 events a burst: three times that, at least twice what there is."""
    remedy = QueueSize()
    plan = remedy.plan(case_for(remedy))
    assert plan.changes[0].after == 2 * 8_192  # three times a burst would be less than twice what there is
    assert predicted(plan, "flow.dropped_behind_per_s") == 0


@pytest.mark.parametrize(
    ("flow", "process", "reason"),
    [
        ({"dropped_behind_per_s": 0.0}, {}, "nothing is lost behind the ring"),
        ({"dropped_queue_per_s": 0.0}, {}, "the exporter does"),
        ({"pattern": "steady"}, {}, "arrive evenly"),
        ({"pattern": "sustained"}, {}, "sustained"),
        ({"dropped_queue_per_s": 19_900.0}, {}, "has all but stopped"),
        ({}, {"memory_left_bytes": 1000.0}, "memory limit leaves"),
    ],
)
def test_a_queue_is_not_lengthened_where_that_only_delays_the_loss(case_for, flow, process, reason):
    """Who takes the output too slowly fills any queue."""
    remedy = QueueSize()
    plan = remedy.plan(case_for(remedy, flow=flow, process=process))
    assert not plan.changes
    assert reason in plan.reason


def test_a_queue_without_limit_is_left_alone(case_for):
    """It loses nothing, and may fill the memory."""
    remedy = QueueSize()
    case = case_for(remedy)
    knob = msgspec.structs.replace(case.target.knobs["queue-size"], unbounded=0, default=0)
    target = msgspec.structs.replace(case.target, knobs={"queue-size": knob})
    knobs = {"queue-size": KnobValue(source="file")}
    plan = remedy.plan(msgspec.structs.replace(case, target=target, knobs=knobs))
    assert not plan.changes
    assert "no limit" in plan.reason
