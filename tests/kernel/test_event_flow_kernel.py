"""Event flow of a real agent on the running kernel, checked against the agent's own counts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.diagnoses.event_loss import EventLoss
from bpf.lab import lab
from bpf.lab.faults import fault_named
from bpf.lab.waiting import until
from bpf.objects import inventory
from bpf.probes.agent_metrics import AgentMetrics
from bpf.probes.event_flow import EventFlow
from bpf.probes.event_sources import EventSources
from bpf.probes.process import ProcessProbe
from bpf.system import prometheus
from bpf.system.procfs import RINGBUF, held_maps
from engine.clock import Cancel, SystemClock
from engine.contracts import Probe
from engine.errors import TargetGone
from engine.running.looking import Missed, Request, View, look
from engine.values import Case, Counter, Evidence, Process, Target

pytestmark = pytest.mark.kernel

COUNTERS = (
    Counter(counts="dropped", source="bpf-variable", name="dropped"),
    Counter(
        counts="dropped",
        stage="queue",
        source="metric",
        name="bpf_events_dropped_total",
        labels={"stage": "queue"},
    ),
    Counter(counts="received", source="bpf-variable", name="received"),
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], lab.Instance]]:
    begun = []

    def begin(fault: str) -> lab.Instance:
        begun.append(lab.start(fault, directory=tmp_path / "lab", seconds=120))
        return begun[-1]

    yield begin
    for instance in begun:
        lab.stop(instance)


def target_of(instance: lab.Instance, counters: tuple[Counter, ...] = COUNTERS) -> Target:
    held = held_maps(instance.pid)
    programs = tuple(one.id for one in inventory.read().programs if instance.pid in one.owners)
    return Target(
        name="lab",
        ref="lab",
        processes=(Process(pid=instance.pid, started_ticks=instance.started_ticks),),
        program_ids=programs,
        map_ids=tuple(held),
        rings=tuple(map_id for map_id, kind in held.items() if kind == RINGBUF),
        record_bytes=64,
        pid_at=8,
        counters=counters,
        metrics_url=instance.metrics_url,
        log_file=instance.log_file,
    )


def looked(target: Target, seconds: float, *probes: Probe) -> dict[str, Evidence]:
    cancel = Cancel()
    view = View(target=target, seconds=seconds, clock=SystemClock(cancel), cancel=cancel)
    found = {}
    for answer in look([Request(probe) for probe in probes or (EventFlow(),)], view):
        if isinstance(answer, Missed):
            raise answer.error
        found[answer.short] = answer
    return found


def ring_moves(instance: lab.Instance) -> bool:
    received = prometheus.total(prometheus.scrape(instance.metrics_url), "bpf_events_received_total")
    return bool(received)


def test_rates_and_losses_agree_with_the_agent_s_own_counts(start):
    """Positions seen from outside, and the agent's count of what it read: two sources, one truth."""
    instance = start("slow-poll")
    assert until(lambda: ring_moves(instance))
    seen = looked(target_of(instance), 4.0, EventFlow(), AgentMetrics())
    flow = seen["flow"]
    assert flow.number("in_per_s") == pytest.approx(20_000, rel=0.05)
    assert flow.number("poll_interval_s") == pytest.approx(1.0, rel=0.1)
    assert flow.number("dropped_total") > 0
    assert flow.text("drop_source").startswith("bpf-variable dropped")
    assert flow.number("dropped_behind_per_s") == 0


def test_without_a_profile_the_ring_is_found_and_full_time_is_told(start):
    """An agent that we know nothing of but its pid: its ring's fill and bytes are still seen."""
    instance = start("slow-poll")
    assert until(lambda: ring_moves(instance))
    bare = Target(name="x", ref="x", processes=(Process(pid=instance.pid),))
    flow = looked(bare, 3.0)["flow"]
    assert flow.text("ring_name") == "events"
    assert flow.number("fill_peak") > 0.99
    assert flow.number("bytes_in_per_s") > 500_000
    assert flow.number("dropped_per_s") is None
    assert flow.text("drop_source").startswith("ring full for ")
    assert flow.number("in_per_s") is None


def test_a_record_size_is_learned_from_the_agent_s_count(start):
    """72 bytes in the ring, from bytes over events, and said to be learned."""
    instance = start("")
    assert until(lambda: ring_moves(instance))
    target = target_of(instance)
    unsized = Target(
        **{name: getattr(target, name) for name in target.__struct_fields__} | {"record_bytes": None}
    )
    flow = looked(unsized, 2.0)["flow"]
    assert flow.number("record_bytes") == pytest.approx(72, rel=0.02)
    assert flow.number("record_size_fixed") == 0


def test_an_agent_that_ends_in_the_window_is_gone(start):
    """Its last figures must not be taken for a quiet agent's."""
    instance = start("")
    target = target_of(instance)
    threading.Timer(0.7, os.kill, (instance.pid, signal.SIGKILL)).start()
    with pytest.raises(TargetGone):
        looked(target, 5.0)


def test_a_ring_replaced_by_a_reload_is_followed_and_told(start):
    """A reload makes a new ring; watching the old one would show a quiet agent."""
    instance = start("")
    assert until(lambda: ring_moves(instance))
    target = target_of(instance)

    def resize() -> None:
        config = Path(instance.config_file)
        config.write_text(config.read_text().replace("size: 256KiB", "size: 512KiB", 1))
        os.kill(instance.pid, signal.SIGHUP)

    threading.Timer(0.5, resize).start()
    flow = looked(target, 6.0)["flow"]
    assert any("replaced ring events" in note for note in flow.notes), flow.notes
    assert flow.number("ring_bytes") == 512 * 1024


@pytest.mark.parametrize(
    "fault",
    ["burst", "slow-poll", "cpu-bound", "throttled", "one-source", "stalled-exporter", "stuck", "flood"],
)
def test_the_cause_of_each_fault_is_named(start, fault):
    """The reason this product exists."""
    instance = start(fault)
    assert until(lambda: ring_moves(instance))
    if fault == "stuck":  # nothing is lost before the ring has run full
        assert until(lambda: looked(target_of(instance), 0.3)["flow"].number("full_share") > 0.99)
    target = target_of(instance)
    probes: list[Probe] = [EventFlow(), ProcessProbe(), *([EventSources()] if fault == "one-source" else [])]
    seen = looked(target, 4.0, *probes)
    verdict = EventLoss().decide(Case(target=target, evidence=seen))
    assert [cause.name for cause in verdict.causes[:1]] == [fault_named(fault).cause], verdict
