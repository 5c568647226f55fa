"""Program-cost, event-sources, kernel-facts and perf buffers against programs of known behaviour."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.flow.source_counts import Counter
from bpf.libbpf import BpfError, BpfObject, statistics
from bpf.objects import attach_points
from bpf.objects.perfbuf import PerfWatch
from bpf.probes.event_sources import EventSources
from bpf.probes.kernel_facts import KernelFacts
from bpf.probes.program_cost import ProgramCost
from bpf.syscall import MapInfo, ProgramInfo, ask, program_info
from bpf.system import syscall_names
from engine.clock import Cancel, SystemClock
from engine.contracts import Probe
from engine.running.looking import Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Target

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

Sample = Callable[[int], BpfObject]
CALLER = "import os\nwhile True: os.getppid()"


@pytest.fixture
def caller() -> Iterator[int]:
    """A process that makes one system call, as fast as it can."""
    made = subprocess.Popen([sys.executable, "-c", CALLER])
    yield made.pid
    made.kill()
    made.wait()


def target_of(agent: BpfObject) -> Target:
    ring = ask(agent.map("sample_ring").fd, MapInfo()).id
    program = ask(agent.program_fd("sample_enter"), ProgramInfo()).id
    us = (Process(pid=os.getpid()),)
    return Target(
        name="sample", ref="sample", processes=us, program_ids=(program,), map_ids=(ring,), rings=(ring,)
    )


def seen_by(*probes: Probe, target: Target | None, seconds: float = 1.0) -> dict[str, Evidence]:
    cancel = Cancel()
    view = View(target=target, seconds=seconds, clock=SystemClock(cancel), cancel=cancel)
    found = {}
    for answer in look([Request(probe) for probe in probes], view):
        assert isinstance(answer, Evidence), answer
        found[answer.short] = answer
    return found


def test_program_cost_is_the_kernels_own_count(sample: Sample, caller: int) -> None:
    """Checked against the totals the kernel keeps, read by other code around the window."""
    target = target_of(sample(caller))
    (program,) = target.program_ids
    with statistics():
        before, began = program_info(program), time.monotonic()
        cost = seen_by(ProgramCost(), target=target)["cost"]
        after, seconds = program_info(program), time.monotonic() - began
    check_probe(ProgramCost(), cost)
    runs = cost.number("runs_per_s")
    assert runs is not None
    assert 0 < runs * (cost.ended_at - cost.started_at) <= (after.run_cnt - before.run_cnt) * 1.01
    assert runs == pytest.approx((after.run_cnt - before.run_cnt) / seconds, rel=0.3)
    assert cost.tables["programs"][0]["name"] == "sample_enter"
    assert any("statistics" in note for note in cost.notes)


def test_program_cost_of_everything_needs_no_target(sample: Sample, caller: int) -> None:
    """`runbook look program-cost` alone tells which agent of the machine is dear."""
    target = target_of(sample(caller))
    cost = seen_by(ProgramCost(), target=None)["cost"]
    assert target.program_ids[0] in [row["id"] for row in cost.tables["programs"]]


def test_event_sources_names_the_process_and_the_call(sample: Sample, caller: int) -> None:
    """Its count agrees with how often the agent's own program ran in the same window."""
    target = target_of(sample(caller))
    seen = seen_by(EventSources(), ProgramCost(), target=target)
    sources, cost = seen["sources"], seen["cost"]
    check_probe(EventSources(), sources)
    rows = {row["pid"]: row for row in sources.tables["processes"]}
    assert sources.text("attach_point") == "raw_tp sys_enter"
    assert rows[caller]["per_s"] > 1000
    assert rows[caller]["comm"].startswith("python")
    assert "getppid" in [row["syscall"] for row in sources.tables["syscalls"]]
    assert sources.number("total_per_s") == pytest.approx(cost.number("runs_per_s"), rel=0.1)


def test_single_system_calls_are_counted_alone(caller: int) -> None:
    """An agent on sys_enter_getppid is given no other call."""
    wanted = attach_points.of(
        ["tracepoint syscalls/sys_enter_getppid", "tracepoint syscalls/sys_enter_mseal"]
    )
    (place,) = wanted.countable
    counter = Counter(place)
    try:
        deadline = time.monotonic() + 10
        seen = counter.read()
        while caller not in {pid for pid, _ in seen}:
            assert time.monotonic() < deadline
            seen = counter.read()
        names = {syscall_names.name_of(call) for _, call in seen}
    finally:
        counter.close()
    assert names == {"getppid"}


def test_an_attach_point_that_can_not_be_counted_is_said_and_not_guessed() -> None:
    """A guess would send the operator after the wrong process."""
    target = Target(name="odd", ref="odd", processes=(Process(pid=os.getpid()),), program_ids=(1 << 30,))
    support = EventSources().supported(target)
    assert support.answer == "no"
    assert "not known" in support.why


def test_kernel_facts_agree_with_what_this_suite_can_do(sample: Sample) -> None:
    """The tests around it load raw tracepoints, rings and iterators: so must it say."""
    sample(os.getpid())
    facts = seen_by(KernelFacts(), target=None)["kernel"]
    check_probe(KernelFacts(), facts)
    assert facts.text("raw_tracepoint") == "yes"
    assert facts.text("ring_buffer") == "yes"
    assert facts.text("release") == os.uname().release
    assert {row["answer"] for row in facts.tables["kinds"]} <= {"yes", "no", "unknown"}


def test_a_perf_buffer_tells_fill_and_losses_from_outside(tmp_path: Path) -> None:
    """An agent with a perf buffer is stopped: it fills, and then each event is counted as lost."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    tool, unshare = shutil.which("opensnoop", path=path), shutil.which("unshare", path=path)
    if not tool or not unshare:
        pytest.skip("opensnoop (libbpf-tools) or unshare is not installed")
    script = "mount -t tracefs t /sys/kernel/tracing; mount -t debugfs d /sys/kernel/debug; exec " + tool
    with (tmp_path / "out").open("w") as out:
        agent = subprocess.Popen([unshare, "-m", "sh", "-c", script], stdout=out, stderr=out)
    try:
        with opened(agent) as watch:
            before = watch.read()
            os.kill(agent.pid, signal.SIGSTOP)
            fill_up(watch)
            full = watch.read()
    finally:
        agent.kill()
        agent.wait()
    assert all(ring.size >= 4096 and ring.head - ring.tail <= ring.size for ring in (*before, *full))
    assert max((ring.head - ring.tail) / ring.size for ring in full) > 0.98
    if full[0].lost is not None:
        assert sum(ring.lost or 0 for ring in full) > sum(ring.lost or 0 for ring in before)


def opened(agent: subprocess.Popen[bytes]) -> PerfWatch:
    """Its perf buffers, once it has made them."""
    deadline = time.monotonic() + 20
    while True:
        try:
            watch = PerfWatch(agent.pid)
            if len(watch.read()) == os.cpu_count():
                return watch
            watch.close()
        except BpfError:
            if agent.poll() is not None:
                pytest.skip("opensnoop does not run here")
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fill_up(watch: PerfWatch) -> None:
    """Open files until a ring is full, and a while longer."""
    deadline = time.monotonic() + 20
    while max((ring.head - ring.tail) / ring.size for ring in watch.read()) < 0.98:
        assert time.monotonic() < deadline
        for _ in range(500):
            os.close(os.open("/dev/null", os.O_RDONLY))
    for _ in range(5000):
        os.close(os.open("/dev/null", os.O_RDONLY))
