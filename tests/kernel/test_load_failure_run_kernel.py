"""The runbook load-failure on practice agents whose programs do not load: found, mended, proven, undone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.diagnoses.load_failure import LoadFailure
from bpf.lab import lab
from bpf.lab.faults import FAULTS
from bpf.lab.waiting import until
from bpf.probes.agent_log import AgentLog
from bpf.probes.host_facts import HostFacts
from bpf.probes.load_failures import LoadFailures
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.errors import TargetNotFound
from engine.running import looking
from engine.values import Case, Evidence, Process, Target, Verdict

pytestmark = pytest.mark.kernel

ATTRIBUTE = "security.capability"
WINDOW_S = 1.3  # the agents try every second
#: Faults that this machine's kernel shows whatever its version.
SHOWN = [name for name, fault in FAULTS.items() if fault.fails and name != "memlock"]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where practice agents live; nobody may enter it, and all are stopped at the end."""
    directory = Path(tempfile.mkdtemp(prefix="runbook-lab-"))
    directory.chmod(0o711)
    monkeypatch.setenv("RUNBOOK_LAB", str(directory / "lab"))
    yield directory
    for each in lab.instances(directory / "lab"):
        lab.stop(each)
    shutil.rmtree(directory)


def runbook(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, with its journal in the test's own directory."""
    command = [sys.executable, "-m", "engine.cli", *words, "--state", str(place / "state")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def run(place: Path, instance: lab.Instance) -> dict:
    """``runbook run load-failure --yes`` on one agent, as its document."""
    ref = f"lab:{instance.config_file}"
    inputs = ("-i", f"window={WINDOW_S:g}s", "-i", "hold=1s")
    done = runbook(place, "run", "load-failure", "--yes", "--target", ref, *inputs, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def outcome_of(document: dict) -> str:
    return document["head"]["outcome"]


def find(instance: lab.Instance) -> Target:
    return targets.on_this_host().find(f"lab:{instance.config_file}")


def test_a_missing_capability_is_given_proven_and_taken_back(place):
    """The whole promise: cause, change, programs loaded, and the very attribute as it was."""
    instance = lab.start("missing-capability", seconds=120)
    program = Path(instance.program)
    document = run(place, instance)
    assert outcome_of(document) == "fixed"
    assert find(instance).program_ids
    assert ATTRIBUTE in os.listxattr(program)

    undone = runbook(place, "undo", "last")
    assert "undone" in undone.stdout, undone.stderr
    assert ATTRIBUTE not in os.listxattr(program)
    now = lab.instance_named(instance.name)
    assert until(lambda: lab.fails(now))
    assert not find(instance).program_ids


def test_an_agent_that_does_not_run_is_found_and_started(place):
    """It gave up long ago: its log and its executable are all there is."""
    instance = lab.start("missing-capability", seconds=120)
    os.kill(instance.pid, 15)
    assert until(lambda: not instance.alive)
    assert not find(instance).processes
    assert outcome_of(run(place, instance)) == "fixed"
    assert find(instance).program_ids

    undone = runbook(place, "undo", "last")
    assert "it did not run before" in undone.stdout, undone.stderr
    assert until(lambda: not find(instance).processes)


def test_a_missing_mount_is_made_and_unmade(place):
    """Undo unmounts although the agent has pinned something: the agent takes its pin along."""
    instance = lab.start("missing-mount", seconds=120)
    assert outcome_of(run(place, instance)) == "fixed"
    assert os.path.ismount(instance.mount)
    undone = runbook(place, "undo", "last")
    assert "undone" in undone.stdout, undone.stderr
    assert not os.path.ismount(instance.mount)


def test_what_a_human_must_mend_is_told_and_left_alone(place):
    """A verifier's refusal: no change of ours can help, and none is tried."""
    instance = lab.start("bad-bounds", seconds=60)
    document = run(place, instance)
    assert outcome_of(document) == "unfixed"
    assert "What mends it" in document["head"]["sentence"]


def test_an_agent_that_is_not_set_up_is_not_found(place):
    """A file that was never there is no stopped agent."""
    with pytest.raises(TargetNotFound):
        targets.on_this_host().find(f"lab:{place}/lab/none/config.yaml")


# ── causes told apart ───────────────────────────────────────────────────────────


def look(target: Target, seconds: float = WINDOW_S) -> dict[str, Evidence]:
    """What the runbook looks at, in one window."""
    requests = [looking.Request(LoadFailures()), looking.Request(HostFacts())]
    if target.log_file:
        requests.append(looking.Request(AgentLog()))
    cancel = Cancel()
    view = looking.View(target, seconds, SystemClock(cancel), cancel)
    found = looking.look(requests, view)
    return {one.short: one for one in found if isinstance(one, Evidence)}


def verdict_on(target: Target) -> Verdict:
    return LoadFailure().decide(Case(target=target, evidence=look(target)))


def verdicts(found: dict[str, Target]) -> dict[str, Verdict]:
    """All at once: each has a window of its own, at the same time."""
    verdicts: dict[str, Verdict] = {}

    def judge(name: str, target: Target) -> None:
        verdicts[name] = verdict_on(target)

    threads = [threading.Thread(target=judge, args=item) for item in found.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return verdicts


def test_every_fault_of_the_lab_is_named_by_its_cause(place):
    """Eleven reasons, most of them EPERM, EACCES or EINVAL: one errno never decides."""
    found = {name: find(lab.start(name, seconds=60)) for name in SHOWN}
    named = {
        name: verdict.causes[0].name if verdict.causes else "" for name, verdict in verdicts(found).items()
    }
    assert named == {name: FAULTS[name].cause for name in SHOWN}


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("capability", "missing_capability"),
        ("seccomp", "seccomp_or_container_policy"),
        ("sysctl", "unprivileged_bpf_disabled"),
    ],
)
def test_one_errno_is_told_apart_by_what_refuses(reason, cause):
    """EPERM each time. A socket filter takes no capability at all, where the sysctl is 0."""
    if reason == "sysctl" and Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() == "0":
        pytest.skip("anybody may load socket filters here")
    child = subprocess.Popen([sys.executable, str(Path(__file__).with_name("refused.py")), reason])
    try:
        target = Target(name=reason, ref=reason, processes=(Process(pid=child.pid, comm="refused"),))
        assert verdict_on(target).causes[0].name == cause
    finally:
        child.kill()
        child.wait()
