"""``runbook approve`` and ``deny``: what is shown, what is written, who goes on with the run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import host, launch
from engine.cli import main
from engine.commands import approve
from engine.journal import Journal, locks
from engine.record import Answered, Barred, Requested, Ruled
from engine.running import resume
from engine.running.scene import Tools
from tests.engine.rehearsed import of_type
from tests.engine.test_approval import Desk

ASKING = (
    "runbook: asks\nsteps:\n  - ask: May it be?\n  - change: ring\n    keep: always\n    when: answer.yes\n"
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A fake agent; commands work with it in place of this machine's."""
    desk = Desk(tmp_path)

    class Now:
        @staticmethod
        def time() -> float:
            return desk.clock.now()

        monotonic = staticmethod(approve.time.monotonic)
        sleep = staticmethod(approve.time.sleep)

    @contextmanager
    def tools(_wish: object, watcher: Any) -> Iterator[Tools]:
        with (everything := desk.tools(watcher=watcher, by=host.operator())).journal:
            yield everything

    monkeypatch.setattr(launch, "tools", tools)
    monkeypatch.setattr(approve, "time", Now)
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path))
    return desk


def test_a_yes_shows_what_it_is_for_and_goes_on_with_the_run(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before → after, the prediction, the risk, the age of the evidence; then live, to the end."""
    done = desk.begin()
    assert main(["approve", done.head.id, "--comment", "the window is open"]) == 0
    said = capsys.readouterr().out

    for words in (
        "ring on fake, risk low",
        "1 → 4",
        "predicts flow.dropped_per_s: 300/s → 0/s",
        "cause: burst",
    ):
        assert words in said
    assert "evidence: 0 s old" in said
    assert "fixed: Fixed by ring" in said
    (ruled,) = of_type(desk.run(), Ruled)
    assert (ruled.by, ruled.comment, ruled.via) == (host.operator(), "the window is open", "command")


def test_a_no_ends_as_the_run_does(desk: Desk) -> None:
    """The exit code is the run's: refused is 3."""
    desk.begin()

    assert main(["deny", "last"]) == 3
    assert (desk.run().head.outcome, desk.lab.writes) == ("refused", [])


def test_without_a_run_what_waits_is_listed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """With the digest that a yes can be bound to."""
    done = desk.begin()
    assert main(["approve"]) == 0
    digest = of_type(done, Requested)[0].digest[:16]
    said = capsys.readouterr().out
    assert done.head.id in said
    assert digest in said
    assert main(["runs", "--waiting", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [done.head.id]
    assert main(["approve", "last", "--plan", digest]) == 0
    capsys.readouterr()
    assert main(["approve"]) == 0

    assert capsys.readouterr().out == "nothing waits\n"


def test_another_plan_than_the_one_named_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """It may have been asked for anew meanwhile."""
    desk.begin()
    assert main(["approve", "last", "--plan", "0123456789"]) == 3

    assert "another plan" in capsys.readouterr().err
    assert (of_type(desk.run(), Ruled), len(of_type(desk.run(), Barred))) == ([], 1)


def test_no_run_only_writes_the_answer_down(desk: Desk) -> None:
    """Whoever resumes the run uses it."""
    desk.begin()
    assert main(["approve", "last", "--no-run"]) == 0

    assert (desk.run().head.outcome, desk.answers()) == ("waiting", ["approved"])


def test_nothing_waits_for_an_answer(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Said, with the way to see why."""
    desk.lab.settings["ring"] = 4
    desk.begin()
    assert main(["approve", "last"]) == 3

    assert "has ended (healthy) and waits for no approval" in capsys.readouterr().err


def test_a_question_of_yes_or_no_is_answered_too(desk: Desk) -> None:
    """For one that wants more there is `resume --answer`."""
    desk.text = ASKING
    desk.begin()
    main(["approve", "last", "--comment", "it is night"])
    (answered,) = of_type(desk.run(), Answered)

    assert (answered.values, answered.comment, desk.lab.settings["ring"]) == ({"yes": True}, "it is night", 1)
    assert desk.run().head.outcome == "waiting", "now the change itself asks"
    desk.text = ASKING.replace("May it be?", "May it be?\n    answers: {until: {type: duration}}")
    desk.begin()
    assert main(["approve", "last"]) == 2


def test_where_the_worker_is_at_work_it_goes_on_with_the_run(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the command waits for how it ends."""
    done = desk.begin()

    def worker() -> None:
        while True:
            with Journal.open(desk.directory) as journal:
                if approve.answered(journal.run(done.head.id)):
                    break
        with (everything := desk.tools()).journal:
            resume.resume(done.head.id, everything)

    with locks.hold_run(desk.directory, approve.WORKER, now=0.0):
        at_work = threading.Thread(target=worker)
        at_work.start()
        code = main(["approve", done.head.id])
        at_work.join(20)

    assert (code, desk.lab.settings["ring"]) == (0, 4)
    assert "the worker goes on with it" in capsys.readouterr().out


def test_where_the_worker_does_not_take_it_up_it_goes_on_here(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A yes is not left lying."""
    monkeypatch.setattr(approve, "GRACE_S", 0.0)
    desk.begin()
    with locks.hold_run(desk.directory, approve.WORKER, now=0.0):
        assert main(["approve", "last", "--no-wait"]) == 0
        assert desk.run().head.outcome == "waiting"
        assert approve._by_worker(desk.run().head.id, _doing(desk)).head.outcome == "fixed"


def _doing(desk: Desk) -> approve.Doing:
    return approve.Doing("approved", "", "", as_json=False, state=desk.directory)
