"""The demo where BPF can't be used: a recorded run, told again, plainly labelled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "runbooks/rehearsals/events-dropped/burst.yaml"


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """What it prints, and its report."""
    report = tmp_path_factory.mktemp("rehearsal") / "report.html"
    argv = [sys.executable, "-m", "engine.cli", "test", RECORDED, "--show", "--report", report]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, report.read_text()


def test_a_rehearsal_takes_the_whole_way_from_loss_to_proof(rehearsed):
    """It is the real engine, diagnosis and remediation on recorded evidence: the run is the same."""
    told, _ = rehearsed
    for word in (
        "goal does not hold",
        "cause: burst-exceeds-buffer",
        "ring-buffer-size 256KiB",
        "kept:",
        "fixed:",
    ):
        assert word in told


def test_a_rehearsal_says_that_it_is_one(rehearsed):
    """Nobody may take it for something that happened here: neither on the screen nor in the report."""
    told, report = rehearsed
    assert told.startswith("REHEARSAL")
    assert "REHEARSAL" in report


def test_the_recorded_evidence_names_no_machine():
    """It travels with the source."""
    assert not any(place in RECORDED.read_text() for place in ("/home", "/work", "/tmp", "/root"))
