"""``agent-down`` on real agents that are down, each in its own way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.lab import lab

pytestmark = pytest.mark.kernel

RUNBOOK = Path(sys.executable).with_name("runbook")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], tuple[dict, lab.Instance]]]:
    """Bring an agent down, run the runbook on it; the record and the instance."""
    place = {**os.environ, "RUNBOOK_STATE": str(tmp_path / "state"), "RUNBOOK_LAB": str(tmp_path / "lab")}

    def on(fault: str, *words: str) -> tuple[dict, lab.Instance]:
        instance = lab.start(fault, directory=tmp_path / "lab", seconds=120)
        inputs = ("-i", "window=1s", "-i", "hold=1s")
        command = ("run", "agent-down", "--target", f"lab:{instance.config_file}", "--json", *inputs, *words)
        done = subprocess.run(
            [RUNBOOK, *command], capture_output=True, text=True, env=place, timeout=120, check=False
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout), lab.instance_named(instance.name, tmp_path / "lab")

    yield on
    for each in lab.instances(tmp_path / "lab"):
        lab.stop(each)


def causes(record: dict) -> list[str]:
    decided = next(event for event in record["events"] if event["kind"] == "decided")
    return [cause["name"] for cause in decided["verdict"]["causes"]]


def test_what_crashed_is_started_and_runs_on(run):
    """The whole way: down, found out, started, proven."""
    record, instance = run("down-crashed", "--yes")
    assert (causes(record)[0], record["outcome"]) == ("crashed", "fixed")
    assert instance.alive


def test_what_somebody_stopped_stays_stopped(run):
    """Whoever is on call must never have to fight a program."""
    record, instance = run("down-stopped", "--yes")
    assert (causes(record), record["outcome"]) == (["stopped-by-human"], "refused")
    assert not instance.alive


def test_a_crash_loop_is_left_to_people(run):
    """One more start would end like the others."""
    record, _ = run("down-crash-loop", "--yes")
    assert (causes(record)[0], record["outcome"]) == ("crash-loop", "unfixed")
    assert not any(event["kind"] == "intended" for event in record["events"])


def test_a_dry_run_starts_nothing(run):
    """Every read is real, and nobody has hands."""
    record, instance = run("down-oom", "--dry-run")
    assert causes(record)[0] == "oom-killed"
    assert not instance.alive
