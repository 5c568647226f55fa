"""What the changes plan and foretell after a verdict about CPU."""

import re

import msgspec
import pytest

from engine.values import Case, Evidence, Knob, KnobValue, Reading, Reload, Target, Verdict
from remediations.batch_size import BatchSize
from remediations.detach_program import DetachProgram
from remediations.event_filter import EventFilter
from remediations.poll_interval import PollInterval
from remediations.sampling import Sampling
from remediations.wakeup_policy import WakeupPolicy

KNOBS = {
    "poll-interval": Knob(name="poll-interval", backend="yaml-file", path="poll", unit="ms", default="0ms"),
    "batch-size": Knob(name="batch-size", backend="yaml-file", path="batch", unit="count", default=64),
    "sampling": Knob(name="sampling", backend="yaml-file", path="one_in", unit="one-in-n", default=1),
    "event-filter": Knob(name="event-filter", backend="yaml-file", path="skip", unit="list", default=[]),
    "wakeup-policy": Knob(
        name="wakeup-policy",
        backend="yaml-file",
        path="wakeup",
        unit="text",
        default="none",
        choices=("auto", "none", "every"),
    ),
    "optional-program": Knob(
        name="optional-program", backend="yaml-file", path="optional", unit="bool", default=False
    ),
}
TARGET = Target(
    name="agent", ref="a", profile="test", knobs=KNOBS, facts={"optional_programs": "other_one dear_one"}
)

#: 1,000 events/s; a whole core goes into asking.
SPIN = {
    "process": {"cpu_cores": 0.99, "cpu_system_cores": 0.01, "context_switches_per_s": 40.0},
    "work": {"spin_cores": 0.98, "syscalls_per_event": 0.5},
    "flow": {"in_per_s": 1_000.0, "ring_bytes": 262_144.0, "record_bytes": 72.0, "dropped_per_s": 0.0},
    "cost": {"cpu_cores": 0.02, "runs_per_s": 100_000.0},
}
#: 150,000 events/s of 1 µs, and 10,000 sleeps/s of 8 µs.
STORM = {
    "process": {"cpu_cores": 0.23, "cpu_system_cores": 0.08, "context_switches_per_s": 10_000.0},
    "work": {"spin_cores": 0.0, "syscalls_per_event": 0.2},
    "flow": SPIN["flow"] | {"in_per_s": 150_000.0},
    "cost": {"cpu_cores": 0.1, "runs_per_s": 200_000.0},
}
PROGRAMS = ({"name": "main", "cores": 0.02}, {"name": "dear_one", "cores": 0.3})


def seen(short, values, **tables):
    readings = {
        name: Reading(value=value) if value is not None else Reading(missing="-")
        for name, value in values.items()
    }
    return Evidence(
        probe=short, short=short, target="agent", started_at=0, ended_at=1, readings=readings, tables=tables
    )


def case(evidence, *, value=None, target=TARGET, programs=(), sources=None, **options):
    found = {
        short: seen(short, values, **({"programs": programs} if short == "cost" else {}))
        for short, values in evidence.items()
    }
    if sources:
        found["sources"] = seen("sources", sources)
    knobs = {name: KnobValue(value=value, raw=str(value), effective=value) for name in target.knobs}
    if value is None:
        knobs = {name: KnobValue() for name in target.knobs}
    verdict = Verdict(diagnosis="cpu-use", sentence="-")
    return Case(target=target, evidence=found, verdict=verdict, knobs=knobs, options=options)


def predicted(plan, measure):
    return next(one.after for one in plan.predictions if one.measure == measure)


# ── poll-interval ──


def test_a_reader_that_spins_rests_between_two_looks():
    """500 looks/s of 10 µs, 5 % of what is allowed, and what is left for work: 0.0146 in place of 0.99."""
    plan = PollInterval().plan(case(SPIN))
    assert plan.changes[0].after == "2ms"
    assert predicted(plan, "process.cpu_cores") == pytest.approx(500 * 10e-6 + 0.0096)
    assert next(one for one in plan.predictions if one.measure == "process.cpu_cores").at_most
    (promise,) = [one for one in plan.predictions if one.promised]
    assert (promise.measure, promise.after) == ("flow.dropped_per_s", 1.0)
    assert predicted(plan, "flow.fill_peak") == 0.5
    assert "0.98 cores go into asking" in plan.reason


