"""Answers to runbooks' own questions, given from outside the run: who, how, until when they count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import pending
from engine.errors import Refused, UsageError
from engine.fakes import FakeClock, FakeTarget
from engine.guarding.policy import Approval, Policy
from engine.journal import Journal
from engine.record import Answered, Asked, Barred, Ruled, Run, Told
from engine.running import resume, unanswered
from engine.running.answering import Saying, reply
from tests.engine.rehearsed import agent, of_type
from tests.engine.test_asking import CALLER, begin, tools


class Phone:
    """A run that asks, and people who answer it from elsewhere."""

    def __init__(self, directory: Path, **further: Any) -> None:
        self.directory, self.further = directory, {"clock": FakeClock(), **further}
        self.lab: FakeTarget = agent()

    @property
    def now(self) -> float:
        return float(self.further["clock"].now())

    def begin(self, text: str = "") -> Run:
        given = {"text": text} if text else {}
        return begin(tools(self.directory, self.lab, **self.further), self.lab, **given)

    def say(self, values: dict[str, str], by: str = "anna", step: str = "") -> Answered:
        with Journal.open(self.directory) as journal:
            found = pending.open_question(journal.run("last"))
            step = step or (found[1].step if found else "2")
            saying = Saying(step=step, values=values, by=by, comment="it is night", via="page")
            return reply("last", saying, journal, self.now)

    def run(self, wanted: str = "last") -> Run:
        with Journal.open(self.directory) as journal:
            return journal.run(wanted)

    def resume(self, wanted: str = "last") -> Run:
        return resume.resume(wanted, tools(self.directory, self.lab, **self.further))


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    return Phone(tmp_path)


def test_an_answer_says_who_gave_it_how_and_what_they_wrote(phone: Phone) -> None:
    """The run then goes on with it, in whatever process."""
    phone.begin()
    assert not pending.answered(phone.run())
    said = phone.say({"open": "yes"})
    assert pending.answered(phone.run())
    after = phone.resume()

    assert (said.by, said.via, said.comment) == ("anna", "page", "it is night")
    assert said.use_by == phone.now + 900
    assert (after.head.outcome, phone.lab.settings["ring"]) == ("mitigated", 4)


def test_the_first_answer_counts(phone: Phone) -> None:
    """The second one is told so, and written down."""
    phone.begin()
    phone.say({"open": "no"})
    with pytest.raises(Refused, match="waits for no answer"):
        phone.say({"open": "yes"}, by="ben")

    assert len(of_type(phone.run(), Answered)) == 1
    assert of_type(phone.run(), Barred)[0].by == "ben"


def test_a_wrong_answer_leaves_the_question_open(phone: Phone) -> None:
    """It is said what is wrong with it; nothing is written."""
    before = phone.begin()
    with pytest.raises(UsageError, match="perhaps"):
        phone.say({"open": "perhaps"})

    assert phone.run().events == before.events
    phone.say({"open": "yes"})


def test_an_answer_to_another_question_is_none(phone: Phone) -> None:
    """Whoever looked at an old page has read something else."""
    phone.begin()
    with pytest.raises(Refused, match="asks something else by now"):
        phone.say({"open": "yes"}, step="7")


def test_too_late_an_answer_is_a_no(phone: Phone) -> None:
    """Resumed, the run goes on with a no."""
    phone.begin()
    assert pending.due(phone.run()) == phone.now + 1800
    phone.further["clock"].sleep(1800)
    with pytest.raises(Refused, match="could be answered until"):
        phone.say({"open": "yes"})

    assert (phone.resume().head.outcome, phone.lab.writes) == ("healthy", [])


def test_an_answer_that_is_not_used_in_time_counts_no_more(tmp_path: Path) -> None:
    """A yes of the evening is none in the morning: it is asked anew."""
    phone = Phone(tmp_path, policy=Policy(approval=Approval(use_within=60.0)))
    phone.begin()
    phone.say({"open": "yes"})
    phone.further["clock"].sleep(61)
    after = phone.resume()

    assert (after.head.outcome, phone.lab.writes) == ("waiting", [])
    assert len(of_type(after, Asked)) == 2
    assert "the answer of anna was to be used by" in of_type(after, Told)[-1].sentence
    phone.say({"open": "yes"})
    assert (phone.resume().head.outcome, phone.lab.settings["ring"]) == ("mitigated", 4)


def test_a_resolved_alert_withdraws_a_question(phone: Phone) -> None:
    """A runbook without a goal can't say that all is well: it ends as refused."""
    phone.begin()
    with Journal.open(phone.directory) as journal:
        assert unanswered.withdraw("last", "the alert has resolved", journal, phone.now)
        assert not unanswered.withdraw("last", "the alert has resolved", journal, phone.now)
    assert pending.answered(phone.run())
    after = phone.resume()

    assert (after.head.outcome, phone.lab.writes) == ("refused", [])
    assert [one.answer for one in of_type(after, Ruled)] == ["withdrawn"]
    assert "the alert has resolved" in after.head.sentence


def test_a_called_run_s_question_is_answered_by_its_caller_s_id(phone: Phone) -> None:
    """People know the run that they were told of."""
    done = phone.begin(CALLER)
    with Journal.open(phone.directory) as journal:
        found = pending.open_question(journal.run(done.head.id))
        assert found is not None
        saying = Saying(step=found[1].step, values={"open": "yes"}, by="anna")
        reply(done.head.id, saying, journal, phone.now)
    phone.resume(done.head.id)

    assert phone.lab.settings["ring"] == 4
