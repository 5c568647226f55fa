"""The practice agent on the running kernel: its counters are true, reloads keep them, stop leaves nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.lab import lab, processes
from bpf.lab.rates import scrape_all
from bpf.lab.waiting import until

pytestmark = pytest.mark.kernel

RECEIVED = 'bpf_events_received_total{type="syscall"}'
DROPPED = 'bpf_events_dropped_total{stage="ring"}'
QUEUE_DROPPED = 'bpf_events_dropped_total{stage="queue"}'


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], lab.Instance]]:
    """Start practice agents that are stopped when the test is over."""
    yield lambda fault="": lab.start(fault, directory=tmp_path / "lab", seconds=60)
    for each in lab.instances(tmp_path / "lab"):
        lab.stop(each)


def reload(instance: lab.Instance, old: str, new: str) -> dict[str, float]:
    """Edit the configuration, signal the agent, wait until it has answered; its metrics then."""
    file = Path(instance.config_file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    before = scrape_all(instance.metrics_url)
    os.kill(instance.pid, signal.SIGHUP)

    def answered() -> bool:
        now = scrape_all(instance.metrics_url)
        return any(
            now.get(name, 0) > before[name]
            for name in ('lab_reloads_total{result="ok"}', 'lab_reloads_total{result="failed"}')
        )

    assert until(answered)
    return scrape_all(instance.metrics_url)


def health(instance: lab.Instance) -> dict[str, object]:
    """The agent's health answer, whatever its status."""
    done = subprocess.run(["curl", "-s", instance.health_url], capture_output=True, timeout=10, check=True)
    return json.loads(done.stdout)


def log(instance: lab.Instance) -> str:
    return Path(instance.log_file).read_text()


def rings_of(pid: int) -> list[int]:
    """Sizes of the ring buffer maps that a process holds, from its file descriptors (type 27)."""
    sizes = []
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        fields = dict(re.findall(r"(\w+):\s*(\d+)", entry.read_text()))
        if fields.get("map_type") == "27":
            sizes.append(int(fields["max_entries"]))
    return sizes


def test_start_and_stop_leave_nothing_behind(tmp_path):
    """Practising on a production host must be free of traces: processes, cgroup, directory."""
    root = tmp_path / "lab"
    instance = lab.start("throttled", directory=root, seconds=60)
    pids = [pid for pid, pidfd in processes.find(Path(instance.directory)) if os.close(pidfd) is None]
    assert instance.pid in pids
    assert Path(instance.cgroup).is_dir()

    lab.stop(instance)

    assert not any(processes.started_ticks(pid) for pid in pids)
    assert not Path(instance.cgroup).exists()
    assert not root.exists()


