"""The worker's journal: what waits for a busy run holds up nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import Refused
from engine.journal import locks
from engine.server.worker import books
from engine.server.worker.books import Books


def test_an_answer_to_a_busy_run_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for the run, the journal serves everybody else; then it is done, or refused."""

    async def look() -> list[str]:
        journal, order = Books(tmp_path), list[str]()
        lock = locks.hold_run(tmp_path, "r", now=1.0)
        answer = asyncio.create_task(journal.do_alone("r.1", lambda _: order.append("answer")))
        await journal.do(lambda _: order.append("other"))
        assert not answer.done()
        lock.release()
        await answer
        monkeypatch.setattr(books, "PATIENCE_S", 0.0)
        with locks.hold_run(tmp_path, "r", now=1.0), pytest.raises(Refused):
            await journal.do_alone("r", lambda _: order.append("never"))
        await journal.close()
        return order

    assert asyncio.run(look()) == ["other", "answer"]
