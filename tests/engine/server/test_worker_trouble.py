"""A worker whose files are in trouble answers, and says why; nothing goes to its log as a raw traceback."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import cast

from engine.server import messages
from engine.server.alerts.alert import Alert
from engine.server.log import Log
from engine.server.settings import People as Who
from engine.server.settings import Runs, Settings
from engine.server.worker import passwords, people
from engine.server.worker.desk import Desk
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Triggers
from engine.server.worker.users import User, save
from tests.engine.server.working import Worker, until, working


def broken(worker: Worker, statement: str) -> None:
    """Do something to the queue that should not be."""
    db = sqlite3.connect(worker.state / "queue.db", timeout=10)
    db.execute(statement)
    db.commit()
    db.close()


def test_whatever_is_asked_of_a_broken_queue_is_answered(tmp_path: Path) -> None:
    """`Busy` with the reason; the numbers come with the reason too; and nothing raw is logged."""
    with working(tmp_path) as worker:
        broken(worker, "DROP TABLE notices")
        told = worker.ask(messages.NoticeTold(notice=1))
        stats = worker.ask(messages.GetStats())

    assert isinstance(told, messages.Busy), told
    assert "no such table" in told.because
    assert "no such table" in stats.problem
    assert "Traceback" not in worker.log()


def test_a_session_that_can_not_be_looked_up_is_no_silence(tmp_path: Path) -> None:
    """Whoever sends a token to a broken queue is told to come again."""
    with working(tmp_path) as worker:
        from engine.server.worker import keys  # noqa: PLC0415

        token = str(keys.session_tokens(keys.signing_key(worker.state)).dumps("one"))
        broken(worker, "DROP TABLE sessions")
        answer = worker.ask(messages.WhoAmI(), socket="worker.sock", token=token)

    assert isinstance(answer, messages.Busy), answer


def test_a_queue_that_is_held_by_another_does_not_silence_the_numbers(tmp_path: Path) -> None:
    """A backup that holds the file for long must not make the worker look dead."""
    with working(tmp_path) as worker:
        db = sqlite3.connect(worker.state / "queue.db", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        until(lambda: isinstance(worker.ask(messages.GetStats()), messages.Stats))
        db.execute("ROLLBACK")
        db.close()


def test_a_disk_that_takes_nothing_is_told_until_it_does(tmp_path: Path) -> None:
    """Not ready while offers fail; ready again by itself, though no alert comes meanwhile."""
    alert = Alert(name="A", status="firing", fingerprint="f", starts_at=1.0)

    async def play() -> None:
        queue = Queue.open(tmp_path)
        desk = Desk(queue, Triggers(lambda: {}), Runs())
        queue.db.execute("PRAGMA query_only = ON")
        answer = await desk.take(messages.Offer(sender="am", alerts=(alert,)))
        assert isinstance(answer, messages.Busy)
        assert await desk.health() == desk.problem != ""

        queue.db.execute("PRAGMA query_only = OFF")
        assert await desk.health() == ""
        assert isinstance(await desk.take(messages.Offer(sender="am", alerts=(alert,))), messages.Taken)
        await desk.close()

    asyncio.run(play())


def test_whoever_is_logged_in_stays_so_though_nothing_can_be_written(tmp_path: Path) -> None:
    """When the session was used last is not worth an error."""
    save(
        tmp_path / "users.yaml",
        [User(name="anna", role="viewer", password=passwords.make("long enough for it"))],
    )
    queue, now = Queue.open(tmp_path), time.time()
    queue.make(people.SCHEMA)
    settings = Settings(people=Who(users_file=str(tmp_path / "users.yaml")))
    who = people.People(settings, tmp_path, Log("worker"), now=lambda: now)
    session = who.begin(queue.db, cast("User", who._found("anna")[0]))
    queue.db.execute("PRAGMA query_only = ON")
    now += 600

    found = who.who(queue.db, session.token)
    queue.close()
    assert found is not None
    assert found.user == "anna"
