"""A worker whose files are in trouble answers, and says why; nothing goes to its log as a raw traceback."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.server import messages
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
