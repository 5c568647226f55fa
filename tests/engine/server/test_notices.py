"""Notices: what is told of a run, and that it goes out once, in spite of everything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from engine import pending, record
from engine.record import Ended, Requested, Ruled, Run
from engine.server.messages import LeaseRow, Notice, NoticeTold
from engine.server.settings import Notify
from engine.server.worker import notices, outbox
from engine.server.worker.links import Link, Links
from engine.server.worker.notices import Draft
from tests.engine.test_approval import CALLER, Desk
from tests.samples import runs

ANNA = Notify(name="anna", url_file="/etc/runbook/anna", person="anna", link_for=600.0)
ROOM = Notify(name="room", url_file="/etc/runbook/room")


def draft(number: int = 0, about: notices.About = "ended", at: float = 0.0) -> Draft:
    return Draft(
        key=f"k{number}",
        at=at,
        about=about,
        outcome="unfixed",
        sentence=f"sentence {number}",
        run=f"r{number}",
    )


def waiting_run(*further: record.Event) -> Run:
    """The sample run, up to a request for its first change."""
    whole = runs.burst_run()
    place = next(i for i, one in enumerate(whole.events) if isinstance(one, record.Planned))
    request = Requested(
        at=1000.0,
        step=whole.events[place].step,
        remediation="poll-interval",
        digest="d" * 64,
        decide_by=2800.0,
        use_within=60.0,
        evidence_at=990.0,
    )
    end = Ended(at=1001.0, outcome="waiting", sentence="Waits.")
    head = msgspec.structs.replace(whole.head, outcome="waiting", ended_at=1001.0, sentence="Waits.")
    return Run(head=head, events=(*whole.events[: place + 1], request, *further, end))


@pytest.fixture
def db(tmp_path: Path) -> sqlite3.Connection:
    place = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    place.executescript(outbox.SCHEMA)
    return place


def out(db: sqlite3.Connection, now: float, *who: Notify, limit: int = 20) -> tuple[Notice, ...]:
    return outbox.hand_out(db, who or (ROOM,), None, now, limit)


def told(db: sqlite3.Connection, notice: Notice, now: float, problem: str = "") -> str:
    return outbox.settle(db, NoticeTold(notice=notice.id, problem=problem), now)


# ── what is told ────────────────────────────────────────────────────────────────


def test_an_end_is_told_in_its_sentence_and_three_lines() -> None:
    """Cause, change, goal: what somebody woken by it wants to know first."""
    run = runs.burst_run()
    told_ = notices.of_run(run)
    assert told_ is not None
    assert (told_.about, told_.outcome, told_.path) == ("ended", "fixed", f"/runs/{run.head.id}")
    assert told_.sentence == next(one for one in reversed(run.events) if isinstance(one, Ended)).sentence
    cause, change, goal = told_.evidence
    assert "60,000" in cause
    assert "256KiB → 2MiB" in change.replace(" ", "").replace("→", " → ")
    assert goal.startswith("before: ")


def test_a_run_that_waits_is_told_with_plan_and_end_of_the_time() -> None:
    """What is to be approved, until when, bound to the request's digest."""
    told_ = notices.of_run(waiting_run())
    assert told_ is not None
    assert (told_.about, told_.digest, told_.link_until) == ("waiting", "d" * 64, 2800.0)
    assert "waits for a yes to poll-interval, until 1970-01-01 00:46:40 UTC" in told_.sentence
    assert len(told_.evidence) == 3
    assert "reader.poll_interval: 100 ms → 25 ms (risk: low)" in told_.evidence[1]


def test_what_was_ruled_on_is_told_no_more() -> None:
    """A worker that comes back late tells nobody to answer what was answered."""
    assert notices.of_run(waiting_run(Ruled(at=1000.5, digest="d" * 64, answer="denied"))) is None


def test_a_run_that_goes_on_or_was_called_is_not_told() -> None:
    """Its caller tells."""
    run = runs.burst_run()
    called = msgspec.structs.replace(run, head=msgspec.structs.replace(run.head, called_by="other"))
    assert notices.of_run(called) is None
    assert notices.of_run(msgspec.structs.replace(run, events=run.events[:5])) is None


def test_a_question_is_told_with_what_a_link_is_bound_to() -> None:
    """It is answered on the page, with its values, also by a link."""
    asked = record.Asked(at=5.0, step="2", question="Which of the two?", answers={}, expires_at=60.0)
    end = Ended(at=6.0, outcome="waiting", sentence="Waits.")
    run = waiting_run()
    run = msgspec.structs.replace(run, events=(asked, end))
    told_ = notices.of_run(run)
    assert told_ is not None
    assert "asks: Which of the two?" in told_.sentence
    assert told_.digest == pending.digest(run, asked)
    assert told_.link_until == 60.0


