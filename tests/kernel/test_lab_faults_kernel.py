"""Each fault of the practice agent shows the symptom that it is named after."""

from __future__ import annotations

import os
import re
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf import libbpf
from bpf.lab import lab
from bpf.lab.faults import FAULTS
from bpf.lab.rates import scrape_all
from bpf.lab.waiting import until
from bpf.objects import inventory, maps

pytestmark = pytest.mark.kernel

RECEIVED = 'bpf_events_received_total{type="syscall"}'
DROPPED = 'bpf_events_dropped_total{stage="ring"}'
ENTRIES = 'bpf_map_entries{map="cache"}'
REFUSED = "lab_cache_failed_total"
OPTIONAL = 'bpf_program_loaded{program="lab_optional"}'
QUEUE_DROPPED = 'bpf_events_dropped_total{stage="queue"}'


def statuses(instance: lab.Instance) -> dict[str, int]:
    """The numbers of ``/proc/PID/status``; memory in KiB."""
    lines = Path(f"/proc/{instance.pid}/status").read_text().splitlines()
    words = ((line.partition(":")[0], line.split()[1:2]) for line in lines)
    return {name: int(rest[0]) for name, rest in words if rest and rest[0].isdigit()}


def map_named(instance: lab.Instance, name: str) -> int:
    """The id of that map of this very agent."""
    seen = inventory.read()
    return next(one.id for one in seen.maps if one.name == name and instance.pid in one.owners)


def key_pids(instance: lab.Instance) -> set[int]:
    """The pids in the keys of its cache."""
    batches = maps.lookup_batch(map_named(instance, "cache"))
    return {pid for keys, _ in batches for pid, _ in struct.iter_unpack("=II", keys)}


def charged(instance: lab.Instance) -> int:
    """Bytes that its cgroup is charged with."""
    for name in ("memory.usage_in_bytes", "memory.current"):
        if instance.cgroup and (file := Path(instance.cgroup) / name).exists():
            return int(file.read_text())
    pytest.skip("no memory cgroups here")


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


def test_an_event_storm_is_read_in_full_and_each_event_is_cheap(started):
    """Their number is the price: neither a slow reader nor a busy one may look guilty."""
    instance = started("event-storm")
    assert grew(instance, RECEIVED, 200_000)
    now = scrape_all(instance.metrics_url)
    assert now[DROPPED] == 0
    assert now["process_cpu_seconds_total"] / now[RECEIVED] < 5e-6


def test_a_hot_reader_spends_its_time_in_one_function_and_loses_nothing(started):
    """The profile must be able to name the function, and the ring must not look guilty."""
    instance = started("hot-reader")
    assert grew(instance, RECEIVED, 5000)
    now = scrape_all(instance.metrics_url)
    assert now[DROPPED] == 0
    assert now["process_cpu_seconds_total"] / now[RECEIVED] > 40e-6
    assert b"lab_parse_event\0" in Path(instance.program).read_bytes()


def test_a_hot_program_burns_in_bpf_while_its_agent_is_idle(started):
    """What the kernel's run statistics tell must come from the optional program alone."""
    instance = started("hot-program")
    with libbpf.statistics():
        assert grew(instance, RECEIVED, 5000)
        spent = {one.name: one.run_ns for one in inventory.read().programs if instance.pid in one.owners}
    now = scrape_all(instance.metrics_url)
    assert spent["lab_optional"] > 5 * spent["on_syscall"]
    assert now["process_cpu_seconds_total"] / now[RECEIVED] < 10e-6


def test_the_optional_program_goes_and_comes_back_by_reload_and_no_event_is_missed(started):
    """It is what a runbook takes away from a live agent, and what its undo puts back."""
    instance = started("hot-program")
    config = Path(instance.config_file)
    assert scrape_all(instance.metrics_url)[OPTIONAL] == 1
    for old, new, there in (("true ", "false", 0), ("false", "true ", 1)):
        text = config.read_text()
        config.write_text(text.replace(f"  program: {old}", f"  program: {new}"))
        os.kill(instance.pid, signal.SIGHUP)
        assert until(lambda there=there: scrape_all(instance.metrics_url).get(OPTIONAL) == there)
        owned = {one.name for one in inventory.read().programs if instance.pid in one.owners}
        assert ("lab_optional" in owned) == bool(there)
    assert grew(instance, RECEIVED, 2000)
    assert scrape_all(instance.metrics_url)[DROPPED] == 0


