"""Causes that a runbook names itself."""

from __future__ import annotations

from engine.language.model import Decide, InlineCase
from engine.record import Decided
from engine.testing import FakeProbe, rehearse
from tests.engine.rehearsed import LOOK, agent, of_type, runbook


def case(cause: str, when: str, confidence: float = 0.8, **further: str) -> InlineCase:
    return InlineCase(cause=cause, when=when, sentence=f"it is {cause}", confidence=confidence, **further)  # type: ignore[arg-type]


def decided(*cases: InlineCase) -> Decided:
    """The verdict on 500 lost a second, fill unknown."""
    lab = agent()
    sees = FakeProbe(sees={"dropped_per_s": 500.0, "fill": None})
    done = rehearse(runbook(LOOK, Decide(id="d", diagnosis="loss", cases=cases), goal=None), [sees], lab)
    (found,) = of_type(done, Decided)
    return found


def test_the_best_fit_comes_first_and_alike_ones_in_the_authors_order() -> None:
    """`cause.is` asks about the first one."""
    found = decided(
        case("some", "flow.dropped_per_s > 0", 0.5),
        case("none", "flow.dropped_per_s == 0", 1.0),
        case("many", "flow.dropped_per_s > 100", 0.9),
        case("also", "flow.dropped_per_s > 200", 0.9),
    )
    assert [one.name for one in found.verdict.causes] == ["many", "also", "some"]
    assert found.verdict.sentence == "it is many"


def test_the_condition_with_its_values_speaks_for_a_cause() -> None:
    """A cause without its numbers convinces nobody."""
    found = decided(case("many", "flow.dropped_per_s > 100", fix="wait"))
    (cause,) = found.verdict.causes
    assert cause.speaks_for == ("`flow.dropped_per_s > 100`: flow.dropped_per_s is 500",)
    assert cause.fix == "wait"


def test_what_could_not_be_known_is_noted_and_names_no_cause() -> None:
    """Unknown is neither there nor absent."""
    found = decided(case("full", "flow.fill > 0.9"))
    assert found.verdict.causes == ()
    assert "not seen by the fake" in found.verdict.notes[0]
