"""A target that another run works on, under whatever name: its runs wait, and nobody spins."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from engine.journal import Journal, locks
from engine.running.scene import Silent
from engine.server.log import Log
from engine.server.settings import Runs
from engine.server.worker.books import Books
from engine.server.worker.carry import carry
from engine.server.worker.desk import Desk
from engine.server.worker.job import Job
from engine.server.worker.jobs import Jobs
from engine.server.worker.order import BUSY, Order
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Triggers


def test_a_child_tells_which_run_keeps_it_from_beginning(tmp_path: Path) -> None:
    """And writes nothing: it is to begin later."""
    runbook, told = tmp_path / "quick.yaml", list[str]()
    runbook.write_text("runbook: quick\nsteps: [{tell: hello}]\n")
    Journal.open(tmp_path).close()
    with locks.hold_run(tmp_path, "r1", now=0.0):
        order = Order(run="r1", runbook=str(runbook), state=str(tmp_path), last=True)
        assert carry(order, Silent(), told.append) == BUSY

    assert told == ["r1"]
    with Journal.open(tmp_path) as journal:
        assert not journal.has("r1")


def test_a_run_is_held_back_until_the_one_on_its_target_has_ended(tmp_path: Path) -> None:
    """``falco`` and ``falco:1234`` are one: it costs no try, and no child in between."""

    async def play() -> None:
        books, queue = Books(tmp_path), Queue.open(tmp_path)
        desk = Desk(queue, Triggers(lambda: {}), Runs())
        jobs = Jobs(books, desk, Log("worker"), lambda: None)
        ahead = Job(id="a", runbook="r", target="falco", state="running", queued_at=1.0)
        second = Job(id="b", runbook="r", target="falco:1234", state="running", queued_at=2.0)
        for job in (ahead, second):
            queue.add_job(job)
        await jobs.recover()
        jobs.behind["b"] = "a"
        await jobs.settle("b", busy=True)
        assert (jobs.open["b"].state, jobs.open["b"].tries) == ("queued", 0)
        assert jobs.ready() == []

        await jobs.change(msgspec.structs.replace(ahead, state="ended", outcome="fixed"), ahead)
        assert [one.id for one in jobs.ready()] == ["b"]

        jobs.open["b"] = second
        jobs.behind["b"] = "somebody-elses"
        await jobs.settle("b", busy=True)
        assert jobs.ready() == []
        assert jobs.open["b"].tries == 0
        await desk.close()
        await books.close()

    asyncio.run(play())
