"""What a profile says of a knob, as plans take it: presets, buffers per CPU, several places, dangers."""

import msgspec
import pytest

from engine.values import Host
from remediations.batch_size import BatchSize
from remediations.ring_buffer_size import RingBufferSize

MIB = 1 << 20
EIGHT_OF_NINE = Host(cpus=9, possible_cpus=16, online_cpus=9, memory_bytes=16 << 30)


@pytest.fixture
def with_knob(agent):
    """with_knob(name, **fields): the agent's target with that knob of its described otherwise."""

    def make(name, **fields):
        target = agent.target
        knob = msgspec.structs.replace(target.knobs[name], **fields)
        return msgspec.structs.replace(target, knobs={**target.knobs, name: knob})

    return make


def falco(agent, with_knob, **more):
    """Its buffer: an index of sizes, one buffer for two CPUs."""
    agent.file.write_text(agent.file.read_text().replace("size: 256KiB", "size: 1"))
    presets = {str(n): float(MIB << (n - 1)) for n in range(1, 11)}
    fields = {"unit": "preset", "presets": presets, "rounding": "none", "per": "online-cpu", "cpus_each": 2}
    return with_knob("ring-buffer-size", **fields | more)


def test_a_preset_is_planned_with_its_size_and_the_memory_of_all_buffers(agent, case_for, with_knob):
    """1.5 MB twice are 4 MiB: preset 3; five buffers on nine CPUs."""
    remedy = RingBufferSize()
    target = falco(agent, with_knob)
    plan = remedy.plan(case_for(remedy, target=target, host=EIGHT_OF_NINE, flow={"ring_bytes": float(MIB)}))
    (change,) = plan.changes
    assert (change.before_text, change.after, change.after_text) == ("1 (1 MiB)", 3, "3 (4 MiB)")
    assert plan.memory_bytes == 5 * 3 * MIB
    assert "4 MiB × 5 (each for 2 of 9 CPUs) = 20 MiB of memory" in plan.memory_limit


def test_buffers_of_all_cpus_must_fit_into_the_cgroup(agent, case_for, with_knob):
    """What fits once may not fit nine times."""
    remedy = RingBufferSize()
    target = falco(agent, with_knob, cpus_each=1)
    room = {"memory_left_bytes": 30e6}
    plan = remedy.plan(case_for(remedy, target=target, host=EIGHT_OF_NINE, process=room))
    assert not plan.changes
    assert "a ring of 4 MiB × 9 CPUs does not fit" in plan.reason


def test_presets_never_go_beyond_what_is_allowed(agent, case_for, with_knob):
    """The next preset up would be 8 MiB; 5 are allowed: the one below it."""
    remedy = RingBufferSize()
    target = falco(agent, with_knob, presets={"1": float(MIB), "2": 2.0 * MIB, "9": 8.0 * MIB})
    plan = remedy.plan(case_for(remedy, target=target, flow={"ring_bytes": float(MIB)}, at_most="5MiB"))
    assert plan.changes[0].after == 2


def test_a_change_is_made_in_the_place_that_counts(agent, case_for, with_knob, tmp_path):
    """A flag overrules the file: to write the file would change nothing."""
    flags = tmp_path / "flags.yaml"
    flags.write_text("ring: 512KiB\n")
    base = agent.target.knobs["ring-buffer-size"]
    flag = msgspec.structs.replace(base, file=str(flags), path="ring")
    remedy = RingBufferSize()
    target = with_knob("ring-buffer-size", file=str(flags), path="ring", otherwise=(base,))
    plan = remedy.plan(case_for(remedy, target=target))
    assert (plan.changes[0].knob.file, plan.changes[0].before) == (flag.file, "512KiB")
    flags.write_text("other: 1\n")
    plan = remedy.plan(case_for(remedy, target=target))
    assert (plan.changes[0].knob.file, plan.changes[0].before) == (str(agent.file), "256KiB")
    captured = remedy.capture(plan.changes[0], target)
    remedy.apply(plan.changes[0], target, captured)
    assert "size: 4MiB" in agent.file.read_text()
    remedy.undo(plan.changes[0], target, captured)
    assert "size: 256KiB" in agent.file.read_text()


def test_a_place_that_can_not_be_read_holds_everything_up(agent, case_for, with_knob, tmp_path):
    """It may hold the setting; to change another place behind its back would do nothing."""
    broken = tmp_path / "flags.yaml"
    broken.write_text("ring: [\n")
    base = agent.target.knobs["ring-buffer-size"]
    remedy = RingBufferSize()
    target = with_knob("ring-buffer-size", file=str(broken), path="ring", otherwise=(base,))
    plan = remedy.plan(case_for(remedy, target=target))
    assert plan.blocked
    assert str(broken) in plan.reason


def test_no_limit_is_never_made_larger(agent, case_for, with_knob):
    """0 that means 'no limit' is not four times smaller than 1."""
    agent.file.write_text(agent.file.read_text().replace("batch: 64", "batch: 0"))
    remedy = BatchSize()
    plan = remedy.plan(case_for(remedy, target=with_knob("batch-size", unbounded=0)))
    assert not plan.changes
    assert "has no limit now: 0 (no limit)" in plan.reason


def test_what_the_profile_warns_of_stands_in_the_plan(agent, case_for, with_knob):
    """The next incident is announced, not discovered."""
    remedy = RingBufferSize()
    target = with_knob(
        "ring-buffer-size", warns=("the thread table is rebuilt",), misfit="refused", verified=False
    )
    plan = remedy.plan(case_for(remedy, target=target))
    assert "the thread table is rebuilt" in plan.warnings
    assert any(
        "refuses to start with a ring-buffer-size that is not a power of two of pages" in one
        for one in plan.warnings
    )
    assert any("not yet seen to work" in one for one in plan.warnings)
