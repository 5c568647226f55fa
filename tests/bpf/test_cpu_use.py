"""Where an agent's CPU goes: each cause from the numbers that belong to it, and none from another's."""

from __future__ import annotations

import pytest

from bpf.diagnoses.cpu_bill import split
from bpf.diagnoses.cpu_use import CpuUse
from engine.values import Case, Evidence, Reading, Target

TARGET = Target(name="lab", ref="lab", facts={"optional_programs": "on_return"})

#: 10,000 events/s at 2 µs, a program of 0.5 µs.
PROCESS = {"cpu_cores": 0.02, "busiest_thread_cores": 0.02, "busiest_thread": "reader (7)"}
FLOW = {"in_per_s": 10_000.0, "dropped_per_s": 0.0, "service_per_s": 400_000.0, "asleep_share": 0.0}
COST = ({"id": 1, "name": "on_syscall", "runs_per_s": 10_000.0, "ns_per_run": 500.0, "cores": 0.005},)
WORK = {"spin_cores": 0.0, "empty_wakeups_per_s": 0.0, "empty_share": 0.0, "syscalls_per_event": 0.1}
FUNCTIONS = (
    {"function": "mix", "module": "lab-agent", "kind": "user", "self_share": 0.8, "total_share": 0.8},
)


def evidence(short: str, values: dict[str, object], **tables) -> Evidence:
    readings = {
        name: Reading(value=value) if value is not None else Reading(missing="-")
        for name, value in values.items()
    }
    return Evidence(
        probe=short,
        short=short,
        target="lab",
        started_at=0.0,
        ended_at=10.0,
        readings=readings,
        tables=tables,
    )


def case(
    *,
    process=None,
    flow=None,
    programs=COST,
    work=None,
    functions=FUNCTIONS,
    stacks=(),
    sources=None,
    profile=None,
    without=(),
):
    cores = sum(row["cores"] for row in programs)
    top = functions[0] if functions else {}
    seen = {
        "process": evidence("process", PROCESS | (process or {})),
        "flow": evidence("flow", FLOW | (flow or {})),
        "cost": evidence(
            "cost",
            {"cpu_cores": cores, "runs_per_s": sum(row["runs_per_s"] for row in programs)},
            programs=tuple(programs),
        ),
        "work": evidence("work", WORK | (work or {})),
        "profile": evidence(
            "profile",
            {
                "top_user_function": top.get("function"),
                "top_user_share": top.get("self_share"),
                **(profile or {}),
            },
            functions=tuple(functions),
            stacks=tuple(stacks),
        ),
        "sources": evidence("sources", sources or {"top_comm": "web", "top_share": 0.25}),
    }
    return Case(target=TARGET, evidence={k: v for k, v in seen.items() if k not in without})


def decide(**seen):
    return CpuUse().decide(case(**seen))


def program(name="on_syscall", runs=10_000.0, price_us=0.5):
    return {
        "id": 1,
        "name": name,
        "runs_per_s": runs,
        "ns_per_run": price_us * 1000,
        "cores": runs * price_us * 1e-6,
    }


SPIN = {"process": {"cpu_cores": 0.99, "busiest_thread_cores": 0.99}, "flow": {"in_per_s": 1_000.0}}
HOT_READER = {"process": {"cpu_cores": 0.4}, "flow": {"in_per_s": 10_000.0}}
STORM = {
    "process": {"cpu_cores": 0.1},
    "flow": {"in_per_s": 150_000.0},
    "programs": (program(runs=215_000.0, price_us=0.67),),
    "work": {"syscalls_per_event": 0.05},
}
HOT_PROGRAM = {"programs": (program(price_us=0.6), program("on_return", 12_000.0, 25.0))}


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (
            SPIN | {"work": {"spin_cores": 0.97, "empty_share": 0.99, "empty_wakeups_per_s": 80_000.0}},
            "busy-polling",
        ),
        (HOT_READER, "inefficient-processing"),
        (STORM, "too-many-events"),
        (HOT_PROGRAM, "hot-program"),
    ],
)
def test_each_cause_comes_first_from_its_own_numbers(seen, cause):
    """The four that are taken for each other."""
    verdict = decide(**seen)
    assert verdict.causes[0].name == cause
    assert verdict.causes[0].explains >= 0.6
    assert verdict.causes[0].confidence >= 0.9
    assert verdict.causes[0].arithmetic
    assert verdict.causes[0].speaks_for