def test_another_process_stops_what_a_killed_starter_left(tmp_path):
    """A terminal that dies must not leave an agent that nobody can find."""
    root = tmp_path / "lab"
    script = (
        "import time; from pathlib import Path; from bpf.lab import lab; "
        f"lab.start(directory=Path({str(root)!r}), seconds=60); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script])
    assert until(lambda: any(each.generator_pid for each in lab.instances(root)))
    starter.kill()
    starter.wait()
    instance = lab.instance_named("", root)
    assert instance.alive

    lab.stop(instance)

    assert until(lambda: not processes.started_ticks(instance.pid))
    assert not root.exists()


def test_a_start_that_fails_cleans_up_and_says_what_the_agent_said(tmp_path):
    """The agent's own words are the way out; a leftover directory would block the next try."""
    config = tmp_path / "broken.yaml"
    config.write_text("ring:\n  sise: 1\n")
    with pytest.raises(lab.LabFailed, match=r"broken.yaml:2:3: there is no setting 'ring.sise'"):
        lab.start(directory=tmp_path / "lab", config_file=config)
    assert not (tmp_path / "lab").exists()


def test_the_counters_are_true(started, tmp_path):
    """Everything is measured against these counters, so they must equal what was really called."""
    instance = started()
    port = re.search(r":(\d+)/", instance.metrics_url)[1]
    assert until(lambda: scrape_all(instance.metrics_url)[RECEIVED] > 0)
    os.kill(instance.generator_pid, signal.SIGTERM)
    assert until(lambda: processes.ended(instance.generator_pid) is not None)
    first = json.loads((Path(instance.directory) / "generator.log").read_text())["events"]

    done = subprocess.run(
        [
            *(processes.GENERATOR, "--for", "0.6", "--with-pid", str(instance.pid)),
            *("--source", f"lab-web-{port}:20000/0.25", "--source", f"lab-db-{port}:5000"),
            *("--source", "somebody-else:5000"),
        ],
        capture_output=True,
        timeout=20,
        check=True,
    )
    made = json.loads(done.stdout)["events"]

    def all_read() -> bool:
        now = scrape_all(instance.metrics_url)
        return now["lab_events_matched_total"] == now[RECEIVED] + now[DROPPED]

    assert until(all_read)
    now = scrape_all(instance.metrics_url)
    assert now[DROPPED] > 0  # the bursts are bigger than the ring
    seen = now["lab_events_matched_total"] - first
    assert 20_000 < seen < made  # all but those of the process that is not watched
    assert made - seen <= 3_100


def test_a_larger_ring_takes_over_without_losing_the_counts(started):
    """A reload is what a runbook does to a live agent: it must neither lose nor count anything twice."""
    instance = started()
    assert until(lambda: scrape_all(instance.metrics_url)[RECEIVED] > 1000)
    assert rings_of(instance.pid) == [256 << 10]

    now = reload(instance, "size: 256KiB", "size: 600KiB")

    assert now["lab_ring_bytes"] == 1 << 20  # the next power of two
    assert rings_of(instance.pid) == [1 << 20]  # the old one is gone
    assert now["lab_config_generation"] == 2
    assert "1048576 bytes (614400 asked for), was 262144; events lost in the swap: 0" in log(instance)
    assert until(lambda: scrape_all(instance.metrics_url)[RECEIVED] > now[RECEIVED] + 1000)
    os.kill(instance.generator_pid, signal.SIGTERM)
    assert until(lambda: processes.ended(instance.generator_pid) is not None)
    made = json.loads((Path(instance.directory) / "generator.log").read_text())["events"]
    assert until(lambda: scrape_all(instance.metrics_url)[RECEIVED] == made)


def test_a_mistake_in_the_configuration_keeps_the_former_and_shows(started):
    """A typing mistake must not take a working agent down, and must not go unseen."""
    instance = started()
    now = reload(instance, "size: 256KiB", "size: plenty")
    assert now["lab_config_generation"] == 1
    assert now["lab_ring_bytes"] == 256 << 10
    assert health(instance)["status"] == "degraded"
    assert "ring.size: 'plenty' is not a size" in str(health(instance)["reason"])
    assert "the former configuration stays in force" in log(instance)

    reload(instance, "size: plenty", "size: 256KiB")
    assert health(instance)["status"] == "ok"


@pytest.mark.parametrize(
    ("old", "new", "series", "value"),
    [
        ("poll_interval: 0ms", "poll_interval: 0.05s", "lab_poll_interval_seconds", 0.05),
        ("workers: 1 ", "workers: 3 ", "lab_workers", 3),
        ("batch_size: 64", "batch_size: 512", "lab_batch_size", 512),
        ("one_in: 1 ", "one_in: 10 ", "lab_sampling_one_in", 10),
        ("queue_size: 8192", "queue_size: 64", "lab_export_queue_size", 64),
        ("kind: lru_hash", "kind: hash", 'bpf_map_max_entries{map="cache"}', 10240),
        ("size: 10240", "size: 777", 'bpf_map_max_entries{map="cache"}', 777),
        ("wakeup: auto", "wakeup: every", "lab_config_generation", 2),
    ],
)
def test_each_setting_takes_effect_on_reload_and_events_go_on(started, old, new, series, value):
    """A knob that a runbook turns must really be connected to something."""
    instance = started()
    now = reload(instance, old, new)
    assert now[series] == value
    assert now["lab_config_generation"] == 2
    assert until(lambda: scrape_all(instance.metrics_url)[RECEIVED] > now[RECEIVED] + 200)


def test_an_excluded_process_makes_no_events_any_more(started):
    """The filter works in the kernel: what it hides is never recorded, so it costs nothing."""
    instance = started("one-source")
    port = re.search(r":(\d+)/", instance.metrics_url)[1]
    now = reload(instance, "exclude_comms: []", f"exclude_comms: [lab-noisy-{port}]")
    time_before = time.monotonic()
    assert until(
        lambda: (
            scrape_all(instance.metrics_url)["lab_events_matched_total"]
            > now["lab_events_matched_total"] + 3000
        )
    )
    per_s = 3000 / (time.monotonic() - time_before)
    assert per_s < 15_000  # 6,000 are left of 36,000; other tests may disturb us


def test_the_metrics_have_the_names_that_alerts_look_for(started):
    """Shipped alert rules and the profile read these names; a renamed one would read as silence."""
    instance = started()
    assert until(lambda: scrape_all(instance.metrics_url)[RECEIVED] > 0)
    now = scrape_all(instance.metrics_url)
    for name in (
        'bpf_program_loaded{program="on_syscall"}',
        *(RECEIVED, DROPPED, QUEUE_DROPPED),
        'bpf_event_processing_seconds_bucket{le="+Inf"}',
        "bpf_event_processing_seconds_sum",
        "bpf_event_processing_seconds_count",
        'bpf_map_entries{map="cache"}',
        'bpf_map_max_entries{map="cache"}',
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ):
        assert name in now


def test_the_agent_ends_cleanly_on_sigterm_and_its_generator_with_it(started):
    """Without its agent a generator would burn CPU for nobody."""
    instance = started()
    os.kill(instance.pid, signal.SIGTERM)
    assert until(lambda: not processes.started_ticks(instance.pid) or processes.ended(instance.pid) == 0)
    assert until(lambda: processes.ended(instance.generator_pid) is not None)
    assert "ends: Terminated" in log(instance)
