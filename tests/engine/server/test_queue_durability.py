"""Whoever was told ``Taken`` finds its alerts on disk, though the worker was killed in that moment."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from engine.server import messages
from engine.server.messages import Offer, Taken
from engine.server.wire import Line, WorkerGone
from engine.server.worker.queue import Queue, QueueUnavailable
from tests.engine.server.working import firing, until, working


async def _storm(socket: Path, seed: int, seconds: float, kill) -> dict[str, str]:
    """Offer alerts from several lines until the worker is gone; gives what was taken, and its run."""
    taken: dict[str, str] = {}

    async def send(number: int) -> None:
        line = Line(socket)
        numbers = random.Random(seed * 100 + number)
        while True:
            alert = firing("Quick" if numbers.random() < 0.2 else "Other", f"f{numbers.randrange(10**6)}")
            try:
                answer = await line.ask(Offer(sender="am", alerts=(alert, alert)))
            except WorkerGone:
                return
            if isinstance(answer, Taken):
                taken[answer.takings[0].alert] = answer.takings[0].run

    tasks = [asyncio.create_task(send(number)) for number in range(8)]
    await asyncio.sleep(seconds)
    kill()
    await asyncio.gather(*tasks)
    return taken


def test_every_answered_alert_is_on_disk_after_a_kill_and_has_its_run(tmp_path: Path) -> None:
    """Three kills in the middle of a storm: nothing lost, nothing doubled."""
    everything: dict[str, str] = {}
    with working(tmp_path, cooldown="0s") as worker:
        for seed in range(3):
            taken = asyncio.run(_storm(tmp_path / "worker.sock", seed, 0.4 + seed / 10, worker.kill))
            assert taken
            everything |= taken
            worker.start()
        reader = Queue.open(worker.state, write=False)
        kept = dict(reader.rows("SELECT id, run FROM alerts"))
        assert everything.items() <= kept.items()
        jobs = [row[0] for row in reader.rows("SELECT id FROM jobs")]
        assert len(jobs) == len(set(jobs))
        assert {run for run in kept.values() if run} == set(jobs)
        until(lambda: not reader.open_jobs())
        assert {row.state for row in worker.runs().values()} == {"ended"}
        assert set(worker.runs()) == set(jobs)


def test_a_full_disk_is_told_and_nothing_is_taken(tmp_path: Path) -> None:
    """In the words of the journal, with what to do."""
    queue = Queue.open(tmp_path)
    queue.db.execute("PRAGMA max_page_count = 40")
    with pytest.raises(QueueUnavailable, match="full"):
        _fill(queue)
    assert queue.counted() == {}


def _fill(queue: Queue) -> None:
    with queue.transaction():
        for number in range(10_000):
            queue.count("alerts", f"n{number}")


def test_old_alerts_go_in_small_parts_and_never_those_of_open_runs(tmp_path: Path) -> None:
    """Retention by ``runs.alerts_kept``."""
    with working(tmp_path) as worker:
        takings = worker.offer(firing("Asks"), *(firing("Other", f"o{n}") for n in range(700)))
        worker.run(takings[0].run, "waiting")
    queue = Queue.open(tmp_path / "state")
    later = time.time() + 10
    assert [queue.prune(later), queue.prune(later), queue.prune(later)] == [500, 200, 0]
    assert [row.run for row in queue.alerts(messages.GetAlerts())] == [takings[0].run]
