"""Memory of the practice agent, for real: its limit set and put back, its growth told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bpf.diagnoses.memory_growth import MemoryGrowth
from bpf.lab import lab
from bpf.probes.memory import Memory
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.values import Case, Evidence, Target
from remediations.memory_limit import USED, MemoryLimit

pytestmark = pytest.mark.kernel
MIB = 1 << 20


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[lab.Instance]:
    """An agent that leaks, in a memory cgroup of its own."""
    instance = lab.start("heap-leak", directory=tmp_path)
    yield instance
    lab.stop(instance)


def target_of(agent: lab.Instance) -> Target:
    return targets.on_this_host().find(f"lab:{agent.pid}")


def seen(target: Target) -> Evidence:
    (evidence,) = look([Request(Memory(), {"window": 3.0})], View(target, 3.0, SystemClock(), Cancel()))
    assert isinstance(evidence, Evidence)
    return evidence


def test_a_leak_gets_the_room_that_its_horizon_takes_and_gives_it_back(agent: lab.Instance) -> None:
    """From what is really measured to a limit that the kernel took, and back to the very text."""
    target = target_of(agent)
    if not target.processes or "memory" not in (Path("/proc") / str(target.pid) / "cgroup").read_text():
        pytest.skip("the memory controller of version 1 is not mounted")
    remedy = MemoryLimit()
    evidence = {"memory": seen(target)}
    assert MemoryGrowth().decide(Case(target=target, evidence=evidence)).causes[0].name == "heap-leak"
    knobs = remedy.read(target)
    assert isinstance(knobs[USED].value, int)
    case = Case(target=target, evidence=evidence, knobs=knobs, options={"horizon": 1200.0})
    plan = remedy.plan(case)
    (change,) = plan.changes
    file = Path(change.where)
    before = file.read_text()

    captured = remedy.capture(change, target)
    remedy.apply(change, target, captured)
    assert int(file.read_text()) == change.after > 512 * MIB
    assert remedy.state(change, target, captured) == "after"

    remedy.undo(change, target, captured)
    assert file.read_text() == before
    assert remedy.state(change, target, captured) == "before"


def test_a_limit_below_what_is_used_is_refused_by_ours_before_the_kernel(agent: lab.Instance) -> None:
    """An undo must not kill what it is to help."""
    target = target_of(agent)
    remedy = MemoryLimit()
    knobs = remedy.read(target)
    if USED not in knobs:
        pytest.skip("no memory cgroup here")
    case = Case(target=target, evidence={"memory": seen(target)}, knobs=knobs, options={"horizon": 1200.0})
    (change,) = remedy.plan(case).changes
    low = msgspec.structs.replace(change, after=MIB)
    with pytest.raises(Exception, match="would kill it"):
        remedy.apply(low, target, remedy.capture(low, target))
    assert target_of(agent).pid == agent.pid
