"""Questions to people: answered now, later by another process, or never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import Refused, UsageError
from engine.journal import Journal
from engine.language import loader
from engine.record import Answerable, Answered, Asked, Run, StepSkipped, Told
from engine.running import asking, resume
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import FakeClock, FakeTarget, FakeWatcher, fake_tools
from tests.engine.rehearsed import agent, flow, of_type, ring
from tests.engine.test_calling import book

TEXT = """\
runbook: ask-first
steps:
  - tell: before
  - ask: Is a maintenance window open on {{ target.name }}?
    answers:
      open: {type: bool, help: Whether it is open.}
      until: {type: duration, default: 1h, minimum: 10m}
    who: the platform team
    expires: 30m
    as: window
  - change: ring
    keep: always
    when: window.open
  - tell: "{{ window.open }} {{ window.answered }}"
"""
CALLER = "runbook: outer\nsteps:\n  - call: ask-first\n  - tell: '{{ ask_first.outcome }}'\n"


def tools(directory: Path, lab: FakeTarget, **further: Any) -> Tools:
    return fake_tools(directory, [flow(lab), ring(lab)], lab, runbook=book(ask_first=TEXT), **further)


def begin(everything: Tools, lab: FakeTarget, text: str = TEXT, **further: Any) -> Run:
    document = loader.parse(text.encode(), Path("ask-first.yaml")).document
    return run(Order(runbook=document, text=text, target=lab.target, **further), everything)


def told(done: Run) -> list[str]:
    return [one.sentence for one in of_type(done, Told)]


def test_an_answer_at_the_terminal_is_typed_and_read(tmp_path: Path) -> None:
    """What follows depends on it, by its type."""
    lab, watcher = agent(), FakeWatcher(answers={"open": "y", "until": "20m"})
    done = begin(tools(tmp_path, lab, watcher=watcher), lab)

    assert watcher.questions == ["Is a maintenance window open on fake?"]
    assert of_type(done, Answered)[0].values == {"open": True, "until": 1200.0}
    assert (lab.settings["ring"], told(done)) == (4, ["before", "true true"])


def test_the_question_is_on_disk_before_anybody_is_asked(tmp_path: Path) -> None:
    """Another process may answer in place of this one."""
    lab = agent()

    class Curious(FakeWatcher):
        def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
            with Journal.open(tmp_path) as journal:
                assert of_type(journal.run("last"), Asked)[0].expires_at is not None
            return None

    assert begin(tools(tmp_path, lab, watcher=Curious()), lab).head.outcome == "waiting"


def test_without_a_terminal_the_run_waits_and_goes_on_with_the_answer(tmp_path: Path) -> None:
    """Whoever can answer may come later, to another process."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab)
    assert (done.head.outcome, lab.writes) == ("waiting", [])
    assert "--answer open=…" in done.head.sentence
    after = resume.resume("last", tools(tmp_path, lab, by="anna"), {"open": "yes"})

    assert (after.head.outcome, lab.settings["ring"]) == ("mitigated", 4)
    (answered,) = of_type(after, Answered)
    assert (answered.values, answered.by) == ({"open": True, "until": 3600.0}, "anna")
    assert len(of_type(after, Asked)) == 1, "it is not asked twice"