def test_a_reader_rests_no_longer_than_half_the_ring_lasts():
    """0.5 · 26000 / (100,000 · 72) = 1.8 ms; on a ring for less than a millisecond it can't rest."""
    flow = SPIN["flow"] | {"in_per_s": 100_000.0, "ring_bytes": 26_000.0}
    assert PollInterval().plan(case(SPIN | {"flow": flow})).changes[0].after == "1800us"
    small = flow | {"ring_bytes": 8_192.0}
    plan = PollInterval().plan(case(SPIN | {"flow": small}))
    assert not plan.changes
    assert "no time to rest" in plan.reason


def test_a_reader_that_is_woken_all_the_time_rests_too():
    """The sleeps go, the work stays: 0.15 and 500 sleeps of 8 µs."""
    plan = PollInterval().plan(case(STORM))
    assert predicted(plan, "process.cpu_cores") == pytest.approx(0.15 + 500 * 8e-6)


@pytest.mark.parametrize(
    ("evidence", "value", "reason"),
    [
        (STORM | {"process": {"cpu_cores": 0.9, "cpu_system_cores": 0.0}}, None, "not worth it"),
        (SPIN, 0.05, "rests for 50 ms between two looks already"),
    ],
)
def test_no_rest_where_it_would_save_nothing(evidence, value, reason):
    """Events would come later for no gain."""
    plan = PollInterval().plan(case(evidence, value=value))
    assert not plan.changes
    assert reason in plan.reason


def test_a_reader_that_polls_far_too_often_rests_longer():
    """10,000 looks/s of 7 µs; most are empty and still no spinning: they go, the work stays."""
    evidence = SPIN | {
        "process": {"cpu_cores": 0.1, "cpu_system_cores": 0.07, "context_switches_per_s": 10_000.0},
        "work": {"spin_cores": 0.025},
        "flow": SPIN["flow"] | {"in_per_s": 2_000.0, "service_per_s": 8_000.0},
    }
    plan = PollInterval().plan(case(evidence, value=0.0001))
    assert plan.changes[0].after == 2
    assert predicted(plan, "process.cpu_cores") == pytest.approx(500 * 7e-6 + 0.005)


def test_a_buffer_of_unknown_size_is_warned_about():
    """A perf buffer shows no positions."""
    plan = PollInterval().plan(case(SPIN | {"flow": {"in_per_s": 1_000.0}}))
    assert any("watch for lost events" in warning for warning in plan.warnings)


def test_without_a_verdict_about_cpu_nothing_changes():
    """The same numbers after event-loss: the interval is short enough."""
    asked = msgspec.structs.replace(case(STORM), verdict=None)
    assert "process.cpu_cores" not in [one.measure for one in PollInterval().plan(asked).predictions]


# ── wakeup-policy ──


def test_a_spinning_reader_is_put_to_sleep_until_woken():
    """At most one wakeup for each event."""
    plan = WakeupPolicy().plan(case(SPIN))
    assert plan.changes[0].after == "auto"
    assert predicted(plan, "process.cpu_cores") < 0.05


def test_a_reader_woken_for_every_event_is_woken_for_many():
    """From auto to every; at least half of the sleeps are saved."""
    process = STORM["process"] | {
        "context_switches_per_s": 20_000.0,
        "cpu_cores": 0.35,
        "cpu_system_cores": 0.2,
    }
    asked = case(STORM | {"process": process}, value="auto")
    plan = WakeupPolicy().plan(asked)
    assert plan.changes[0].after == "every"
    assert predicted(plan, "process.cpu_cores") == pytest.approx(0.25)


# ── batch-size ──


def test_a_larger_batch_saves_what_is_paid_per_batch():
    """0.05 of system time, three quarters of it."""
    process = {"cpu_cores": 0.2, "cpu_system_cores": 0.15}
    plan = BatchSize().plan(case(STORM | {"process": process, "work": {"syscalls_per_event": 1.0}}, value=4))
    assert plan.changes[0].after == 16
    assert predicted(plan, "process.cpu_cores") == pytest.approx(0.2 - 0.15 * 0.75)


@pytest.mark.parametrize(("calls", "reason"), [(0.001, "little is paid per batch"), (2.0, "not filled")])
def test_a_batch_is_left_where_its_size_is_not_what_costs(calls, reason):
    """The CPU goes into the code; or every look finds fewer events than the batch holds."""
    plan = BatchSize().plan(case(STORM | {"work": {"syscalls_per_event": calls}}, value=64))
    assert reason in plan.reason


# ── sampling and event-filter ──


def test_sampling_keeps_what_the_cores_allow():
    """The least N whose own CPU and programs stay below 0.7 of the cores."""
    plan = Sampling().plan(case(STORM, cores=0.1))
    keep = plan.changes[0].after
    assert 1 < keep < 100
    assert predicted(plan, "process.cpu_cores") <= 0.07
    assert re.search(r"at best, 0\.0[67]\d* cores", plan.reason)
    assert plan.temporary
    assert predicted(plan, "flow.in_per_s") == pytest.approx(150_000 / keep)


