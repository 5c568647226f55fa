"""A change that waits for a yes: requested, answered from outside, carried out, void, expired, withdrawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import pending
from engine.errors import Refused
from engine.fakes import FakeClock, FakeTarget, FakeWatcher
from engine.guarding.policy import Approval, Policy, RiskAnswers
from engine.journal import Journal
from engine.language import loader
from engine.pending import open_request
from engine.record import Barred, Ended, Intended, Judged, Planned, Requested, Ruled, Run, Seen
from engine.running import bound, resume, unanswered
from engine.running.approval import Ruling, rule
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import FakeDiagnosis, fake_tools
from engine.values import Cause, Process, Target, Verdict
from tests.engine.rehearsed import VERDICT, agent, flow, of_type, poll, ring
from tests.engine.test_calling import book

TEXT = """\
runbook: events-lost
goal: {look: event-flow, until: flow.dropped_per_s == 0, hold: 20s}
steps:
  - look: event-flow
  - decide: loss
  - try:
      - change: poll
        when: flow.dropped_per_s < 200
      - change: ring
  - tell: "{{ outcome.sentence }}"
"""
CALLER = "runbook: outer\nsteps:\n  - call: events-lost\n  - tell: '{{ events_lost.outcome }}'\n"


class Desk:
    """A run on a fake agent, taken up by one process after another; nobody is at a terminal."""

    def __init__(self, directory: Path, text: str = TEXT, **further: Any) -> None:
        self.directory, self.text, self.further = directory, text, further
        self.lab: FakeTarget = agent()
        self.clock = FakeClock()
        self.verdict = VERDICT
        self.hands: list[object] = [ring(self.lab), poll(self.lab)]
        self.pid = 4242

    def target(self, _ref: str = "") -> Target:
        return msgspec.structs.replace(self.lab.target, processes=(Process(pid=self.pid, started_ticks=7),))

    def tools(self, **further: Any) -> Tools:
        parts = [flow(self.lab), FakeDiagnosis(self.verdict), *self.hands]
        given = {"yes": False, "clock": self.clock, "find": self.target, **self.further, **further}
        return fake_tools(self.directory, parts, self.lab, runbook=book(events_lost=TEXT), **given)

    def begin(self, **further: Any) -> Run:
        document = loader.parse(self.text.encode(), Path("events-lost.yaml")).document
        order = Order(runbook=document, text=self.text, target=self.target(), **further)
        with (everything := self.tools()).journal:
            return run(order, everything)

    def run(self) -> Run:
        with Journal.open(self.directory) as journal:
            return journal.run("last")

    def rule(self, answer: Any = "approved", digest: str = "", by: str = "anna") -> Ruled:
        found = open_request(self.run())
        digest = digest or (found.requested.digest if found else "")
        ruling = Ruling(digest=digest, answer=answer, by=by, comment="go on", via="page")
        with Journal.open(self.directory) as journal:
            return rule("last", ruling, journal, self.clock.now())

    def resume(self, **further: Any) -> Run:
        with (everything := self.tools(**further)).journal:
            return resume.resume("last", everything)

    def answers(self) -> list[str]:
        return [one.answer for one in of_type(self.run(), Ruled)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# ── asked for ───────────────────────────────────────────────────────────────────


def test_a_change_that_nobody_can_be_asked_for_is_requested(desk: Desk) -> None:
    """With its plan, its cause, the age of its evidence and two expiries; nothing is written."""
    done = desk.begin()
    (asked,) = of_type(done, Requested)

    assert (done.head.outcome, desk.lab.writes) == ("waiting", [])
    assert (asked.remediation, asked.cause, asked.processes) == ("ring", "burst", ((4242, 7),))
    assert (asked.decide_by - asked.at, asked.use_within) == (4 * 3600, 900)
    assert asked.evidence_at <= asked.at
    assert f"runbook approve {done.head.id}" in done.head.sentence


def test_the_policy_says_how_long_it_waits(tmp_path: Path) -> None:
    """To be approved, and to be used."""
    desk = Desk(tmp_path, policy=Policy(approval=Approval(expires=60.0, use_within=5.0)))
    (asked,) = of_type(desk.begin(), Requested)

    assert (asked.decide_by - asked.at, asked.use_within) == (60, 5)


def test_a_dry_run_requests_nothing(desk: Desk) -> None:
    """It is run by those who may not change anything."""
    assert of_type(desk.begin(dry_run=True), Requested) == []


def test_whoever_is_at_a_terminal_is_asked_there(desk: Desk) -> None:
    """And nothing is requested."""
    desk.further["watcher"] = FakeWatcher(answer=True)
    done = desk.begin()

    assert (done.head.outcome, of_type(done, Requested)) == ("fixed", [])


# ── answered ────────────────────────────────────────────────────────────────────


def test_an_approved_change_is_carried_out_and_says_who_approved(desk: Desk) -> None:
    """The run measures anew, finds all as it was, and makes the change."""
    desk.begin()
    ruled = desk.rule()
    assert pending.answered(desk.run())
    after = desk.resume()

    assert (after.head.outcome, desk.lab.settings["ring"]) == ("fixed", 4)
    assert (ruled.by, ruled.comment, ruled.via) == ("anna", "go on", "page")
    assert of_type(after, Judged)[-1].by == "anna"
    assert len(of_type(after, Requested)) == len(of_type(after, Intended)) == 1


def test_a_denied_change_is_a_no_and_the_ladder_goes_on(desk: Desk) -> None:
    """As when whoever is at the terminal says no."""
    desk.text = TEXT.replace("        when: flow.dropped_per_s < 200\n", "")
    desk.begin()
    desk.rule("denied")
    after = desk.resume()
    asked = [one.remediation for one in of_type(after, Requested)]

    assert (after.head.outcome, asked, desk.lab.writes) == ("waiting", ["poll", "ring"], [])
    desk.rule()
    assert desk.resume().head.outcome == "fixed"
    assert desk.lab.writes == [("ring", 4)], "the no still stands"


def test_the_first_answer_counts(desk: Desk) -> None:
    """The second one hears who was first, and is written down."""
    desk.begin()
    digest = desk.rule("denied").digest
    with pytest.raises(Refused, match="was denied by anna"):
        desk.rule(digest=digest, by="ben")

    assert desk.answers() == ["denied"]
    (barred,) = of_type(desk.run(), Barred)
    assert (barred.by, barred.via) == ("ben", "page")


def test_a_yes_to_another_plan_is_no_yes(desk: Desk) -> None:
    """Whoever looked at an old page has not seen what would be done."""
    desk.begin()
    with pytest.raises(Refused, match="another plan"):
        desk.rule(digest="0" * 64)

    assert desk.answers() == []


def test_after_the_run_has_ended_nothing_is_approved(desk: Desk) -> None:
    """A late click changes nothing."""
    digest = of_type(desk.begin(), Requested)[0].digest
    desk.lab.settings["ring"] = 4
    assert desk.resume().head.outcome == "healthy"
    with pytest.raises(Refused, match="void"):
        desk.rule(digest=digest)


def test_a_request_can_be_answered_though_its_run_broke_off(desk: Desk) -> None:
    """Killed between the request and its end."""
    desk.begin()
    with Journal.open(desk.directory) as journal:
        broken = msgspec.structs.replace(desk.run(), events=desk.run().events[:-1])
        head = msgspec.structs.replace(broken.head, outcome=None, ended_at=None)
        assert journal.run("last").head.outcome == "waiting"

    assert open_request(msgspec.structs.replace(broken, head=head)) is not None


# ── void ────────────────────────────────────────────────────────────────────────


def drifted(desk: Desk, why: str) -> None:
    """The yes is void for this reason; nothing was written, and it is asked for anew if there is need."""
    after = desk.resume()
    void = of_type(after, Ruled)[-1]

    assert (void.answer, void.via) == ("void", "engine")
    assert why in void.because
    assert (after.head.outcome, desk.lab.writes) == ("waiting", [])
    assert len({one.digest for one in of_type(after, Requested)}) == 2
    assert open_request(after) is not None


def test_a_restart_of_the_agent_makes_a_yes_void(desk: Desk) -> None:
    """It may have been restarted with another configuration."""
    desk.begin()
    desk.rule()
    desk.pid = 4300
    drifted(desk, "process 4242 then, 4300 now")


def test_a_knob_that_somebody_has_turned_makes_a_yes_void(desk: Desk) -> None:
    """Before → after was approved, and before is no more."""
    desk.begin()
    desk.rule()
    desk.lab.settings["ring"] = 2
    drifted(desk, "fake: ring is 2 now, and was 1")


def test_another_cause_makes_a_yes_void(desk: Desk) -> None:
    """The change was approved for the cause that was named."""
    desk.begin()
    desk.rule()
    slow = Cause(name="slow", sentence="The reader is slow", confidence=0.9)
    desk.verdict = Verdict(diagnosis="loss", sentence="slow", causes=(slow,))
    drifted(desk, "the first cause is slow now, and was burst")


def test_another_plan_makes_a_yes_void(desk: Desk) -> None:
    """What would be done now was not approved."""
    desk.begin()
    desk.rule()
    desk.hands[0] = ring(desk.lab, 8)
    drifted(desk, "fake: ring would be set to 8 now, not 4")


def test_the_approved_value_is_carried_out_where_a_fresh_one_is_near(tmp_path: Path) -> None:
    """Measured anew, a reckoned value is never quite the same; what was approved is what is written."""
    desk = Desk(tmp_path)
    desk.hands[0] = ring(desk.lab, 100)
    desk.begin()
    desk.rule()
    desk.hands[0] = ring(desk.lab, 110)
    after = desk.resume()

    assert (after.head.outcome, desk.lab.writes) == ("fixed", [("ring", 100)])


def test_a_guard_that_forbids_by_now_makes_a_yes_void(desk: Desk) -> None:
    """A policy that has become stricter binds approvers too."""
    desk.begin()
    desk.rule()
    after = desk.resume(policy=Policy(protected=("fake",)))

    assert "protected forbids it now" in of_type(after, Ruled)[-1].because
    assert (after.head.outcome, desk.lab.writes) == ("refused", [])


def test_a_yes_that_was_not_used_in_time_counts_no_more(desk: Desk) -> None:
    """It is asked for anew, with new evidence."""
    desk.begin()
    desk.rule()
    desk.clock.sleep(901)
    after = desk.resume()

    assert desk.answers() == ["approved", "expired"]
    assert (after.head.outcome, len(of_type(after, Requested)), desk.lab.writes) == ("waiting", 2, [])


def test_a_yes_is_used_once(tmp_path: Path) -> None:
    """A rung that helped in part is climbed again with a yes of its own."""
    desk = Desk(tmp_path)
    hand = ring(desk.lab, 2)
    hand.on_apply = lambda: setattr(hand, "to", 4)
    desk.hands[0] = hand
    desk.begin()
    desk.rule()
    half = desk.resume()
    assert (half.head.outcome, desk.lab.settings["ring"]) == ("waiting", 2)
    assert len(of_type(half, Requested)) == 2
    desk.rule()

    assert (desk.resume().head.outcome, desk.lab.writes) == ("fixed", [("ring", 2), ("ring", 4)])


def test_a_yes_that_is_needed_no_more_is_void(desk: Desk) -> None:
    """The goal came to hold by itself: nothing is changed."""
    desk.begin()
    desk.rule()
    desk.lab.settings["ring"] = 4
    after = desk.resume()

    assert (after.head.outcome, desk.lab.writes) == ("healthy", [])
    assert "the goal holds" in of_type(after, Ruled)[-1].because


# ── taken up without an answer ──────────────────────────────────────────────────


def test_a_request_outlives_a_resumption_that_finds_the_same(desk: Desk) -> None:
    """Links that were sent stay good, and its time runs on."""
    first = of_type(desk.begin(), Requested)
    after = desk.resume()

    assert (after.head.outcome, of_type(after, Requested)) == ("waiting", first)
    desk.rule()
    assert desk.resume().head.outcome == "fixed"


@pytest.mark.parametrize(
    ("said", "answer", "outcome"), [(True, "approved", "fixed"), (False, "denied", "refused")]
)
def test_resumed_at_a_terminal_it_is_asked_there(desk: Desk, said: bool, answer: str, outcome: str) -> None:
    """With the plan as of now; the answer closes the request."""
    desk.begin()
    after = desk.resume(watcher=FakeWatcher(answer=said), by="root")
    ruled = of_type(after, Ruled)[-1]

    assert (after.head.outcome, ruled.answer, ruled.by, ruled.via) == (outcome, answer, "root", "terminal")


def test_a_policy_that_lets_it_pass_by_now_needs_no_yes(desk: Desk) -> None:
    """The request ends as void, not as approved by nobody."""
    desk.begin()
    after = desk.resume(policy=Policy(risk=RiskAnswers(low="auto")))

    assert (after.head.outcome, desk.answers()) == ("fixed", ["void"])


# ── ended ───────────────────────────────────────────────────────────────────────


def expire(desk: Desk) -> Ended | None:
    with Journal.open(desk.directory) as journal:
        return unanswered.expire("last", journal, desk.clock.now())


def test_a_request_that_nobody_answers_ends_the_run_as_refused(desk: Desk) -> None:
    """Not before its time, and once."""
    desk.begin()
    assert expire(desk) is None
    desk.clock.sleep(4 * 3600)
    ended = expire(desk)

    assert ended is not None
    assert (desk.run().head.outcome, desk.answers(), expire(desk)) == ("refused", ["expired"], None)
    assert "nobody answered within 4 h. Nothing was changed. Cause: Bursts" in ended.sentence


def test_too_late_an_answer_ends_it_too(desk: Desk) -> None:
    """Also where nobody watches over the expiry."""
    desk.begin()
    desk.clock.sleep(4 * 3600)
    with pytest.raises(Refused, match="could be answered until"):
        desk.rule()

    assert (desk.run().head.outcome, desk.answers()) == ("refused", ["expired"])


def test_resumed_too_late_it_ends(desk: Desk) -> None:
    """It began for an incident that is hours old."""
    desk.begin()
    desk.clock.sleep(4 * 3600)

    assert (desk.resume().head.outcome, desk.lab.writes) == ("refused", [])


@pytest.mark.parametrize(("ring_is", "outcome"), [(4, "healthy"), (1, "refused")])
def test_a_resolved_alert_withdraws_what_waits(desk: Desk, ring_is: int, outcome: str) -> None:
    """The goal is measured once more, and says whether all is well."""
    desk.begin()
    desk.lab.settings["ring"] = ring_is
    with Journal.open(desk.directory) as journal:
        assert unanswered.withdraw("last", "the alert has resolved", journal, desk.clock.now())
    after = desk.resume()

    assert (after.head.outcome, desk.lab.writes, desk.answers()) == (outcome, [], ["withdrawn"])
    assert outcome == "healthy" or "the alert has resolved" in after.head.sentence


def test_a_run_that_waits_can_be_stopped(desk: Desk) -> None:
    """By whoever may, at once."""
    desk.begin()
    with Journal.open(desk.directory) as journal:
        unanswered.stop("last", "anna", journal, desk.clock.now())
        assert unanswered.stop("last", "anna", journal, desk.clock.now()) is None

    assert (desk.run().head.outcome, desk.answers()) == ("interrupted", ["withdrawn"])


def test_the_digest_can_be_reckoned_from_the_record_alone(desk: Desk) -> None:
    """An auditor sees that the plan, the evidence and the text are those that the yes was given for."""
    done = desk.begin()
    (asked,) = of_type(done, Requested)
    seen = {(one.evidence.short, one.evidence.started_at): one.evidence for one in of_type(done, Seen)}
    again = bound.Bound(
        run=done.head.id,
        step=asked.step,
        plan=of_type(done, Planned)[-1].plan,
        evidence={name: seen[name, started_at] for name, started_at in asked.evidence},
        runbook=bound.fingerprint(done.head.runbook_text),
        cause=asked.cause,
        processes=asked.processes,
        lease_s=asked.lease_s,
    )
    assert asked.evidence
    assert bound.digest(again) == asked.digest


# ── runs within runs ────────────────────────────────────────────────────────────


def test_a_called_run_s_request_is_its_caller_s(tmp_path: Path) -> None:
    """Answered by either's id, carried out through the caller."""
    desk = Desk(tmp_path, CALLER)
    done = desk.begin()
    waiting = open_request(done)
    assert waiting is not None
    assert (done.head.outcome, waiting.run.head.id) == ("waiting", f"{done.head.id}.1")
    ruling = Ruling(digest=waiting.requested.digest, answer="approved", by="anna")
    with Journal.open(tmp_path) as journal:
        rule(done.head.id, ruling, journal, desk.clock.now())
        assert pending.answered(journal.run(done.head.id))
    with (everything := desk.tools()).journal:
        after = resume.resume(done.head.id, everything)

    assert (after.head.outcome, desk.lab.writes) == ("fixed", [("ring", 4)])