def test_what_a_called_run_waits_with_is_told_by_its_caller(tmp_path: Path) -> None:
    """A change in a called runbook at three in the night: somebody hears of it, with cause and plan."""
    desk = Desk(tmp_path, CALLER)
    run = desk.begin()
    told_ = notices.of_run(run)
    assert told_ is not None
    assert (told_.about, told_.run, told_.path) == ("waiting", run.head.id, f"/runs/{run.head.id}")
    assert "waits for a yes to ring" in told_.sentence
    assert any("→" in line for line in told_.evidence)
    found = pending.open_request(run)
    assert found is not None
    assert (told_.digest, told_.link_until) == (found.requested.digest, found.requested.decide_by)


def test_the_same_run_gives_the_same_key() -> None:
    """So that telling it again tells nothing."""
    assert notices.of_run(runs.burst_run()) == notices.of_run(runs.burst_run())


def test_a_lease_is_told_when_it_ends_soon_and_not_when_it_was_short() -> None:
    """A quarter of an hour before, once for each end that it was given."""
    row = LeaseRow(
        run="r", attempt=1, target="lab", remediation="sampling", where="agent.yaml: sampling",
        before="1", after="1 in 10", since=0.0, until=3600.0,
    )  # fmt: skip
    assert notices.of_lease(row, 2000.0) is None
    soon = notices.of_lease(row, 3000.0)
    assert soon is not None
    assert "goes back from 1 in 10 to 1" in soon.sentence
    later = notices.of_lease(msgspec.structs.replace(row, until=3700.0), 3000.0)
    assert later is not None
    assert later.key != soon.key
    assert notices.of_lease(msgspec.structs.replace(row, since=3000.0), 3001.0) is None


def test_text_from_outside_stays_on_its_line() -> None:
    """An agent's or an alert's words forge no second line and steer no terminal."""
    said = notices.of_trouble(f"the log said {runs.EVIL}\nAll is well", 0.0).sentence
    assert "\n" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("notify", "outcome", "wanted"),
    [
        (ROOM, "unfixed", True),
        (ROOM, "healthy", False),
        (Notify(name="a", url_file="x", outcomes=("healthy",)), "healthy", True),
        (Notify(name="a", url_file="x", outcomes=("failed",)), "unfixed", False),
        (Notify(name="a", url_file="x", about=("waiting",)), "failed", False),
    ],
)
def test_everybody_hears_what_they_asked_for(notify: Notify, outcome: str, wanted: bool) -> None:
    """By what it is about, and of ended runs by outcome."""
    assert notices.wanted(msgspec.structs.replace(draft(), outcome=outcome), notify) is wanted


# ── the outbox ──────────────────────────────────────────────────────────────────


def test_the_same_news_is_kept_once_for_each_person(db: sqlite3.Connection) -> None:
    """A worker that was killed after it wrote it down writes it down again without harm."""
    assert outbox.add(db, [draft(), None], [ANNA, ROOM]) == 2
    assert outbox.add(db, [draft()], [ANNA, ROOM]) == 0
    assert outbox.waiting(db) == 2


def test_what_was_told_is_handed_out_no_more(db: sqlite3.Connection) -> None:
    """Also not after a restart: it is on disk."""
    outbox.add(db, [draft()], [ROOM])
    (notice,) = out(db, 1.0)
    assert out(db, 2.0) == ()
    assert told(db, notice, 3.0) == "told"
    assert out(db, 10_000.0) == ()
    assert told(db, notice, 4.0) == "unknown"
    assert outbox.waiting(db) == 0


def test_what_nobody_spoke_of_is_handed_out_again_under_the_same_number(db: sqlite3.Connection) -> None:
    """The listener was killed while it sent: at least once, and the number shows the double."""
    outbox.add(db, [draft()], [ROOM])
    (first,) = out(db, 0.0)
    assert out(db, outbox.HANDED_S - 1) == ()
    assert out(db, outbox.HANDED_S + 1) == (first,)


def test_a_failed_one_waits_longer_each_time_and_is_given_up_after_a_day(db: sqlite3.Connection) -> None:
    """A service that is down is not hammered, and not asked for ever."""
    outbox.add(db, [draft()], [ROOM])
    now, waits = 0.0, []
    while True:
        (notice,) = out(db, now)
        if told(db, notice, now, "no answer") == "given up":
            break
        tried = now
        while not db.execute("SELECT 1 FROM notices WHERE due <= ?", (now,)).fetchone():
            now += 1.0
        waits.append(now - tried)
    assert waits[:4] == [15.0, 30.0, 60.0, 120.0]
    assert max(waits) == 900.0
    assert outbox.GIVEN_UP_S <= now <= outbox.GIVEN_UP_S + 900.0
    assert outbox.waiting(db) == 0


