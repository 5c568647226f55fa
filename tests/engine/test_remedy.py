"""One change: whatever happens between intent and proof, nothing unproven stays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.errors import ChangeFailed, JournalUnavailable
from engine.journal import Journal
from engine.language.model import Change
from engine.language.scope import names
from engine.record import Applied, Compared, Event, Intended, Settled
from engine.running.goal import distance, is_better
from engine.running.runner import Order, run
from engine.testing import (
    FakeProbe,
    FakeRemediation,
    FakeTarget,
    FakeWatcher,
    check_remediation,
    fake_tools,
    rehearse,
)
from engine.values import Case, Evidence, Plan, Prediction, Reading
from tests.engine.rehearsed import LOOK, agent, of_type, parts, ring, runbook, standard, states


def test_the_intent_is_on_disk_before_the_write(tmp_path: Path) -> None:
    """With all that undo needs."""
    lab = agent()
    seen: list[list[str]] = []
    hand = ring(lab, on_apply=lambda: seen.append(states(Journal.open(tmp_path, write=False))))
    rehearse(standard(), [*parts(lab)[:2], hand], lab, directory=tmp_path)

    assert seen == [["intended"]]


def test_a_write_that_raises_is_taken_back(tmp_path: Path) -> None:
    """It may have been made all the same."""
    lab = agent()

    def fails() -> None:
        raise ChangeFailed("the agent refused to reload", fix="look at its log")

    done = rehearse(standard(), [*parts(lab)[:2], ring(lab, on_apply=fails)], lab)
    (settled,) = of_type(done, Settled)

    assert (settled.state, lab.settings["ring"], done.head.outcome) == ("undone", 1, "unfixed")
    assert "refused to reload" in settled.because


def test_a_write_that_does_not_stick_is_no_change() -> None:
    """A write that raised no error is not yet a change: it is read back."""
    lab = agent()
    done = rehearse(
        standard(), [*parts(lab)[:2], ring(lab, on_apply=lambda: lab.settings.update(ring=1))], lab
    )

    assert of_type(done, Applied) == []
    assert [one.state for one in of_type(done, Settled)] == ["not-made"]


class Once(FakeRemediation):
    """A change that leaves nothing to take back, and remembers what its plans were told of the past."""

    repeats: tuple[tuple[float, ...], ...] = ()

    def plan(self, case: Case) -> Plan:
        """The change, with the reason why it is final."""
        self.repeats = (*self.repeats, case.repeats)
        made = super().plan(case)
        final = tuple(msgspec.structs.replace(one, final="it was started") for one in made.changes)
        return msgspec.structs.replace(made, changes=final)


def test_what_leaves_nothing_to_take_back_is_not_taken_back() -> None:
    """A start is no setting: its undo says so and touches nothing, whatever became of it."""
    lab = agent()

    def fails() -> None:
        raise ChangeFailed("it is not healthy after its start", fix="look at its log")

    done = rehearse(standard(), [*parts(lab)[:2], Once(lab, "ring", 2, on_apply=fails)], lab)
    (settled,) = of_type(done, Settled)

    assert (settled.state, lab.settings["ring"]) == ("undone", 2)
    assert "nothing was to be taken back: it was started" in settled.because


def test_a_plan_is_told_how_often_the_same_was_done_here_lately(tmp_path: Path) -> None:
    """Limits and pauses need the past of all runs, not of this one alone."""
    lab = agent()
    hand = Once(lab, "ring", 2)
    rehearse(standard(), [*parts(lab)[:2], hand], lab, directory=tmp_path)
    before = len(hand.repeats)
    lab.settings["ring"] = 1
    rehearse(standard(), [*parts(lab)[:2], hand], lab, directory=tmp_path)

    assert hand.repeats[0] == ()
    assert len(hand.repeats[before]) == 1


def test_a_value_changed_since_the_plan_is_left_alone() -> None:
    """Somebody else was quicker: nothing is announced, nothing written."""
    lab = agent()

    def meddle(event: Event) -> None:
        if type(event).__name__ == "Judged":
            lab.settings["ring"] = 2

    done = rehearse(standard(), parts(lab), lab, watcher=FakeWatcher(on_event=meddle))

    assert (of_type(done, Intended), lab.writes, lab.settings["ring"]) == ([], [], 2)


def test_a_value_changed_during_the_proof_is_left_to_the_human() -> None:
    """The run ends as failed and says how to take it back by hand."""
    lab = agent()

    def meddle(event: Event) -> None:
        if isinstance(event, Applied):
            lab.settings["ring"] = 2

    done = rehearse(standard(), parts(lab), lab, watcher=FakeWatcher(on_event=meddle))
    (settled,) = of_type(done, Settled)

    assert (settled.state, lab.settings["ring"], done.head.outcome) == ("left", 2, "failed")
    assert settled.undo_by_hand


def test_an_undo_that_fails_is_told_with_the_way_by_hand() -> None:
    """The worst case: a human is needed, and knows what to do."""
    lab = agent()
    hand = ring(lab, to=2)

    def cannot(*_: object) -> None:
        raise ChangeFailed("read-only file system", fix="mount -o remount,rw /etc")

    hand.undo = cannot  # type: ignore[method-assign]
    lost = [*parts(lab)[:2], hand]
    done = rehearse(runbook(LOOK, Change(id="c", remediation="ring", keep="never")), lost, lab)
    (settled,) = of_type(done, Settled)

    assert (settled.state, done.head.outcome) == ("failed", "failed")
    assert settled.undo_by_hand == "mount -o remount,rw /etc"


def test_a_journal_that_breaks_after_the_write_leaves_the_setting_as_it_was(tmp_path: Path) -> None:
    """What can't be written down must not stay; the intent tells a later process where to look."""
    lab = agent()

    class Full(Journal):
        def commit(self) -> None:
            if lab.settings["ring"] == 4:
                raise JournalUnavailable("the disk is full", fix="free space")
            super().commit()

    tools = fake_tools(tmp_path, parts(lab), lab, journal=Full.open(tmp_path))
    with tools.journal, pytest.raises(JournalUnavailable):
        run(Order(runbook=standard(), target=lab.target), tools)

    assert lab.settings["ring"] == 1
    assert states(Journal.open(tmp_path)) in (["intended"], ["not-made"], ["undone"])