@pytest.mark.parametrize("fault", ["unbounded-map", "map-cardinality"])
def test_ever_new_keys_of_living_processes_only_add_up(started, fault):
    """Entries rise with the events, and nobody who owns one has ended."""
    instance = started(fault)
    assert grew(instance, ENTRIES, 3000)
    assert all(Path(f"/proc/{pid}").exists() for pid in key_pids(instance))


@pytest.mark.parametrize("fault", ["stale-map", "map-leak"])
def test_entries_of_processes_that_are_gone_stay(started, fault):
    """They really ran and really ended: only so can an observer tell stale entries from true load."""
    instance = started(fault)
    assert grew(instance, ENTRIES, 2500)
    gone = [pid for pid in key_pids(instance) if not Path(f"/proc/{pid}").exists()]
    assert len(gone) > 50


def test_a_map_that_is_too_small_is_full_of_entries_in_use(started):
    """Full by size: every key belongs to somebody who lives, and more are refused all the time."""
    instance = started("map-small")
    assert grew(instance, REFUSED, 2000)
    assert scrape_all(instance.metrics_url)[ENTRIES] == 3000
    assert all(Path(f"/proc/{pid}").exists() for pid in key_pids(instance))


def test_map_memory_grows_where_no_process_shows_it(started):
    """The cgroup is charged with what the resident memory of nobody contains."""
    instance = started("map-memory")
    before, resident = charged(instance), statuses(instance)["VmRSS"]
    assert until(lambda: charged(instance) > before + 3e6)
    assert statuses(instance)["VmRSS"] - resident < 1000


def test_an_allocator_keeps_what_is_free_again(started):
    """Needed once, free again, and still resident; a second need makes it no more."""
    instance = started("allocator")
    assert until(lambda: "heap: 64 MiB were needed" in Path(instance.log_file).read_text())
    assert until(lambda: Path(instance.log_file).read_text().count("heap: 64 MiB were needed") > 1)
    assert 60_000 < statuses(instance)["VmRSS"] < 80_000


def test_a_cache_grows_ever_more_slowly_towards_its_bound(started):
    """What tells it from a leak: the same number of events adds less and less."""
    instance = started("cache-filling")

    def growth() -> int:
        before = statuses(instance)["RssAnon"]
        assert grew(instance, RECEIVED, 12_000)
        return statuses(instance)["RssAnon"] - before

    first = growth()
    assert first > 3000
    assert until(lambda: growth() < first / 2)


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


@pytest.mark.parametrize("fault", [name for name, one in FAULTS.items() if one.down and not one.supervised])
def test_an_agent_that_is_to_be_down_is_down_when_start_returns(started, fault):
    """The runbook for it begins where nothing runs any more; its files are what is left."""
    instance = started(fault)
    assert not instance.alive
    assert not scrape_all(instance.metrics_url)
    assert Path(instance.config_file).exists()


def test_a_leak_in_a_small_cgroup_is_ended_by_the_kernel(started):
    """The count of the cgroup itself: nobody else's kill can pass for it."""
    group = Path(started("down-oom").cgroup)
    file = next(file for name in ("memory.oom_control", "memory.events") if (file := group / name).exists())
    counts = dict(line.split() for line in file.read_text().splitlines())
    assert int(counts["oom_kill"]) == 1


def test_a_crash_loop_has_a_new_process_each_time(started):
    """Starts and deaths in turn, as a supervisor makes them."""
    instance = started("down-crash-loop")
    text = Path(instance.log_file).read_text()
    assert len(set(re.findall(r"lab-agent\[(\d+)\] ended by signal 11", text))) >= 2
    assert Path(f"/proc/{instance.pid}/comm").read_text() == "lab-supervisor\n"  # no agent, to whoever looks


@pytest.mark.parametrize("fault", ["down-crashed", "down-stopped", "down-oom"])
def test_what_came_once_does_not_come_again_after_a_restart(started, fault):
    """Starting it is what mends these, so it must be able to."""
    again = lab.restart(started(fault))
    assert again.alive
    assert grew(again, RECEIVED, 100)


def test_the_log_tells_who_was_stopped_from_who_died(started):
    """A stop is announced by the agent itself; a death is not."""
    said = {fault: Path(started(fault).log_file).read_text() for fault in ("down-stopped", "down-crashed")}
    assert "ends: Terminated" in said["down-stopped"]
    assert "ends: " not in said["down-crashed"]
