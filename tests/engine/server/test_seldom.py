"""What others can bring about as often as they like is written down seldom, with how many there were."""

from __future__ import annotations

from pathlib import Path

from engine.server import messages
from engine.server.page import audits
from engine.server.worker import errands, passwords, users
from engine.server.worker.seldom import EVERY_S, MOST, Seldom
from tests.engine.server.working import firing, working


def test_one_a_minute_tells_how_many_there_were() -> None:
    """Each kind for itself."""
    now = 0.0
    seldom = Seldom(lambda: now)
    assert [seldom.times("a") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert seldom.times("b") == 1
    now = EVERY_S
    assert seldom.times("a") == 5


def test_what_is_remembered_is_bounded() -> None:
    """Whatever is tried."""
    seldom = Seldom()
    for number in range(MOST * 3):
        seldom.times(number)
    assert len(seldom._since) == MOST


def test_who_tries_again_and_again_without_the_right_fills_no_journal(tmp_path: Path) -> None:
    """A viewer gets one row a minute and run; the log tells it, once."""
    users.save(
        tmp_path / "users.yaml",
        [users.User(name="vera", role="viewer", password=passwords.make("correct horse"))],
    )
    with working(tmp_path) as worker:
        (taking,) = worker.offer(firing("Quick"))
        worker.run(taking.run, "ended")
        login = messages.Login(user="vera", password="correct horse")
        token = worker.ask(login, socket="worker.sock").token
        for _ in range(10):
            no = worker.ask(messages.UndoRun(run=taking.run), socket="worker.sock", token=token)
            assert no.why == "role"
        found = worker.ask(messages.GetRun(run=taking.run))

        assert sum(b'"kind":"barred"' in bytes(event) for event in found.events) == 1
        assert worker.log().count("warning worker refused") == 1


def test_the_page_asks_for_no_more_rows_of_the_audit_than_the_worker_gives() -> None:
    """Else it could not tell that a file is not whole."""
    assert audits.A_FILE == errands.MOST_ROWS