def test_resumed_without_an_answer_it_says_what_it_waits_for(tmp_path: Path) -> None:
    """And nothing of the run is done anew for nothing."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab)
    with pytest.raises(Refused, match="maintenance window") as refusal:
        resume.resume("last", tools(tmp_path, lab))

    assert "--answer open=yes --answer until=DURATION" in refusal.value.fix
    with Journal.open(tmp_path) as journal:
        assert journal.run("last").events == done.events


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"opn": "yes"}, "'opn' was not asked for (did you mean 'open'?)"),
        ({"open": "perhaps"}, "'perhaps' is neither true nor false"),
        ({"open": "yes", "until": "1m"}, "at least 10 min"),
    ],
)
def test_a_wrong_answer_is_refused_and_changes_nothing(
    tmp_path: Path, given: dict[str, str], says: str
) -> None:
    """The question stays open."""
    lab = agent()
    begin(tools(tmp_path, lab), lab)
    with pytest.raises(UsageError) as error:
        resume.resume("last", tools(tmp_path, lab), given)

    assert says in str(error.value)
    assert resume.resume("last", tools(tmp_path, lab), {"open": "no"}).head.outcome == "healthy"


def test_a_wrong_answer_at_the_terminal_is_asked_again(tmp_path: Path) -> None:
    """Three times; then the question stays open."""
    lab, watcher = agent(), FakeWatcher(answers={"open": "perhaps"})
    done = begin(tools(tmp_path, lab, watcher=watcher), lab)

    assert (done.head.outcome, len(watcher.questions)) == ("waiting", 3)
    assert "perhaps" in watcher.problems[1]


def test_an_expired_question_is_a_no(tmp_path: Path) -> None:
    """Also where a yes comes after it: the world has moved on."""
    lab, clock = agent(), FakeClock()
    begin(tools(tmp_path, lab, clock=clock), lab)
    clock.sleep(1801)
    after = resume.resume("last", tools(tmp_path, lab, clock=clock), {"open": "yes"})

    assert of_type(after, Answered)[0].expired
    assert (after.head.outcome, lab.writes, told(after)) == ("healthy", [], ["before", "false false"])


def test_an_answer_that_took_too_long_is_a_no(tmp_path: Path) -> None:
    """A terminal left open over night."""
    lab, clock = agent(), FakeClock()

    class Slow(FakeWatcher):
        def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
            clock.sleep(1801)
            return {"open": "yes"}

    done = begin(tools(tmp_path, lab, clock=clock, watcher=Slow()), lab)
    assert of_type(done, Answered)[0].expired
    assert lab.writes == []


def test_a_dry_run_shows_the_question_and_asks_nobody(tmp_path: Path) -> None:
    """What depends on the answer is skipped, with that reason."""
    lab, watcher = agent(), FakeWatcher(answers={"open": "yes"})
    done = begin(tools(tmp_path, lab, watcher=watcher), lab, dry_run=True)

    assert (done.head.outcome, watcher.questions) == ("rehearsed", [])
    assert of_type(done, Asked)[0].expires_at is None
    assert "window was not looked at" in of_type(done, StepSkipped)[0].because


def test_a_called_runs_question_is_answered_through_its_caller(tmp_path: Path) -> None:
    """People know the run that they started."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab, CALLER)
    assert done.head.outcome == "waiting"
    after = resume.resume("last", tools(tmp_path, lab), {"open": "yes"})

    assert (after.head.outcome, lab.settings["ring"]) == ("mitigated", 4)
    assert told(after) == ["mitigated"]
    assert told(after.called[0]).count("before") == 1, "people are not told twice"


def test_an_answer_to_nothing_is_refused(tmp_path: Path) -> None:
    """It must have been meant for another run."""
    lab = agent()
    begin(
        tools(tmp_path, lab, yes=False),
        lab,
        TEXT[: TEXT.index("  - ask")] + "  - change: ring\n    keep: always\n",
    )
    with pytest.raises(UsageError, match="waits for no answer"):
        resume.resume("last", tools(tmp_path, lab), {"open": "yes"})


def test_without_answers_a_yes_is_asked_for(tmp_path: Path) -> None:
    """The commonest question needs no schema; Enter is a no."""
    text = "runbook: x\nsteps:\n  - ask: Go on?\n  - tell: '{{ answer.yes }}'\n"
    lab = agent()
    assert told(begin(tools(tmp_path, lab, watcher=FakeWatcher(answers={"yes": ""})), lab, text)) == ["false"]
    assert told(begin(tools(tmp_path, lab, watcher=FakeWatcher(answers={"yes": "Y"})), lab, text)) == ["true"]


def test_an_answer_may_have_spaces_around_it() -> None:
    """As one that was copied has."""
    asked = Asked(
        at=0.0, question="?", answers={"go": Answerable(type="bool"), "n": Answerable(type="integer")}
    )

    assert asking.typed(asked, {"go": " y ", "n": " 3 "}) == {"go": True, "n": 3}