def test_a_dead_service_holds_up_its_own_only(db: sqlite3.Connection) -> None:
    """While one waits for its next try, the other is told all."""
    outbox.add(db, [draft(number) for number in range(8)], [ANNA, ROOM])
    sent: list[str] = []
    for now in (0.0, 1.0, 2.0, 3.0):
        for notice in out(db, now, ANNA, ROOM):
            if notice.to == "anna":
                told(db, notice, now, "no answer")
            else:
                sent.append(notice.sentence)
                told(db, notice, now)
    assert sent == [f"sentence {number}" for number in range(8)]
    assert outbox.waiting(db) == 8


def test_of_too_many_a_number_is_told(db: sqlite3.Connection) -> None:
    """A storm rings so many times, then tells how many more there are, at most once a minute."""
    few = msgspec.structs.replace(ROOM, at_most=5)
    outbox.add(db, [draft(number) for number in range(100)], [few])
    sent: list[str] = []

    def pass_on(now: float) -> None:
        while found := out(db, now, few):
            for notice in found:
                sent.append(notice.sentence)
                told(db, notice, now)

    pass_on(1.0)
    assert len(sent) == 6
    assert any("95 more notices" in one for one in sent)
    outbox.add(db, [draft(number, at=2.0) for number in range(200, 230)], [few])
    pass_on(2.0)
    assert len(sent) == 6
    pass_on(62.0)
    assert "30 more notices" in sent[-1]
    assert len(sent) == 7
    outbox.add(db, [draft(300, at=700.0)], [few])
    pass_on(700.0)
    assert sent[-1] == "sentence 300"
    assert outbox.waiting(db) == 0


def test_what_waits_for_an_answer_goes_first(db: sqlite3.Connection) -> None:
    """Somebody can do something about it."""
    outbox.add(db, [draft(0), draft(1), draft(2, "waiting")], [ROOM])
    assert [one.sentence for one in out(db, 1.0)] == ["sentence 2", "sentence 0", "sentence 1"]


def test_a_run_that_waits_no_more_is_told_about_no_more(db: sqlite3.Connection) -> None:
    """What was answered meanwhile need not be told."""
    outbox.add(db, [draft(1, "waiting"), draft(2, "waiting")], [ROOM])
    outbox.withdraw(db, "r1", 1.0)
    assert [one.run for one in out(db, 1.0)] == ["r2"]


def test_each_person_gets_a_link_of_their_own_and_a_room_gets_none(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    """It names the person and ends with the time to decide, or earlier; nothing signed is on disk."""
    links = Links(tmp_path)
    outbox.add(db, [notices.of_run(waiting_run())], [ANNA, ROOM])
    anna, room = outbox.hand_out(db, [ANNA, ROOM], links, 1000.0)
    assert room.link == ""
    found = links.read(anna.link.removeprefix("/links/"), 1000.0)
    assert found == Link(run=anna.run, digest="d" * 64, person="anna", until=1600.0)
    assert anna.link.removeprefix("/links/") not in str(db.execute("SELECT * FROM notices").fetchall())
    late = outbox.hand_out(db, [ANNA], links, 2500.0)[0]
    again = links.read(late.link.removeprefix("/links/"), 2500.0)
    assert isinstance(again, Link)
    assert again.until == 2800.0
    assert outbox.hand_out(db, [ANNA], links, 2900.0)[0].link == ""


def test_who_is_in_the_settings_no_more_is_told_no_more(db: sqlite3.Connection) -> None:
    """Their notices are given up, those of others stay."""
    outbox.add(db, [draft()], [ANNA, ROOM])
    assert outbox.give_up(db, [ROOM], 1.0) == 1
    assert outbox.waiting(db) == 1
    assert outbox.give_up(db, [ROOM], outbox.GIVEN_UP_S + 1) == 1
    outbox.forget(db, outbox.GIVEN_UP_S * 3)
    assert db.execute("SELECT count(*) FROM notices").fetchone() == (0,)


def test_secrets_reach_no_notice(db: sqlite3.Connection) -> None:
    """Neither the row nor what is handed out."""
    secret = "AKIAIOSFODNN7EXAMPLE password=hunter2hunter2"
    outbox.add(db, [msgspec.structs.replace(draft(), sentence=secret, evidence=(secret,))], [ROOM])
    assert "hunter2" not in str(db.execute("SELECT * FROM notices").fetchall())
    assert "hunter2" not in str(out(db, 1.0))
