"""A goal that holds at once and explains itself; a wait that looks with the goal's probes."""

from __future__ import annotations

import msgspec

from engine.language.model import Wait
from engine.record import Decided, Intended, Seen, Told
from engine.testing import FakeDiagnosis, FakeProbe, failing, rehearse
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
