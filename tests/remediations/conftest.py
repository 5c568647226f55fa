"""An agent that is a plain process with a YAML file, and evidence to plan from."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.values import Case, Evidence, Host, Knob, Process, Reading, Reload, Target
from remediations.knobs.processes import started_ticks

CONFIG = """\
# The agent's settings.
ring:
  size: 256KiB   # rounded up
  wakeup: 'none'
reader: {poll_interval: 100ms, workers: 1}
batch: 64
filter:
  exclude_comms:
    - init  # never wanted
"""

#: Says 'ready', then one line for each SIGHUP.
AGENT = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGHUP, lambda *_: print('reloaded', flush=True))\n"
    "print('ready', flush=True)\n"
    "while True: time.sleep(60)\n"
)


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.at = 0.0

    def now(self):
        return 1_700_000_000.0 + self.at

    def monotonic(self):
        return self.at

    def sleep(self, seconds):
        self.at += seconds


class Agent:
    """A running process, its configuration and cgroup, and the target an engine would make of it."""

    def __init__(self, directory: Path):
        self.file = directory / "agent.yaml"
        self.file.write_text(CONFIG)
        self.cgroup = directory / "cgroup"
        self.cgroup.mkdir()
        (self.cgroup / "cpu.max").write_text("50000 100000\n")
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", AGENT], stdout=subprocess.PIPE, text=True
        )
        assert self.heard() == "ready"

    def heard(self):
        """The next line it says: blocks until it has said it."""
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def target(self):
        return self.describe(pid=self.process.pid)

    def describe(self, *, pid=0, **overrides):
        def yaml(name, path, unit, **more):
            more = {"reload": Reload(by="signal", settle_s=1, loses=("unread events",)), **more}
            return Knob(name=name, backend="yaml-file", file=str(self.file), path=path, unit=unit, **more)

        knobs = [
            yaml("ring-buffer-size", "ring.size", "bytes", rounding="power-of-two-pages"),
            yaml("wakeup-policy", "ring.wakeup", "text", choices=("auto", "none", "force", "every")),
            yaml("poll-interval", "reader.poll_interval", "ms"),
            yaml("workers", "reader.workers", "count", maximum=8),
            yaml("batch-size", "batch", "count"),
            yaml("queue-size", "queue.size", "count", default=8192),
            yaml("sampling", "sampling.one_in", "one-in-n", default=1),
            yaml("event-filter", "filter.exclude_comms", "list"),
            Knob(name="cpu-quota", backend="cgroup", path=str(self.cgroup), unit="cores"),
        ]
        process = (Process(pid=pid, started_ticks=started_ticks(pid) or 0, comm="python"),) if pid else ()
        return Target(
            name="agent",
            ref="agent",
            profile="test",
            processes=process,
            knobs={k.name: k for k in knobs},
            **overrides,
        )


def seen(short, /, **values):
    """Evidence with these readings."""
    readings = {name: Reading(value=value) for name, value in values.items()}
    return Evidence(probe=short, short=short, target="agent", started_at=0, ended_at=10, readings=readings)


BURSTS = {
    "in_per_s": 20_000.0,
    "burst_in_per_s": 200_000.0,
    "service_per_s": 50_000.0,
    "out_per_s": 18_000.0,
    "dropped_per_s": 2_000.0,
    "dropped_ring_per_s": 2_000.0,
    "dropped_behind_per_s": 0.0,
    "record_bytes": 72.0,
    "ring_bytes": 262_144.0,
    "burst_bytes": 1_500_000.0,
    "fill_peak": 1.0,
    "poll_interval_s": 0.1,
    "pattern": "bursts",
}
OVERFLOW = BURSTS | {
    "burst_spacing_s": 0.5,
    "out_per_s": 20_000.0,
    "dropped_ring_per_s": 0.0,
    "dropped_behind_per_s": 4_000.0,
    "dropped_queue_per_s": 4_000.0,
}
FLOOD = BURSTS | {
    "in_per_s": 120_000.0,
    "burst_in_per_s": None,
    "out_per_s": 50_000.0,
    "dropped_per_s": 70_000.0,
    "dropped_ring_per_s": 70_000.0,
    "pattern": "sustained",
}
IDLE_HOST = {
    "busiest_thread_cores": 0.4,
    "host_idle_cores": 6.0,
    "host_cpus": 8.0,
    "cpu_cores": 0.5,
    "cpu_system_cores": 0.2,
    "throttled_share": 0.0,
    "memory_limit_bytes": 512e6,
    "memory_left_bytes": 300e6,
    "context_switches_per_s": 10.0,
}
BUSY_READER = IDLE_HOST | {"busiest_thread_cores": 0.99, "cpu_cores": 1.0}
ONE_SOURCE = {
    "top_comm": "curl",
    "top_share": 0.9,
    "top_per_s": 108_000.0,
    "rest_per_s": 12_000.0,
    "total_per_s": 120_000.0,
}

#: For each remediation, evidence in which it should act.
ACTS = {
    "ring-buffer-size": (BURSTS, IDLE_HOST),
    "poll-interval": (BURSTS | {"burst_in_per_s": 30_000.0}, IDLE_HOST),
    "wakeup-policy": (BURSTS, IDLE_HOST),
    "workers": (FLOOD, BUSY_READER),
    "queue-size": (OVERFLOW, IDLE_HOST),
    "batch-size": (FLOOD, BUSY_READER),
    "sampling": (FLOOD, BUSY_READER),
    "event-filter": (FLOOD, BUSY_READER),
    "cpu-quota": (FLOOD, IDLE_HOST | {"throttled_share": 0.8}),
}


@pytest.fixture
def agent(tmp_path):
    running = Agent(tmp_path)
    yield running
    running.end()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def case_for(agent):
    """case_for(remediation, flow=…, process=…, sources=…, **options): a case it should act on."""

    def make(remediation, *, flow=None, process=None, sources=None, target=None, host=None, **options):
        usual_flow, usual_process = ACTS[remediation.name]
        target = target or agent.target
        evidence = [
            seen("flow", **(usual_flow | (flow or {}))),
            seen("process", **(usual_process | (process or {}))),
            seen("sources", **(ONE_SOURCE | (sources or {}))),
        ]
        return Case(
            target=target,
            evidence={each.short: each for each in evidence},
            knobs=remediation.read(target),
            host=host or Host(cpus=8, possible_cpus=8, memory_bytes=16 << 30),
            options=options,
        )

    return make
