"""What resolves an alert finds its run, also where its sender does not say when it began."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.server.alerts.alert import Alert
from engine.server.worker.intake import Decided
from engine.server.worker.queue import Queue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue.open(tmp_path)
    yield made
    made.close()


def come(queue: Queue, status: str, at: float, run: str = "") -> None:
    alert = Alert(name="A", status=status, fingerprint="f", starts_at=at)  # type: ignore[arg-type]
    decided = Decided("started" if run else "resolved", "", run)
    with queue.transaction():
        queue.add_alert(alert, "x", decided, at, told=True)


def test_it_ends_what_began_with_it(queue: Queue) -> None:
    """Alertmanager repeats the start."""
    come(queue, "firing", 100.0, "r1")
    assert queue.run_of("f", 100.0) == "r1"


def test_it_ends_what_fired_last_before_it(queue: Queue) -> None:
    """PagerDuty, or a mapped body without a start, tells only when it ended."""
    come(queue, "firing", 100.0, "r1")
    come(queue, "firing", 200.0, "r2")
    assert queue.run_of("f", 250.0) == "r2"
    assert queue.run_of("f", 50.0) == ""


def test_what_is_over_is_not_ended_again(queue: Queue) -> None:
    """A later end is of something that started no run."""
    come(queue, "firing", 100.0, "r1")
    come(queue, "resolved", 150.0)
    assert queue.run_of("f", 250.0) == ""
