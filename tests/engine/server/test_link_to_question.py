"""A runbook's own question, answered by a link: for that question, as its person, without a login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import pending
from engine.journal import Journal
from engine.record import Answered
from engine.server import messages as m
from engine.server.worker.links import Link, Links
from tests.engine.server.working import Worker, firing, working

#: What comes over the listener's socket is trusted with nothing.
SOCKET = "worker.sock"
USERS = (
    "users: 1\npeople:\n- name: anna\n  role: approver\n"
    '  password: "$scrypt$ln=15,r=8,p=3$d1haTEbyzBvVOi+EXBsmfw$4CrUv9W6R0qhegHVTGYxqFvQMr42gXU10hV1qFjFpJ4"\n'
)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[tuple[Worker, str, str]]:
    """A worker with a run that asks, and anna's link to its question."""
    (tmp_path / "users.yaml").write_text(USERS)
    (tmp_path / "users.yaml").chmod(0o600)
    with working(tmp_path) as worker:
        run = worker.offer(firing("Asks"))[0].run
        worker.run(run, "waiting")
        yield worker, run, link_of(worker, run)


def link_of(worker: Worker, run: str, digest: str = "") -> str:
    with Journal.open(worker.state, write=False) as journal:
        found = pending.open_question(journal.run(run))
    assert found is not None
    link = Link(run=run, digest=digest or pending.digest(*found), person="anna", until=9e9)
    return Links(worker.state).make(link)


def answer(worker: Worker, link: str, word: str = "yes") -> m.Answer:
    found = worker.ask(m.ReadLink(link=link), socket=SOCKET)
    if isinstance(found, m.No):
        return found
    reply = m.Reply(run=found.run.head.id, step="1", values={"yes": word}, digest=found.digest, link=link)
    return worker.ask(reply, socket=SOCKET)


def test_a_link_answers_a_question_as_its_person(asking: tuple[Worker, str, str]) -> None:
    """Nobody logs in; the run goes on, and its record says who answered, and how."""
    worker, run, link = asking
    assert answer(worker, link) == m.Done(sentence="answered by anna")
    worker.run(run, "ended")
    with Journal.open(worker.state, write=False) as journal:
        said = next(one for one in journal.run(run).events if isinstance(one, Answered))
    assert (said.by, said.via) == ("anna", "link")
    again = answer(worker, link)
    assert isinstance(again, m.No)
    assert "answered already: by anna" in again.problem


def test_a_link_to_another_question_answers_nothing(asking: tuple[Worker, str, str]) -> None:
    """Signed here, for this run, and yet not for what it asks."""
    worker, run, link = asking
    other = link_of(worker, run, "e" * 64)
    said = answer(worker, other)
    assert isinstance(said, m.No)
    assert said.why == "unknown"
    forged = m.Reply(run=run, step="1", values={"yes": "yes"}, digest="e" * 64, link=link)
    wrong = worker.ask(forged, socket=SOCKET)
    assert isinstance(wrong, m.No)
    assert "another request" in wrong.problem
    without = worker.ask(m.Reply(run=run, step="1", values={"yes": "yes"}), socket=SOCKET)
    assert isinstance(without, m.No)
    assert without.why == "login"
    assert worker.runs()[run].state == "waiting"
