"""Every remediation on the practice agent, for real: in force, then undone byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bpf.lab import lab
from bpf.lab.rates import scrape_all
from bpf.libbpf import BpfObject
from bpf.objects import inventory
from engine.agents import targets
from engine.errors import ChangedSince, ChangeFailed
from engine.values import Case, Change, Evidence, Host, Knob, Plan, Reading, Target
from remediations.batch_size import BatchSize
from remediations.cpu_quota import CpuQuota
from remediations.event_filter import EventFilter
from remediations.knob_change import KnobChange
from remediations.knobs.backend import NotChanged
from remediations.knobs.bpf_variable import BpfVariable
from remediations.poll_interval import PollInterval
from remediations.ring_buffer_size import RingBufferSize
from remediations.sampling import Sampling
from remediations.wakeup_policy import WakeupPolicy
from remediations.workers import Workers

pytestmark = pytest.mark.kernel

DROPPED = 'bpf_events_dropped_total{stage="ring"}'
RECEIVED = 'bpf_events_received_total{type="syscall"}'
MATCHED = "lab_events_matched_total"
RECORD = 72.0

BURST = {
    "in_per_s": 20_000.0,
    "burst_in_per_s": 500_000.0,
    "service_per_s": 100_000.0,
    "dropped_per_s": 9_000.0,
    "dropped_ring_per_s": 9_000.0,
    "record_bytes": RECORD,
    "ring_bytes": 262_144.0,
    "burst_bytes": 720_000.0,
    "pattern": "bursts",
}
SLOW = {
    "in_per_s": 20_000.0,
    "record_bytes": RECORD,
    "ring_bytes": 1_048_576.0,
    "poll_interval_s": 1.0,
    "dropped_per_s": 5_000.0,
    "pattern": "steady",
}
FLOOD = {
    "in_per_s": 150_000.0,
    "service_per_s": 50_000.0,
    "out_per_s": 50_000.0,
    "dropped_per_s": 100_000.0,
    "record_bytes": RECORD,
    "ring_bytes": 1_048_576.0,
    "pattern": "sustained",
}
IDLE = {
    "busiest_thread_cores": 0.3,
    "host_idle_cores": 2.0,
    "host_cpus": 2.0,
    "context_switches_per_s": 100.0,
}
BUSY = {**IDLE, "busiest_thread_cores": 0.9, "cpu_cores": 0.9, "cpu_system_cores": 0.2}
THROTTLED = {**IDLE, "throttled_share": 0.9}


def evidence(short: str, **values: float | str) -> Evidence:
    """Evidence with these readings."""
    readings = {name: Reading(value=value) for name, value in values.items()}
    return Evidence(probe=short, short=short, target="lab", started_at=0, ended_at=1, readings=readings)


def case_of(
    remedy: KnobChange, target: Target, flow: dict, process: dict, sources: dict | None = None
) -> Case:
    """A case from given numbers, with the knobs as they really are."""
    seen = [evidence("flow", **flow), evidence("process", **process), evidence("sources", **(sources or {}))]
    return Case(
        target=target,
        evidence={each.short: each for each in seen},
        knobs=remedy.read(target),
        host=Host(cpus=2, possible_cpus=2),
    )


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], tuple[lab.Instance, Target]]]:
    """started(fault): a practice agent and the target made of it; stopped when the test is over."""

    def start(fault: str = "") -> tuple[lab.Instance, Target]:
        instance = lab.start(fault, directory=tmp_path / "lab", seconds=120)
        return instance, found(instance)

    yield start
    for each in lab.instances(tmp_path / "lab"):
        lab.stop(each)


def found(instance: lab.Instance) -> Target:
    """The target, found as a run finds it."""
    return targets.on_this_host().find(pid=instance.pid)


def metric(instance: lab.Instance, name: str) -> float:
    return scrape_all(instance.metrics_url)[name]


def growth(instance: lab.Instance, name: str, seconds: float) -> float:
    """By how much a counter grows in a while."""
    first = metric(instance, name)
    time.sleep(seconds)
    return metric(instance, name) - first


def turned(remedy: KnobChange, target: Target, plan: Plan) -> tuple[Change, dict]:
    """Capture (through JSON) and apply the plan's one change."""
    (change,) = plan.changes
    captured = json.loads(json.dumps(remedy.capture(change, target)))
    remedy.apply(change, target, captured)
    assert remedy.state(change, target, captured) == "after"
    return change, captured


#: remediation, fault, evidence, the metric that shows it in force, its value before and after.
CASES = [
    (RingBufferSize(), "burst", BURST, IDLE, "lab_ring_bytes", 262_144, 2 << 20),
    (PollInterval(), "slow-poll", SLOW, IDLE, "lab_poll_interval_seconds", 1.0, 0.36),
    (Workers(), "cpu-bound", FLOOD, BUSY, "lab_workers", 1, 3),
    (BatchSize(), "cpu-bound", FLOOD, BUSY, "lab_batch_size", 64, 256),
    (WakeupPolicy(), "slow-poll", SLOW, IDLE, None, None, None),
]


