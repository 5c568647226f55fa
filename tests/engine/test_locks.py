"""One run per target, and no lock outlives its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import JournalUnavailable, Refused
from engine.journal import locks

HOLDER = """
import sys, time
from pathlib import Path
from engine.journal import locks
lock = locks.hold_target(Path(sys.argv[1]), "lab:/etc/lab.yaml", "run-1", now=1.0)
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_engine_on_the_same_target_is_refused_by_name(tmp_path: Path) -> None:
    """The operator must know which run to wait for."""
    with locks.hold_target(tmp_path, "lab:x", "run-1", now=1.0), pytest.raises(Refused, match="run-1"):
        locks.hold_target(tmp_path, "lab:x", "run-2", now=2.0)


def test_two_targets_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One host may have several agents."""
    with (
        locks.hold_target(tmp_path, "lab:x", "run-1", now=1.0),
        locks.hold_target(tmp_path, "lab:y", "run-2", now=2.0),
    ):
        pass


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    """The next run must not be held up."""
    for run in ("run-1", "run-2"):
        locks.hold_run(tmp_path, run, now=1.0).release()
        with locks.hold_target(tmp_path, "lab:x", run, now=1.0):
            assert not locks.run_is_held(tmp_path, run)


def test_kill_9_frees_the_lock(tmp_path: Path) -> None:
    """A crash must not block the target for ever."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=f"pid {child.pid}"):
            locks.hold_target(tmp_path, "lab:/etc/lab.yaml", "run-2", now=2.0)
        child.kill()
        child.wait()
        locks.hold_target(tmp_path, "lab:/etc/lab.yaml", "run-2", now=2.0).release()


def test_a_runs_lock_leaves_no_file(tmp_path: Path) -> None:
    """Runs are many; targets are few."""
    with locks.hold_run(tmp_path, "run-1", now=1.0):
        assert locks.run_is_held(tmp_path, "run-1")

    assert list((tmp_path / "locks").iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """No lock, no run."""
    (tmp_path / "locks").write_text("in the way")
    with pytest.raises(JournalUnavailable, match="lock"):
        locks.hold_run(tmp_path, "run-1", now=1.0)
