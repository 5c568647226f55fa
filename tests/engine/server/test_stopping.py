"""A wish to stop a run reaches it however far it has come."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import JournalUnavailable
from engine.server import messages
from engine.server.log import Log
from engine.server.settings import Runs, Settings
from engine.server.wire import Line
from engine.server.worker.books import Books
from engine.server.worker.desk import Desk
from engine.server.worker.job import Job
from engine.server.worker.keeper import Keeper
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Triggers
from tests.engine.server.working import working


def test_a_run_is_stopped_while_its_child_is_being_started(tmp_path: Path) -> None:
    """At any moment between its acceptance and its first step."""

    async def start_and_stop(delay: float) -> str:
        line = Line(tmp_path / "control.sock")
        started = await line.ask(messages.StartRun(runbook="slow"))
        assert isinstance(started, messages.Started)
        await asyncio.sleep(delay)
        done = await line.ask(messages.StopRun(run=started.run))
        await line.close()
        assert isinstance(done, messages.Done), done
        return started.run

    with working(tmp_path) as worker:
        for delay in (0.0, 0.002, 0.005, 0.008, 0.012, 0.02, 0.05, 0.1, 0.2):
            run = asyncio.run(start_and_stop(delay))
            assert worker.run(run, "ended").outcome == "interrupted", delay


def test_a_run_that_could_not_be_dropped_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked is told, and the run still waits for its turn."""

    async def drop() -> tuple[bool, bool]:
        queue = Queue.open(tmp_path)
        desk, books = Desk(queue, Triggers(dict), Runs()), Books(tmp_path)
        keeper = Keeper(books, desk, Settings(), Log("worker"))
        job = Job(id="r", runbook="x", target="", queued_at=1.0)
        await keeper.add(job)

        async def full(*_: object) -> None:
            raise JournalUnavailable("the disk is full", fix="free space")

        with monkeypatch.context() as broken:
            broken.setattr(books, "end_unbegun", full)
            with pytest.raises(JournalUnavailable):
                await keeper.drop(job, "anna")
        kept = keeper.jobs.get("r") is job
        await keeper.drop(job, "anna")
        gone = "r" not in keeper.jobs
        await desk.close()
        await books.close()
        return kept, gone

    assert asyncio.run(drop()) == (True, True)
