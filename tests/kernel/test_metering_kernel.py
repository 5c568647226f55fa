"""The exporter and ``top`` on a real agent: what they tell is what bpftool and the agent tell."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.lab import lab
from bpf.lab.instances import Instance
from bpf.objects import inventory
from bpf.syscall import program_info
from bpf.system.prometheus import Sample, parse

pytestmark = pytest.mark.kernel
RUNBOOK = Path(sys.executable).with_name("runbook")
SERVERS = Path(__file__).parents[2] / "build/servers/usr/bin"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A healthy agent."""
    instance = lab.start(directory=tmp_path_factory.mktemp("lab"))
    yield instance
    lab.stop(instance)


def target_of(agent: Instance) -> str:
    return f"lab:{agent.config_file}"


def page(agent: Instance, *options: str) -> str:
    words = [str(RUNBOOK), "exporter", "--once", "--target", target_of(agent), *options]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def numbers(text: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in parse(text):
        found.setdefault(sample.name, []).append(sample)
    return found


def test_maps_and_programs_are_those_that_bpftool_lists(agent):
    """Names, ids and room of maps come from the same kernel, whoever asks."""
    tool = shutil.which("bpftool", path="/usr/sbin:/usr/bin") or pytest.skip("bpftool is not installed")
    seen = numbers(page(agent))
    listed = json.loads(subprocess.run([tool, "-j", "map"], capture_output=True, check=True).stdout)
    by_id = {str(one["id"]): one for one in listed}
    rooms = {one.labels["id"]: one.value for one in seen["bpf_map_max_entries"]}
    assert rooms
    assert all(by_id[number]["max_entries"] == room for number, room in rooms.items())
    programs = json.loads(subprocess.run([tool, "-j", "prog"], capture_output=True, check=True).stdout)
    names = {str(one["id"]): one["name"] for one in programs}
    assert all(names[one.labels["id"]] == one.labels["program"] for one in seen["bpf_program_loaded"])


def test_received_events_are_those_that_the_agent_counts(agent):
    """Two pages of our own exporter bracket what the agent's page says it received in between."""
    with serving(agent) as url:
        before = received(url)
        first = total(agent.metrics_url, "bpf_events_received_total")
        second = total(agent.metrics_url, "bpf_events_received_total")
        assert received(url) - before >= second - first >= 0


def test_prometheus_own_checker_finds_nothing_wrong_with_the_page(agent):
    """promtool knows the format and the customs of names better than we do."""
    tool = SERVERS / "promtool"
    if not tool.exists():
        pytest.skip("promtool is not unpacked (tools/setup.sh tests)")
    told = subprocess.run(
        [tool, "check", "metrics"],
        input=page(agent, "--statistics"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_run_time_totals_come_with_statistics_only(agent):
    """Without them the kernel's totals stand still, and a still total would read as no cost."""
    assert "bpf_program_run_seconds_total" not in numbers(page(agent))
    assert "bpf_program_run_seconds_total" in numbers(page(agent, "--statistics"))


def test_statistics_are_off_again_when_the_exporter_was_killed(agent):
    """What costs every BPF program of the machine ends with the process that wanted it."""
    with serving(agent, "--statistics", end=signal.SIGKILL):
        pass
    deadline = time.monotonic() + 30  # somebody else may be looking at the moment
    while runs_of(agent) != runs_of(agent):
        assert time.monotonic() < deadline


def test_top_prints_each_sheet_as_json(agent):
    """For scripts, with the same numbers."""
    words = [str(RUNBOOK), "top", "-n", "1", "--every", "500ms", "--json", "--target", target_of(agent)]
    told = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)
    assert set(told) == {"agents", "programs", "maps", "rings"}
    assert told["agents"][0]["events"] > 0
    assert told["programs"][0]["runs"] > 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["exporter", "--listen", "nowhere"], "no ADDRESS:PORT"),
        (["exporter", "--listen", "203.0.113.7:9436"], "can't listen"),
        (["exporter", "--target", "lap"], "no running agent"),
        (["top", "--every", "1ms"], "too often"),
        (["top", "--sort", "colour"], "no column"),
    ],
)
def test_bad_input_is_told_with_its_fix(words, problem):
    """And nothing is left running."""
    told = subprocess.run([str(RUNBOOK), *words], capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode in {2, 4}
    assert problem in told.stderr
    assert "fix:" in told.stderr


class serving:  # noqa: N801 - used as a context
    """An exporter on a free port of the loopback; gives the page's address."""

    def __init__(self, agent: Instance, *options: str, end: signal.Signals = signal.SIGTERM) -> None:
        words = ["exporter", "--listen", "127.0.0.1:0", "--target", target_of(agent), *options]
        self._words, self._end = [str(RUNBOOK), *words], end

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._words, stderr=subprocess.PIPE, text=True)
        told = self._process.stderr.readline() if self._process.stderr else ""
        address = re.match(r"http\S+?(?=;)", told)
        assert address, told
        return address[0]

    def __exit__(self, *_: object) -> None:
        os.kill(self._process.pid, self._end)
        self._process.communicate(timeout=20)


def received(url: str) -> float:
    return total(url, "bpf_events_received_total")


def total(url: str, name: str) -> float:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = numbers(answer.read().decode())[name]
    return sum(one.value for one in found)


def runs_of(agent: Instance) -> int:
    mine = [one for one in inventory.read().programs if agent.pid in one.owners]
    return sum(program_info(one.id).run_cnt for one in mine)