def test_fewer_events_save_no_sleeps_while_each_still_wakes_the_reader():
    """At 1 in 10 the 10,000 sleeps stay: 15,000 events can still wake it as often."""
    plan = Sampling().plan(case(STORM, cores=0.1, at_most=10))
    assert predicted(plan, "process.cpu_cores") == pytest.approx(0.08 + 0.015)


def test_programs_pay_for_the_runs_that_make_no_event():
    """At best 50,000 + 135,000 runs of 100 ns and 15,000 whole ones of 633 ns; only "no more" is promised."""
    plan = Sampling().plan(case(STORM, cores=0.1, at_most=10))
    whole = (0.1 - 50_000 * 100e-9) / 150_000
    (one,) = [one for one in plan.predictions if one.measure == "cost.cpu_cores"]
    assert (one.after, one.at_most) == (0.1, True)
    assert f"{15_000 * whole + 185_000 * 100e-9:.2g} cores at best" in one.arithmetic


def test_sampling_needs_to_know_that_events_arrive():
    """Fewer of none can't be planned."""
    plan = Sampling().plan(case(STORM | {"flow": {"in_per_s": 0.0}}))
    assert "events" in plan.reason
    assert not plan.changes


def test_a_filter_foretells_the_cpu_at_the_rate_of_the_others():
    """Nine tenths of the work go with one process."""
    sources = {"ring_share": 0.9, "ring_comm": "noisy", "total_per_s": 150_000.0}
    plan = EventFilter().plan(case(STORM, sources=sources))
    assert plan.changes[0].after == ["noisy"]
    assert predicted(plan, "process.cpu_cores") == pytest.approx(0.08 + 0.015)


# ── detach-program ──


def test_the_dearest_optional_program_is_switched_off_by_the_agents_setting():
    """The programs' CPU falls by what it took; what is lost is said."""
    evidence = SPIN | {"cost": {"cpu_cores": 0.32, "runs_per_s": 1.0}}
    plan = DetachProgram().plan(case(evidence, value=True, programs=PROGRAMS))
    (change,) = plan.changes
    assert (change.before, change.after, change.after_text) == (True, False, "off")
    assert predicted(plan, "cost.cpu_cores") == pytest.approx(0.02)
    assert "what the program dear_one reports" in plan.loses[0]
    assert plan.risk == "medium"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": False, "programs": PROGRAMS}, "switched off already"),
        (
            {"value": True, "programs": ({"name": "main", "cores": 0.3},)},
            "none of the optional programs runs",
        ),
        ({"value": True, "programs": ({"name": "dear_one", "cores": 0.001},)}, "not worth losing"),
        ({"value": True, "programs": PROGRAMS, "program": "main"}, "does not call main optional"),
        ({"value": True, "target": msgspec.structs.replace(TARGET, facts={})}, "can do without"),
    ],
)
def test_a_program_is_left_that_is_off_cheap_or_not_optional(changes, reason):
    """Only what the profile gives up may go."""
    plan = DetachProgram().plan(case(SPIN, **changes))
    assert not plan.changes
    assert reason in plan.reason


LINK = KnobValue(value=True, raw="7", effective=True, source="link of the BPF program dear_one (cgroup 7)")


def by_link(start, link=LINK):
    target = msgspec.structs.replace(TARGET, knobs={}, start=start)
    asked = case(SPIN, target=target, programs=PROGRAMS)
    return msgspec.structs.replace(asked, knobs={"optional-program.dear_one": link})


def test_without_a_setting_a_program_goes_by_its_link_where_a_start_brings_it_back():
    """Undo starts the agent anew, and says so beforehand."""
    plan = DetachProgram().plan(by_link(Reload(by="systemd", unit="agent.service")))
    assert plan.changes[0].knob.backend == "bpf-link"
    assert "start agent anew: systemctl restart agent.service" in plan.undo_by_hand
    assert any("undo starts the agent anew" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("start", "link", "reason"),
    [
        (Reload(), LINK, "nothing would attach it again"),
        (
            Reload(by="systemd", unit="a"),
            KnobValue(missing="hangs on a raw_tracepoint link"),
            "raw_tracepoint",
        ),
    ],
)
def test_a_link_that_could_not_be_undone_or_detached_is_blocked(start, link, reason):
    """Called for, and not possible here: a human must know."""
    plan = DetachProgram().plan(by_link(start, link))
    assert plan.blocked
    assert reason in plan.reason
