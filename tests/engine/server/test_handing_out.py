"""Handing notices out: all or nothing on disk, and whatever the clock does."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from engine.server.log import Log
from engine.server.messages import GetNotices, NoticeTold
from engine.server.settings import Notify, Runs, Settings
from engine.server.worker import outbox
from engine.server.worker.books import Books
from engine.server.worker.desk import Desk
from engine.server.worker.herald import Herald
from engine.server.worker.links import Links
from engine.server.worker.notices import Draft
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Triggers

ROOM = Notify(name="room", url_file="/etc/runbook/room", at_most=5)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    queue = Queue.open(tmp_path)
    queue.make(outbox.SCHEMA)
    with queue.transaction():
        outbox.add(queue.db, [draft(number) for number in range(400)], [ROOM])
    return queue


def draft(number: int, at: float = 0.0) -> Draft:
    return Draft(key=f"k{number}", at=at, about="ended", outcome="unfixed", sentence="s", run=f"r{number}")


def hand_out(queue: Queue, place: Path) -> int:
    """As the worker does it; gives how many."""

    async def once() -> int:
        desk = Desk(queue, Triggers(dict), Runs())
        herald = Herald(Books(place), desk, Settings(notify=(ROOM,)), Log("worker", stream=io.StringIO()))
        return len(await herald.hand_out(GetNotices(), Links(place)))

    return asyncio.run(once())


def test_a_kill_while_many_become_one_leaves_no_half(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the number and the rows that it stands for: neither is on disk, later there is one."""
    notice = outbox._notice

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outbox, "_notice", killed)
    with pytest.raises(KeyboardInterrupt):
        hand_out(queue, tmp_path)
    assert not queue.rows("SELECT 1 FROM notices WHERE key LIKE 'summary/%' OR handed_at IS NOT NULL")

    monkeypatch.setattr(outbox, "_notice", notice)
    hand_out(queue, tmp_path)
    assert len(queue.rows("SELECT 1 FROM notices WHERE key LIKE 'summary/%'")) == 1


def test_many_become_one_at_once(queue: Queue) -> None:
    """However many: one statement, since offers wait for the same thread."""
    statements: list[str] = []
    queue.db.set_trace_callback(statements.append)
    with queue.transaction():
        outbox.hand_out(queue.db, [ROOM], None, 1.0)

    assert sum(one.startswith("UPDATE notices SET told_at") for one in statements) == 1


def test_a_clock_that_is_set_back_holds_nothing_up(queue: Queue) -> None:
    """What was handed out, tried in vain and folded tomorrow is told today."""
    with queue.transaction():
        for notice in outbox.hand_out(queue.db, [ROOM], None, 90_000.0):
            outbox.settle(queue.db, NoticeTold(notice=notice.id, problem="no answer"), 80_000.0)
        assert outbox.hand_out(queue.db, [ROOM], None, 1_000.0)