def test_predictions_stand_beside_measurements() -> None:
    """Predict, then measure; a prediction that was wrong is told as such."""
    lab = agent()
    done = rehearse(standard("half"), [*parts(lab)[:2], half(lab)], lab)
    (compared,) = of_type(done, Compared)

    assert (compared.predicted, compared.measured, compared.met) == (0.0, 100.0, False)


def half(lab: FakeTarget) -> FakeRemediation:
    hand = ring(lab, 3)
    hand.name = "half"
    return hand


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("flow.dropped_per_s == 0", 300.0),
        ("flow.dropped_per_s < 100", 200.0),
        ("flow.dropped_per_s <= 400", 0.0),
        ("process.cpu_cores >= 2", 1.5),
        ("flow.dropped_per_s == 0 and process.cpu_cores < 0.1", 300.4),
        ("flow.missing == 0", None),
        ("cause.is('x')", None),
    ],
)
def test_distance_to_a_goal(condition: str, wanted: float | None) -> None:
    """Better is nearer; what can't be measured is neither."""
    evidence = {
        short: Evidence(
            probe=short,
            short=short,
            target="",
            started_at=0,
            ended_at=1,
            readings={name: Reading(value=value)},
        )
        for short, name, value in (("flow", "dropped_per_s", 300.0), ("process", "cpu_cores", 0.5))
    }

    found = distance(condition, names(evidence=evidence))
    assert found == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [
        (100.0, 0.0, True),
        (100.0, 75.0, True),
        (100.0, 90.0, False),
        (100.0, 200.0, False),
        (0.0, 0.0, False),
        (None, 0.0, False),
    ],
)
def test_better_means_measurably_nearer(before: float | None, after: float | None, better: bool) -> None:
    """Noise is no help."""
    assert is_better(before, after) is better


def test_the_fake_keeps_the_contract_and_a_careless_one_is_found() -> None:
    """Authors of remediations test with it."""
    lab = agent()
    case = Case(target=lab.target)
    check_remediation(ring(lab), lab.target, case)

    class Careless(FakeRemediation):
        def undo(self, *_: object) -> None:
            """Forgets."""

    class Fighting(FakeRemediation):
        def capture(self, *words: object) -> dict[str, object]:
            return {"value": 1}

    for careless in (Careless, Fighting):
        with pytest.raises(AssertionError):
            check_remediation(careless(agent(), "ring", 4), lab.target, case)


def test_a_change_that_breaks_its_promise_is_undone_though_the_goal_holds() -> None:
    """Saving CPU by losing events is no cure."""
    lab = agent()
    promise = Prediction(measure="flow.lost_behind", before=0.0, after=0.0, at_most=True, promised=True)
    eye = FakeProbe(
        sees=lambda: {"dropped_per_s": max(0, 100 * (4 - int(lab.settings["ring"]))), "lost_behind": 50.0}
    )
    hand = FakeRemediation(lab, "ring", 4, predicts=(promise,))
    done = rehearse(standard(), [eye, parts(lab)[1], hand], lab)
    (settled,) = of_type(done, Settled)

    assert (settled.state, lab.settings["ring"]) == ("undone", 1)
    assert "it did harm: flow.lost_behind is 50" in settled.because
