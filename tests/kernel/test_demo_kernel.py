"""``make demo`` that is stopped in the middle: nothing stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(90)]
ROOT = Path(__file__).parents[2]


def of_the_demo() -> list[str]:
    """Processes that work in the demo's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "build/demo/" in words:
                found.append(words)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_demo_that_is_stopped_leaves_the_machine_as_it_was(number, tmp_path):
    """Somebody who presses Ctrl-C must not have to clean up."""
    demo = subprocess.Popen(
        [sys.executable, ROOT / "tools/demo.py", tmp_path / "report.html"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told = ""
    for line in demo.stdout:
        told += line
        if "measure the goal" in line:
            demo.send_signal(number)
            break
    told += demo.communicate(timeout=60)[0]

    assert demo.returncode == 128 + number, told
    assert "stopped by" in told
    assert not of_the_demo()
    assert not (ROOT / "build/demo").exists()