@pytest.mark.parametrize(
    ("remedy", "fault", "flow", "process", "shown", "before", "after"),
    CASES,
    ids=[case[0].name for case in CASES],
)
def test_a_setting_is_in_force_after_apply_and_the_file_is_the_same_after_undo(
    started, remedy, fault, flow, process, shown, before, after
):
    """What the agent itself says, not what stands in its file."""
    instance, target = started(fault)
    file = Path(instance.config_file)
    text = file.read_bytes()
    generation = metric(instance, "lab_config_generation")

    change, captured = turned(remedy, target, remedy.plan(case_of(remedy, target, flow, process)))

    assert metric(instance, "lab_config_generation") > generation
    if shown:
        assert metric(instance, shown) == pytest.approx(after)
    assert remedy.undo(change, found(instance), captured) is None
    assert file.read_bytes() == text
    if shown:
        assert metric(instance, shown) == pytest.approx(before)


def test_a_larger_ring_ends_the_loss_of_a_burst(started):
    """The prediction says zero; the kernel's own counter must agree."""
    instance, target = started("burst")
    assert growth(instance, DROPPED, 1.5) > 0
    remedy = RingBufferSize()
    change, captured = turned(remedy, target, remedy.plan(case_of(remedy, target, BURST, IDLE)))
    assert growth(instance, DROPPED, 2.0) == 0
    remedy.undo(change, found(instance), captured)
    assert growth(instance, DROPPED, 1.5) > 0


def test_the_noisy_process_is_left_out_and_comes_back(started):
    """Events of the others go on; undo shows everything again."""
    instance, target = started("one-source")
    comm = instance.sources[0].split(":")[0]
    file = Path(instance.config_file)
    text = file.read_bytes()
    remedy = EventFilter()
    sources = {"top_comm": comm, "top_share": 0.83, "top_per_s": 30_000.0, "total_per_s": 36_000.0}

    change, captured = turned(
        remedy, target, remedy.plan(case_of(remedy, target, {**FLOOD, "in_per_s": 36_000.0}, BUSY, sources))
    )

    assert 0 < growth(instance, MATCHED, 1.0) < 12_000
    remedy.undo(change, found(instance), captured)
    assert file.read_bytes() == text
    assert growth(instance, MATCHED, 1.0) > 12_000


def test_sampling_works_live_without_a_reload(started):
    """A store into the variable: the rate falls at once, the file is not touched."""
    instance, target = started()
    file = Path(instance.config_file)
    text, generation = file.read_bytes(), metric(instance, "lab_config_generation")
    remedy = Sampling()

    change, captured = turned(remedy, target, remedy.plan(case_of(remedy, target, FLOOD, BUSY)))

    assert (change.live, change.after) == (True, 5)
    assert metric(instance, "lab_sampling_one_in") == 5
    assert growth(instance, RECEIVED, 1.0) < 3_500
    remedy.undo(change, found(instance), captured)
    assert metric(instance, "lab_sampling_one_in") == 1
    assert (file.read_bytes(), metric(instance, "lab_config_generation")) == (text, generation)


def test_a_quota_is_raised_and_put_back(started):
    """In the agent's own cgroup, of whichever version this machine has."""
    _, target = started("throttled")
    remedy = CpuQuota()
    flow = {**FLOOD, "in_per_s": 20_000.0, "service_per_s": 12_000.0, "out_per_s": 12_000.0}
    assert remedy.read(target)["cpu-quota"].value == 0.2

    change, captured = turned(remedy, target, remedy.plan(case_of(remedy, target, flow, THROTTLED)))

    assert remedy.read(target)["cpu-quota"].value == pytest.approx(0.48)
    remedy.undo(change, target, captured)
    assert remedy.read(target)["cpu-quota"].value == 0.2


def test_a_value_that_the_agent_refuses_fails_and_is_undone(started):
    """Its health says so; undo brings file and agent back."""
    instance, target = started()
    file = Path(instance.config_file)
    text = file.read_bytes()
    knob = msgspec.structs.replace(
        target.knobs["workers"], reload=msgspec.structs.replace(target.knobs["workers"].reload, settle_s=1.0)
    )
    now = Workers().read(target)["workers"].value
    change = Change(knob=knob, before=now, after=9999, before_text="1", after_text="9999", why="too many")
    captured = Workers().capture(change, target)

    with pytest.raises(ChangeFailed, match=r"not healthy|no sign"):
        Workers().apply(change, target, captured)

    Workers().undo(change, target, captured)
    assert file.read_bytes() == text
    assert metric(instance, "lab_workers") == 1