@pytest.mark.parametrize("how", ["expired", "withdrawn"])
def test_what_ends_a_called_run_s_request_ends_its_caller(tmp_path: Path, how: str) -> None:
    """No later step of the caller is begun for an incident that is over."""
    desk = Desk(tmp_path, CALLER)
    done = desk.begin()
    with Journal.open(tmp_path) as journal:
        if how == "expired":
            unanswered.expire(done.head.id, journal, desk.clock.now() + 5 * 3600)
        else:
            unanswered.withdraw(done.head.id, "the alert has resolved", journal, desk.clock.now())
            with (everything := desk.tools()).journal:
                resume.resume(done.head.id, everything)
        after = journal.run(done.head.id)

    assert [one.head.outcome for one in (after, *after.called)] == ["refused", "refused"]
    assert desk.lab.writes == []


def test_each_item_of_a_list_is_asked_for_by_itself(tmp_path: Path) -> None:
    """A yes to one is no yes to the next."""
    text = """\
runbook: both
steps:
  - look: event-flow
  - in: '["ring", "poll"]'
    as: knob
    each:
      - change: ring
        when: knob == "ring"
        keep: always
      - change: poll
        when: knob == "poll"
        keep: always
"""
    desk = Desk(tmp_path, text)
    desk.begin()
    desk.rule()
    assert desk.resume().head.outcome == "waiting"
    assert [one.remediation for one in of_type(desk.run(), Requested)] == ["ring", "poll"]
    desk.rule()
    desk.resume()

    assert desk.lab.writes == [("ring", 4), ("poll", 5)]
