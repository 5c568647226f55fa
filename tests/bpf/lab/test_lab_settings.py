"""The practice agent's configuration: as text, and as the agent itself reads it. No root needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from bpf.diagnoses.agent_down import AgentDown
from bpf.diagnoses.cpu_use import CpuUse
from bpf.diagnoses.event_loss import EventLoss
from bpf.diagnoses.load_failure import LoadFailure
from bpf.diagnoses.map_pressure import MapPressure
from bpf.diagnoses.memory_growth import MemoryGrowth
from bpf.lab.faults import FAULTS, HEALTHY, fault_named, faults_of
from bpf.lab.processes import AGENT
from bpf.lab.settings import SHIPPED, own_sources, render
from engine.errors import UnknownName

DIAGNOSES = {
    "events-dropped": EventLoss,
    "high-cpu": CpuUse,
    "memory-leak": MemoryGrowth,
    "map-near-full": MapPressure,
    "agent-down": AgentDown,
    "load-failure": LoadFailure,
}
needs_agent = pytest.mark.skipif(not AGENT.exists(), reason="lab-agent is not built (make objects)")


def complaint(tmp_path: Path, text: str) -> str:
    """What the agent says about a configuration that it must refuse."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    done = subprocess.run([AGENT, "--config", file], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize("fault", [HEALTHY, *FAULTS.values()], ids=lambda fault: fault.name)
def test_each_fault_changes_only_its_own_settings_and_no_comment(fault):
    """An operator who reads the file of a faulty agent finds the shipped one, with the fault in it."""
    shipped, faulty = SHIPPED.read_text(), render(fault.settings)

    changed = [(a, b) for a, b in zip(shipped.splitlines(), faulty.splitlines(), strict=True) if a != b]
    assert len(changed) == len(fault.settings)
    assert [a.partition("#")[2] for a, _ in changed] == [b.partition("#")[2] for _, b in changed]
    document = yaml.safe_load(faulty)
    for path, value in fault.settings.items():
        section, key = path.split(".")
        assert value in (str(document[section][key]), str(document[section][key]).lower())


def test_a_setting_that_the_shipped_file_lacks_is_an_error():
    """A fault with a misspelt setting would be no fault at all."""
    with pytest.raises(KeyError):
        render({"ring.sise": "1MiB"})


def test_an_unknown_fault_gets_the_nearest_name():
    """A typing mistake at night costs no look into the manual."""
    with pytest.raises(UnknownName, match="did you mean 'slow-poll'"):
        fault_named("slowpoll")


def test_sources_carry_the_port_and_stay_process_names():
    """Two agents side by side must not see each other's events; the kernel keeps 15 characters."""
    for fault in (HEALTHY, *FAULTS.values()):
        for source in own_sources(fault.sources, 65535):
            comm = source.split(":")[0]
            assert comm.endswith("-65535")
            assert len(comm) <= 15


@needs_agent
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ring:\n  sise: 1MiB\n", ":2:3: there is no setting 'ring.sise'"),
        ("ring:\n  size: much\n", ":2:9: ring.size: 'much' is not a size like 256KiB"),
        ("reader:\n  poll_interval: 10\n", ":2:18: reader.poll_interval: '10' is not a duration like 100ms"),
        ("reader:\n  workers: 0\n", ":2:12: reader.workers: 0 is outside 1 to 64"),
        ("reader:\n  workers: -1\n", ":2:12: reader.workers: '-1' is not a whole number"),
        ("ring:\n  wakeup: never\n", ":2:11: ring.wakeup: 'never' is not one of auto, none, force, every"),
        ("filter:\n  comms: web\n", ":2:10: filter.comms is a list"),
        ("filter:\n  comms: [a-name-that-is-too-long]\n", "longer than 15 characters"),
        ("filter:\n  uids: [root]\n", ":2:10: filter.uids: 'root' is not a number"),
        ("ring: 7\n", ":1:7: ring holds 'key: value' pairs"),
        ("ring:\n  size: [1, 2\n", "config.yaml:3:1: "),
        ("a: &a [*a, *a]\n", ":1:1: there is no setting 'a'"),
        ("metrics:\n  address: everywhere\n", "metrics.address: 'everywhere' is not an IPv4 address"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(tmp_path, text, says):
    """The agent must not start with a setting other than the one that was meant."""
    assert says in complaint(tmp_path, text)


@needs_agent
def test_a_missing_configuration_is_named(tmp_path):
    """The file that is missing is what an operator has to know."""
    done = subprocess.run(
        [AGENT, "--config", tmp_path / "none.yaml"], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 2
    assert "none.yaml: No such file or directory" in done.stderr


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_each_fault_has_a_cause_that_its_runbook_can_find(fault):
    """The acceptance of the runbooks goes by these names."""
    assert fault.cause in DIAGNOSES[fault.runbook].causes


def test_faults_are_listed_by_the_runbook_that_they_are_practice_for():
    """Whoever wants to practise a runbook asks for its faults, and a typing mistake costs nothing."""
    assert {fault.runbook for fault in faults_of("map-near-full")} == {"map-near-full"}
    assert len(faults_of("")) == len(FAULTS)
    with pytest.raises(UnknownName, match="did you mean 'high-cpu'"):
        faults_of("high-cp")
