"""A goal that holds at once and explains itself; a wait that looks with the goal's probes."""

from __future__ import annotations

import msgspec

from engine.language.model import Wait
from engine.record import Decided, Intended, Seen, Told
from engine.testing import FakeDiagnosis, FakeProbe, failing, rehearse
from engine.values import Case, Verdict
from tests.engine.rehearsed import (
    DECIDE,
    GOAL,
    LOOK,
    VERDICT,
    agent,
    flow,
    ladder,
    of_type,
    parts,
    ring,
    runbook,
)

EXPLAINED = msgspec.structs.replace(GOAL, explain=True)


def test_a_goal_that_holds_is_explained_where_the_runbook_asks_for_it() -> None:
    """Large and flat is asked about as often as growing: it looks, decides, and changes nothing."""
    lab = agent(ring=4)
    run = rehearse(runbook(LOOK, DECIDE, ladder("ring"), goal=EXPLAINED), parts(lab), lab)
    assert run.head.outcome == "healthy"
    assert VERDICT.sentence in run.head.sentence
    assert of_type(run, Decided)
    assert not of_type(run, Intended)


def test_an_explanation_that_fails_leaves_the_run_healthy() -> None:
    """The goal was measured and held; only the why is missing, and that is said."""
    lab = agent(ring=4)
    unlucky = msgspec.structs.replace(LOOK, probes=("broken",))
    every = [flow(lab), FakeProbe("broken", "broken", fails=failing()), FakeDiagnosis(VERDICT), ring(lab)]
    run = rehearse(runbook(unlucky, DECIDE, ladder("ring"), goal=EXPLAINED), every, lab)
    assert run.head.outcome == "healthy"
    assert any(told.level == "warning" for told in of_type(run, Told))


def test_a_wait_looks_again_with_what_only_the_goal_looks_at() -> None:
    """Its condition may name the goal's evidence without a step that looks for it."""
    lab = agent(ring=1)
    losses = iter([100.0, 100.0, 0.0, 0.0, 0.0])
    wait = Wait(id="w", what="calm", seconds=600.0, until="flow.dropped_per_s == 0")
    run = rehearse(runbook(wait), [flow(lab, lambda: next(losses, 0.0))], lab)
    assert run.head.outcome == "healthy"
    assert [seen.step for seen in of_type(run, Seen)].count("w") == 2


def test_what_is_said_after_a_wait_is_newer_than_the_wait() -> None:
    """The verdict from before it may hold no more."""
    lab = agent(ring=1)
    losses = iter([100.0, 100.0, 0.0, 0.0, 0.0])
    wait = Wait(id="w", what="calm", seconds=600.0, until="flow.dropped_per_s == 0")
    every = [flow(lab, lambda: next(losses, 0.0)), _Newest()]
    run = rehearse(runbook(LOOK, DECIDE, wait), every, lab)

    assert (run.head.outcome, run.head.sentence.endswith("0 are lost")) == ("healthy", True)


class _Newest(FakeDiagnosis):
    """Says what it saw."""

    def __init__(self) -> None:
        super().__init__(VERDICT)

    def decide(self, case: Case) -> Verdict:
        """The last number."""
        return Verdict(diagnosis="loss", sentence=f"{case.number('flow.dropped_per_s'):.0f} are lost")


def test_an_unmet_goal_is_told_cause_first_in_words_and_with_units() -> None:
    """What is read at night: why, then how far off, then what was done."""
    lab = agent()
    told = msgspec.structs.replace(GOAL, means="no event is lost")
    run = rehearse(runbook(LOOK, DECIDE, ladder("poll"), goal=told), parts(lab), lab)

    assert run.head.sentence == (
        "Cause: Bursts are larger than the ring. "
        "Wanted and not reached: no event is lost (flow.dropped_per_s is 300/s). Tried and undone: poll."
    )
