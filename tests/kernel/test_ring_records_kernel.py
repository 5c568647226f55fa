"""Whose records lie in a real ring."""

import time
from pathlib import Path

import pytest

from bpf.lab import lab
from bpf.objects.ring_records import RingRecords
from engine.agents.targets import on_this_host

pytestmark = pytest.mark.kernel


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNBOOK_LAB", str(tmp_path))
    instance = lab.start(fault="one-source")
    yield instance
    lab.stop(instance)


def test_the_records_tell_whose_events_reach_the_agent(noisy):
    """The agent filters, so counting before it can't tell; its ring can."""
    target = on_this_host().find(pid=noisy.pid)
    assert target.pid_at is not None
    deadline = time.monotonic() + 20
    with RingRecords(target.rings[0], target.pid_at) as ring:
        while ring.records < 2000 and time.monotonic() < deadline:
            ring.look()
        pid, share = next(iter(ring.shares().items()))
    assert "lab-noisy" in Path(f"/proc/{pid}/comm").read_text()
    assert 0.4 < share < 0.97  # 5 in 6 where the generator gets its CPU
