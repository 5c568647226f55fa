"""Signed links: what they count for, and when they count no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import pending
from engine.record import Answered, Asked, Event, Planned, Requested, Ruled, Run, RunHead
from engine.server.messages import No
from engine.server.worker import keys
from engine.server.worker.links import Link, Links, answerable
from engine.values import Plan

LINK = Link(run="20261122-0301-events-dropped-k3f9e2", digest="d" * 64, person="anna", until=2000.0)


def requested(digest: str = LINK.digest, at: float = 1000.0) -> Requested:
    return Requested(
        at=at,
        remediation="ring-buffer-size",
        digest=digest,
        decide_by=2000.0,
        use_within=60.0,
        evidence_at=990.0,
    )


def ruled(answer: str, digest: str = LINK.digest, **further: str) -> Ruled:
    return Ruled(at=1100.0, digest=digest, answer=answer, **further)  # type: ignore[arg-type]


def run(*events: Event, outcome: str = "waiting", called: tuple[Run, ...] = (), name: str = LINK.run) -> Run:
    head = RunHead(id=name, runbook="events-dropped", outcome=outcome, started_at=900.0)  # type: ignore[arg-type]
    return Run(head=head, events=(PLANNED, *events), called=called)


def question(at: float = 1000.0) -> Asked:
    return Asked(at=at, step="2", question="Go on?", answers={}, expires_at=2000.0)


PLANNED = Planned(at=995.0, plan=Plan(remediation="ring-buffer-size"))


@pytest.fixture
def links(tmp_path: Path) -> Links:
    return Links(tmp_path)


def test_a_link_says_what_it_was_made_for(links: Links) -> None:
    """Run, digest, person and end come back as they were signed, in a path that needs no quoting."""
    path = links.path(LINK)
    assert path.startswith("/links/")
    signed = path.removeprefix("/links/")
    assert all(letter.isalnum() or letter in "-_." for letter in signed)
    assert links.read(signed, 1999.0) == LINK


def test_a_link_counts_after_a_restart(links: Links, tmp_path: Path) -> None:
    """The key is on disk."""
    assert Links(tmp_path).read(links.make(LINK), 1999.0) == LINK


def test_a_link_ends(links: Links) -> None:
    """Too old is said in plain words, with the time."""
    said = links.read(links.make(LINK), 2000.0)
    assert isinstance(said, No)
    assert "has ended" in said.problem
    assert "1970-01-01 00:33:20 UTC" in said.problem


@given(st.text(max_size=300))
def test_whatever_is_no_link_is_none(text: str) -> None:
    """Letters that were never signed, of any kind."""
    links = Links.__new__(Links)
    links._signer = keys.link_tokens(b"k" * 32)
    assert isinstance(links.read(text, 0.0), No)


def test_a_link_that_was_touched_is_none(links: Links) -> None:
    """Not one letter can be another; a session's token is no link."""
    signed = links.make(LINK)
    for place in range(0, len(signed), 7):
        other = "A" if signed[place] != "A" else "B"
        assert isinstance(links.read(signed[:place] + other + signed[place + 1 :], 0.0), No)
    assert isinstance(links.read(signed[:-1], 0.0), No)


def test_a_session_is_no_link(links: Links, tmp_path: Path) -> None:
    """Signed with the same key for another purpose."""
    token = keys.session_tokens(keys.signing_key(tmp_path)).dumps(["run", "digest", "anna", 2000.0])
    assert isinstance(links.read(str(token), 0.0), No)


def test_while_its_request_is_open_a_link_can_be_answered() -> None:
    """Nothing stands against it."""
    assert answerable(LINK, run(requested()), "approver") is None


@pytest.mark.parametrize(
    ("events", "words", "why"),
    [
        ([requested(), ruled("approved", by="bert")], "approved by bert", "conflict"),
        (
            [requested(), ruled("denied", by="bert", because="not now")],
            "denied by bert (not now)",
            "conflict",
        ),
        ([requested(), ruled("expired")], "it has expired", "conflict"),
        ([requested(), ruled("void", because="the ring has changed")], "the ring has changed", "conflict"),
        ([requested(), requested("e" * 64)], "the plan has changed", "conflict"),
        ([requested("e" * 64)], "has not made", "unknown"),
        ([], "has not made", "unknown"),
    ],
)
def test_a_link_that_can_t_be_answered_says_why(events: list[Event], words: str, why: str) -> None:
    """Answered by whom, another plan, or of another run: in clear words."""
    no = answerable(LINK, run(*events), "approver")
    assert no is not None
    assert words in no.problem
    assert no.why == why


@pytest.mark.parametrize("role", [None, "viewer", "operator"])
def test_a_link_is_worth_what_its_person_may(role: str | None) -> None:
    """Whoever was an approver when it was sent, and is none now, does not approve by it."""
    no = answerable(LINK, run(requested()), role)  # type: ignore[arg-type]
    assert no is not None
    assert (no.why, "anna" in no.problem) == ("role", True)


def test_a_link_counts_for_what_a_called_run_asks() -> None:
    """The notice is its caller's, and so is the link."""
    inner = run(requested(), name=f"{LINK.run}.1")
    assert answerable(LINK, run(called=(inner,)), "approver") is None
    ruled_on = run(requested(), ruled("denied", by="bert"), name=f"{LINK.run}.1")
    no = answerable(LINK, run(called=(ruled_on,)), "approver")
    assert no is not None
    assert "denied by bert" in no.problem


def test_a_run_that_has_ended_takes_no_answer() -> None:
    """Nobody ruled, and yet it is over: stopped, or taken back."""
    no = answerable(LINK, run(requested(), outcome="interrupted"), "approver")
    assert no is not None
    assert (no.why, no.problem) == ("conflict", "the run waits for no answer any more")


def test_a_link_to_a_question_counts_for_that_question_only() -> None:
    """Asked anew, in another run, or answered: the old link says so."""
    asks = run(question())
    link = Link(run=LINK.run, digest=pending.digest(asks, question()), person="anna", until=2000.0)
    assert answerable(link, asks, "approver") is None
    other = answerable(link, run(question(), name="20261122-0302-other-aaaa"), "approver")
    assert other is not None
    assert other.why == "unknown"
    answered = run(question(), Answered(at=1001.0, step="2", by="bert"))
    for events, words in ((answered.events, "by bert"), ((*answered.events, question(1002.0)), "by bert")):
        no = answerable(link, run(*events), "approver")
        assert no is not None
        assert words in no.problem
    anew = answerable(link, run(question(), question(1002.0)), "approver")
    assert anew is not None
    assert "the question has changed" in anew.problem
