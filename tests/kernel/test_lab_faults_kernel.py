"""Each fault of the practice agent shows the symptom that it is named after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.diagnoses.load_failure import LoadFailure
from bpf.lab import lab
from bpf.lab.faults import FAULTS
from bpf.lab.rates import scrape_all

pytestmark = pytest.mark.kernel

RECEIVED = 'bpf_events_received_total{type="syscall"}'
DROPPED = 'bpf_events_dropped_total{stage="ring"}'
QUEUE_DROPPED = 'bpf_events_dropped_total{stage="queue"}'


def until(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Poll until it holds; False when it has not by then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], lab.Instance]]:
    """Start practice agents that are stopped when the test is over."""
    yield lambda fault="": lab.start(fault, directory=tmp_path / "lab", seconds=60)
    for each in lab.instances(tmp_path / "lab"):
        lab.stop(each)


def grew(instance: lab.Instance, name: str, by: float) -> bool:
    """Whether a counter grows by so much within the patience of these tests."""
    before = scrape_all(instance.metrics_url)[name]
    return until(lambda: scrape_all(instance.metrics_url)[name] > before + by)


def test_a_healthy_agent_loses_nothing(started):
    """Without this the faults would prove nothing."""
    instance = started()
    assert grew(instance, RECEIVED, 20_000)
    now = scrape_all(instance.metrics_url)
    assert (now[DROPPED], now[QUEUE_DROPPED]) == (0, 0)


@pytest.mark.parametrize("fault", ["burst", "flood", "slow-poll", "cpu-bound", "throttled", "one-source"])
def test_the_ring_loses_events_and_the_log_says_so(started, fault):
    """These are the faults that events-dropped exists for."""
    instance = started(fault)
    assert grew(instance, DROPPED, 500)
    assert until(lambda: "ringbuf: dropped events: " in Path(instance.log_file).read_text())
    assert scrape_all(instance.metrics_url)[QUEUE_DROPPED] == 0


def test_a_throttled_agent_is_throttled_by_its_own_cgroup(started):
    """The kernel's own count is what tells it from a reader that is merely slow."""
    instance = started("throttled")

    def throttled() -> bool:
        stat = dict(line.split() for line in (Path(instance.cgroup) / "cpu.stat").read_text().splitlines())
        return int(stat["nr_throttled"]) > 10

    assert until(throttled)


def test_a_stalled_exporter_loses_behind_the_ring_only(started):
    """No ring would be large enough for it, so the ring must not look guilty."""
    instance = started("stalled-exporter")
    assert grew(instance, QUEUE_DROPPED, 5000)
    assert scrape_all(instance.metrics_url)[DROPPED] == 0


def test_a_stuck_reader_reads_nothing_while_the_rest_lives(started):
    """Metrics and health answer, so nothing but the ring's positions gives it away."""
    instance = started("stuck")
    assert grew(instance, DROPPED, 2000)
    before = scrape_all(instance.metrics_url)[RECEIVED]
    assert grew(instance, DROPPED, 2000)
    assert scrape_all(instance.metrics_url)[RECEIVED] == before


def test_busy_polling_burns_a_cpu_for_a_trickle(started):
    """CPU without events is the symptom."""
    instance = started("busy-poll")
    assert grew(instance, "process_cpu_seconds_total", 0.5)
    now = scrape_all(instance.metrics_url)
    assert now["process_cpu_seconds_total"] / now[RECEIVED] > 100e-6  # a healthy one: some 10 µs


def test_the_heap_leak_grows_with_the_events(started):
    """Memory in the agent itself, not in its maps."""
    instance = started("heap-leak")
    assert grew(instance, "process_resident_memory_bytes", 2e6)


def test_the_unbounded_map_only_grows(started):
    """Entries rise with the events and never fall, until the map is full."""
    instance = started("unbounded-map")
    assert grew(instance, 'bpf_map_entries{map="cache"}', 8000)


def test_a_bad_program_is_refused_again_and_again_with_the_verifier_s_words(started):
    """The verifier's log is the evidence; an agent that went on without its program would hide it."""
    instance = started("bad-program")
    text = Path(instance.log_file).read_text()
    assert "BEGIN PROG LOAD LOG" in text
    assert "invalid mem access 'map_value_or_null'" in text
    assert until(lambda: Path(instance.log_file).read_text().count("trying again") > 1)
    assert instance.alive


def test_rights_that_are_gone_for_good_show_as_eperm(started):
    """The kernel says no more than this; the agent must pass it on."""
    instance = started("dropped-capability")
    assert "Operation not permitted" in Path(instance.log_file).read_text()


def test_who_runs_as_nobody_needs_a_place_that_nobody_may_enter(started, tmp_path):
    """Told before anything is started, with the way out."""
    tmp_path.parent.chmod(0o700)
    with pytest.raises(lab.LabFailed, match="nobody") as error:
        started("missing-capability")
    assert "RUNBOOK_LAB" in error.value.fix
    assert not lab.instances(tmp_path / "lab")


def test_an_agent_is_started_anew_and_loads_what_it_may_by_then(started):
    """What a supervisor or an operator does after a change."""
    instance = started("bad-program")
    config = Path(instance.config_file)
    config.write_text(config.read_text().replace("bad_program: null-check", "bad_program:"))
    again = lab.restart(instance)
    assert again.pid != instance.pid
    assert grew(again, RECEIVED, 100)


@pytest.mark.parametrize("fault", sorted(name for name, one in FAULTS.items() if one.fails))
def test_every_such_fault_has_a_cause_to_be_found(fault):
    """The acceptance of the diagnosis goes by these names."""
    assert FAULTS[fault].cause in LoadFailure.causes