def test_a_whole_core_of_real_work_is_not_called_spinning():
    """1,000 events/s of 1 ms each look like a spinning reader by CPU and rate alone."""
    verdict = decide(**SPIN | {"work": {"spin_cores": 0.01}})
    assert [cause.name for cause in verdict.causes] == ["inefficient-processing"]
    assert "mix" in verdict.sentence


def test_the_parts_of_all_causes_add_up_to_the_total():
    """A bill: nothing is told twice."""
    both = STORM | {"process": {"cpu_cores": 2.1}, "programs": (program(runs=200_000.0, price_us=12.0),)}
    causes = decide(**both).causes
    assert len(causes) == 3
    assert sum(cause.explains for cause in causes) == pytest.approx(1.0)


def test_rate_and_price_share_the_cost_by_how_far_each_is_beyond_the_ordinary():
    """150,000/s of 14 µs: three times the rate, seven times the price."""
    found = split(150_000, 14e-6)
    assert found.price == pytest.approx(0.64, abs=0.01)
    assert split(20_000, 1e-6).ordinary


def test_a_cheap_program_that_runs_for_nothing_is_hot_too():
    """A million runs for ten thousand events: filter first, or attach elsewhere."""
    verdict = decide(programs=(program(runs=1_000_000.0, price_us=0.3),))
    assert verdict.causes[0].name == "hot-program"
    assert "99 % of its runs make no event" in verdict.causes[0].fix


def test_an_optional_program_is_said_to_be_detachable():
    """The advice that costs least."""
    cause = decide(**HOT_PROGRAM).causes[0]
    assert "on_return" in cause.sentence
    assert "it can be detached" in cause.fix
    assert "tail calls" in cause.fix


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        ("symcache_lookup", "keep symbols"),
        ("pcre2_match_8", "drop rules"),
        ("json_object_to_string", "at once"),
    ],
)
def test_symbol_rule_and_text_work_are_told_with_their_advice(function, advice):
    """What the functions say about where to save."""
    functions = ({"function": function, "kind": "user", "self_share": 0.5},)
    assert advice in decide(**HOT_READER, functions=functions).causes[0].fix


def test_cpus_that_wait_for_each_other_in_a_map_are_sent_to_per_cpu_maps():
    """Advice where the profile shows it, and only there."""
    stacks = (
        {"folded": "getppid;bpf_prog_x;htab_map_update_elem;_raw_spin_lock", "samples": 10},
        {"folded": "main;work", "samples": 90},
    )
    notes = decide(**HOT_PROGRAM, stacks=stacks).notes
    assert any("PERCPU_HASH" in note for note in notes)
    assert not any("PERCPU" in note for note in decide(**HOT_PROGRAM).notes)


@pytest.mark.parametrize(
    ("seen", "without", "lost"),
    [
        (HOT_READER, "profile", "function"),
        (HOT_READER, "work", "spins"),
        (HOT_READER, "flow", "rate of events"),
    ],
)
def test_missing_evidence_lowers_confidence_and_is_noted(seen, without, lost):
    """Less is known, and it is said what."""
    full, part = decide(**seen), decide(**seen, without=(without,))
    assert part.causes[0].confidence < full.causes[0].confidence
    assert any(lost in note for note in part.notes)


def test_without_the_cost_of_programs_the_total_is_told_to_be_higher():
    """A hot program is invisible in the agent's own CPU."""
    verdict = decide(**HOT_READER, without=("cost",))
    assert verdict.causes[0].name == "inefficient-processing"
    assert any("program-cost is missing" in note for note in verdict.notes)


def test_a_thread_that_never_rests_with_an_empty_ring_is_suspected_to_spin():
    """Without reader-work there is a suspicion, no more."""
    cause = decide(**SPIN, without=("work",)).causes[0]
    assert cause.name == "busy-polling"
    assert cause.confidence == 0.5
    assert "worker behind the reader" in cause.speaks_against[0]