def test_killed_at_any_moment_undo_brings_everything_back(started):
    """A process is killed between intent and proof; a fresh one has only what was captured."""
    instance, target = started("burst")
    file = Path(instance.config_file)
    text = file.read_bytes()
    remedy = RingBufferSize()
    plan = remedy.plan(case_of(remedy, target, BURST, IDLE))
    (change,) = plan.changes
    for delay in (0.0, 0.02, 0.05, 0.1, 0.3):
        captured = remedy.capture(change, target)
        apply = subprocess.Popen(
            [sys.executable, "-c", APPLY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        apply.stdin.write(json.dumps([msgspec.to_builtins(change), msgspec.to_builtins(target), captured]))
        apply.stdin.close()
        assert apply.stdout.readline() == "apply\n"
        time.sleep(delay)
        apply.kill()
        apply.wait()
        apply.stdout.close()

        assert remedy.state(change, found(instance), captured) in ("before", "after")
        remedy.undo(change, found(instance), captured)

        assert file.read_bytes() == text
        assert metric(instance, "lab_ring_bytes") == 262_144
        assert list(file.parent.glob(".*.runbook")) == []


APPLY = """
import json, msgspec, sys
from engine.values import Change, Target
from remediations.ring_buffer_size import RingBufferSize
change, target, captured = json.load(sys.stdin)
change, target = msgspec.convert(change, Change), msgspec.convert(target, Target)
print("apply", flush=True)
RingBufferSize().apply(change, target, captured)
"""


# ── the BPF variable ──


def variable(name: str, map_id: int = 0) -> Knob:
    return Knob(name="v", backend="bpf-variable", path=name, map_id=map_id, unit="count")


def to(knob: Knob, before: int, after: int) -> Change:
    return Change(
        knob=knob, before=before, after=after, before_text=str(before), after_text=str(after), why="w"
    )


def test_storing_one_variable_loses_no_count_of_its_neighbours(started):
    """The kernel counts in the same map; writing it whole would lose half of that in this loop."""
    instance, target = started()
    knob, hands = variable("wakeup_bytes"), BpfVariable()
    first = hands.read(knob, target).value
    before = scrape_all(instance.metrics_url)
    deadline, stores = time.monotonic() + 1.5, 0
    while time.monotonic() < deadline:
        hands.write(to(knob, first + stores % 2, first + 1 - stores % 2), target, {})
        stores += 1
    after = scrape_all(instance.metrics_url)

    counted, read = (after[name] - before[name] for name in (MATCHED, RECEIVED))
    assert stores > 500
    assert read > 5_000
    assert counted >= 0.95 * read  # the reader counts in its own memory; a few events are under way


def test_a_variable_that_somebody_else_set_is_left_alone(started):
    """Compare, then store."""
    _, target = started()
    knob, hands = target.knobs["sampling"].live, BpfVariable()
    change = to(knob, 1, 10)
    captured = hands.capture(change, target)
    hands.write(change, target, captured)
    hands.write(to(knob, 10, 7), target, {})
    assert hands.state(change, target, captured) == "other"
    with pytest.raises(ChangedSince, match="is 7"):
        hands.restore(change, target, captured)
    assert hands.read(knob, target).value == 7


def test_a_name_that_is_not_there_gives_the_names_that_are(started):
    """A profile of another version."""
    _, target = started()
    with pytest.raises(NotChanged, match="has a variable 'sample_m'"):
        BpfVariable().capture(to(variable("sample_m"), 1, 2), target)


def test_a_variable_whose_process_has_ended_needs_no_undo(started):
    """It went with it; that is the state before."""
    instance, target = started()
    hands = BpfVariable()
    change = to(target.knobs["sampling"].live, 1, 10)
    captured = hands.capture(change, target)
    hands.write(change, target, captured)
    lab.stop(instance)

    deadline = time.monotonic() + 5
    while not hands.read(change.knob, target).missing and time.monotonic() < deadline:
        time.sleep(0.02)  # the kernel frees the map a moment after its last user

    gone = msgspec.structs.replace(target, processes=())
    assert hands.state(change, gone, captured) == "before"
    assert "went with the process" in hands.restore(change, gone, captured).note


def test_a_read_only_variable_is_refused_with_the_reason():
    """.rodata is frozen when the program is loaded: say so before anything is announced."""
    with BpfObject.open(Path(inventory.__file__).with_name("perfbuf.bpf.o")) as ours:
        ours.load()
        maps = [
            each for each in inventory.read().maps if os.getpid() in each.owners and "rodata" in each.name
        ]
        knob = variable("tgid", maps[0].id)
        agent = Target(name="ours", ref="ours", map_ids=(maps[0].id,))
        assert "read-only" in BpfVariable().read(knob, agent).missing
        with pytest.raises(NotChanged, match="read-only"):
            BpfVariable().capture(to(knob, 0, 1), agent)
