"""Requests, answers and alerts in reports: who, when, why, and how long after the change all was well."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine import reports, text
from engine.auditing.rows import of_run
from engine.errors import Refused
from engine.record import Alerted, Applied, Barred, Ruled, Run
from engine.reports import story, timeline
from engine.reports import text as plain
from tests.engine.rehearsed import of_type
from tests.engine.test_approval import Desk

FORMS = ["text", "markdown", "html"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def used(desk: Desk) -> Run:
    desk.begin()
    desk.rule()
    return desk.resume()


@pytest.mark.parametrize("form", FORMS)
def test_a_report_says_who_approved_when_how_and_why(desk: Desk, form: str) -> None:
    """Beside the change that it was for."""
    done = used(desk)
    told = " ".join(reports.render(done, form).replace("\\", "").split())
    when = text.day_and_time(of_type(done, Ruled)[0].at)

    assert f"approved by anna on the page: go on ({when})" in told


@pytest.mark.parametrize("form", FORMS)
def test_a_report_says_why_a_yes_was_void(desk: Desk, form: str) -> None:
    """And that it is asked for anew."""
    desk.begin()
    desk.rule()
    desk.pid = 4300
    told = " ".join(reports.render(desk.resume(), form).split())

    assert "void: the target was restarted since: process 4242 then, 4300 now" in told


def test_a_change_that_was_approved_stands_once(desk: Desk) -> None:
    """Planned, asked for, planned again by the resumed run, carried out: one change."""
    done = used(desk)
    (proposal,) = [one for one in story.tell(done).proposals if one.plan.changes]

    assert (proposal.state, proposal.by) == ("kept", "anna")
    assert [one.answer for one in proposal.rulings] == ["approved"]


@pytest.mark.parametrize(
    ("answer", "states"), [("approved", ["approved"]), ("denied", ["denied"]), ("", ["waiting"])]
)
def test_how_a_request_stands(desk: Desk, answer: str, states: list[str]) -> None:
    """Before the run is resumed."""
    desk.begin()
    if answer:
        desk.rule(answer)

    assert [one.state for one in story.tell(desk.run()).proposals] == states


def test_a_void_request_stands_beside_the_one_that_took_its_place(desk: Desk) -> None:
    """An audit asks what was approved and not done."""
    desk.begin()
    desk.rule()
    desk.lab.settings["ring"] = 2
    states = [(one.state, one.because) for one in story.tell(desk.resume()).proposals]

    assert [state for state, _ in states] == ["void", "waiting"]
    assert "ring is 2 now, and was 1" in states[0][1]


def test_a_no_is_told_as_held_back_by_whoever_said_it(desk: Desk) -> None:
    """Once the run has heard it."""
    desk.begin()
    desk.rule("denied")
    (proposal,) = story.tell(desk.resume()).proposals

    assert (proposal.state, proposal.because, proposal.by) == ("held back", "anna said no", "anna")


def test_every_step_of_it_has_its_line(desk: Desk) -> None:
    """On the terminal, and in every timeline."""
    desk.begin()
    digest = desk.rule().digest
    with pytest.raises(Refused):
        desk.rule(digest=digest, by="ben")
    lines = [told.words for event in desk.resume().events if (told := timeline.line(event)) is not None]

    for words in (
        "waits for a yes",
        "asks for a yes: ring",
        "approved by anna on the page",
        "ben could not approve a change",
        "allowed by anna",
    ):
        assert words in lines


def test_a_report_says_how_long_after_the_change_the_alert_resolved(desk: Desk) -> None:
    """The sender's own word that it helped."""
    done = used(desk)
    made = of_type(done, Applied)[-1].at
    news = [
        Alerted(
            at=done.head.started_at, alert="a1", name="DropRate", sender="am", did="asked", summary="lost"
        ),
        Alerted(at=made + 95, alert="a2", name="DropRate", sender="am", did="resolved"),
    ]
    told = msgspec.structs.replace(done, events=(*done.events, *news))

    assert story.tell(told).resolved == "Alert DropRate has resolved, 1 min 35 s after the last change."
    assert "has resolved, 1 min 35 s after" in plain.render(told).replace("\n  ", " ")
    lines = [one.words for event in news if (one := timeline.line(event)) is not None]
    assert lines == ["alert DropRate asked for this run", "alert DropRate has resolved"]


def test_an_alert_that_still_fires_stands_beside_an_outcome_that_is_good(desk: Desk) -> None:
    """The run measured its goal; the sender has not said that it is over."""
    done = used(desk)
    asked = Alerted(at=done.head.started_at, alert="a1", name="DropRate", sender="am", did="asked")
    gone = Alerted(at=done.head.started_at + 9, alert="a2", name="Other", sender="am", did="resolved")
    told = msgspec.structs.replace(done, events=(*done.events, asked, gone))

    words = "Alert DropRate still fires: its sender has not said that it resolved."
    assert (story.tell(told).still_firing, story.tell(told).resolved) == (words, "")
    for form in ("text", "html", "markdown", "json"):
        assert words in " ".join(reports.render(told, form).split())
    bad = msgspec.structs.replace(told, head=msgspec.structs.replace(told.head, outcome="unfixed"))
    assert story.tell(bad).still_firing == ""


def test_the_audit_says_that_the_alert_resolved_while_a_change_was_in_force(desk: Desk) -> None:
    """Beside the predictions and the goal, with the time since the change; and in the row of the end."""
    done = used(desk)
    made = of_type(done, Applied)[-1].at
    news = Alerted(at=made + 95, alert="a2", name="DropRate", sender="am", did="resolved")
    rows = {one.what: one for one in of_run(msgspec.structs.replace(done, events=(*done.events, news)))}

    assert rows["change"].verified.endswith("the alert DropRate resolved 1 min 35 s after the change")
    assert rows["end"].verified == "Alert DropRate has resolved, 1 min 35 s after the last change."


def test_an_alert_that_resolved_by_itself_is_told_from_the_beginning(desk: Desk) -> None:
    """Nothing was changed that it could be counted from."""
    done = desk.begin()
    gone = Alerted(at=done.head.started_at + 60, alert="a", name="DropRate", sender="am", did="resolved")
    told = msgspec.structs.replace(done, events=(*done.events, gone))

    assert story.tell(told).resolved == "Alert DropRate has resolved, 1 min after the run had begun."


def test_markup_in_a_comment_stays_text(desk: Desk) -> None:
    """It came over the network."""
    done = desk.begin()
    evil = "<script>alert(1)</script>\x1b[2J"
    barred = Barred(at=1.0, wanted="approve a change", by=evil, because=evil)
    told = msgspec.structs.replace(done, events=(*done.events, barred))

    assert "<script>alert" not in reports.render(told, "html")
    assert "\x1b" not in reports.render(told, "text")