def test_cpu_without_events_is_not_called_a_price_per_event():
    """0.5 of a core for 3 events/s is no cost of events."""
    cause = decide(process={"cpu_cores": 0.5}, flow={"in_per_s": 3.0}).causes[0]
    assert cause.name == "inefficient-processing"
    assert "though only 3 events/s arrive" in cause.sentence


def test_no_event_at_all_is_no_division_by_zero():
    """An idle host with a busy agent."""
    assert (
        decide(process={"cpu_cores": 0.5}, flow={"in_per_s": 0.0}).causes[0].name == "inefficient-processing"
    )


def test_an_unknown_rate_can_still_be_bounded_by_the_runs_of_the_programs():
    """A program makes one event a run at most: 10,000 runs/s can't be a storm."""
    verdict = decide(process={"cpu_cores": 0.5}, flow={"in_per_s": None})
    assert [cause.name for cause in verdict.causes] == ["inefficient-processing"]


def test_the_size_of_the_records_in_the_ring_tells_an_unknown_rate():
    """Tools without a profile: 10.8 MB/s of 72 bytes each are 150,000 events/s."""
    flow = {"in_per_s": None, "bytes_in_per_s": 10_800_000.0}
    sources = {"record_bytes": 72.0, "top_comm": "web", "top_share": 0.2}
    cause = decide(**STORM | {"flow": flow}, sources=sources).causes[0]
    assert cause.name == "too-many-events"
    assert "150,000 events/s" in cause.sentence


def test_bytes_bound_an_unknown_rate():
    """300,000 runs/s and 400 KB/s of records: at most 25,000 events/s, so the program runs for nothing."""
    seen = {"in_per_s": None, "bytes_in_per_s": 400_000.0}
    few = decide(programs=(program(runs=300_000.0, price_us=0.7),), flow=seen).causes[0]
    assert few.name == "hot-program"
    many = decide(programs=(program(runs=300_000.0, price_us=0.7),), flow=seen | {"bytes_in_per_s": 2e7})
    assert all(cause.confidence <= 0.5 for cause in many.causes)


def test_hardly_any_cpu_and_unknown_cpu_name_no_cause():
    """Nothing to explain is not nothing known."""
    idle = decide(process={"cpu_cores": 0.001}, programs=())
    assert not idle.causes
    assert "nothing to explain" in idle.sentence
    assert "not measured" in decide(process={"cpu_cores": None}).sentence


def test_a_flood_from_one_process_is_named_with_many_events():
    """Leaving one process out costs less than sampling all."""
    cause = decide(**STORM, sources={"top_comm": "noisy", "top_share": 0.9}).causes[0]
    assert "noisy" in cause.fix


def test_lost_events_are_pointed_at():
    """The other runbook."""
    assert any(
        "events-dropped" in note
        for note in decide(**STORM | {"flow": STORM["flow"] | {"dropped_per_s": 5.0}}).notes
    )


def test_without_run_statistics_the_profile_still_tells_a_hot_program():
    """Kernels before 5.8 count no runs; samples are taken wherever the program runs."""
    seen = {"cpu_cores": 0.5, "bpf_share": 0.9, "top_program": "on_return", "top_program_share": 0.8}
    cause = decide(profile=seen, without=("cost",)).causes[0]
    assert cause.name == "hot-program"
    assert cause.confidence == 0.6
    assert "by the samples" in cause.arithmetic[1]
    assert "optional" in cause.fix


def test_the_function_that_is_named_is_the_agents_own():
    """A BPF program's function may lead the profile; it is not where the reader's time goes."""
    profile = {"top_function": "bpf_prog_x", "top_kernel_function": "do_syscall_64", "top_kernel_share": 0.1}
    assert "mix" in decide(**HOT_READER, profile=profile).sentence


def test_an_agent_that_is_woken_for_every_event_is_told_to_rest():
    """The system time of sleeping and waking is no work on events."""
    process = {"cpu_cores": 0.1, "cpu_system_cores": 0.08, "context_switches_per_s": 8_000.0}
    cause = decide(process=process, flow={"in_per_s": 5_000.0}).causes[0]
    assert "8,000 sleeps and wake-ups a second" in cause.speaks_for[-2] + cause.speaks_for[-1]
    assert "rest between two looks" in cause.fix
