"""A run from its head to its outcome, through the real journal and guards."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.clock import Cancel
from engine.contracts import Window
from engine.errors import ProbeFailed, Refused, TargetGone, UnknownName
from engine.guarding.policy import Policy, RiskAnswers
from engine.journal import Journal
from engine.journal.locks import hold_target
from engine.language.model import Change, Check, Decide, Input, Look, Retry, Stop, Tell, Wait
from engine.record import (
    EXIT_CODES,
    Compared,
    Decided,
    GoalMeasured,
    Intended,
    Judged,
    ProbeMissed,
    Seen,
    Settled,
    StepSkipped,
    Told,
    Would,
)
from engine.reports import render
from engine.testing import (
    FakeClock,
    FakeDiagnosis,
    FakeProbe,
    FakeRemediation,
    FakeWatcher,
    failing,
    rehearse,
)
from engine.values import Case, Decision, Evidence, Plan, Support, Target
from tests.engine.rehearsed import (
    GOAL,
    LOOK,
    TELL,
    VERDICT,
    agent,
    flow,
    kinds,
    ladder,
    of_type,
    parts,
    ring,
    runbook,
    standard,
    states,
)


def test_a_goal_that_holds_ends_the_run_healthy() -> None:
    """Nothing is looked at any further, nothing is changed."""
    lab = agent(ring=4)
    run = rehearse(standard(), parts(lab), lab)

    assert (run.head.outcome, lab.writes) == ("healthy", [])
    assert "nothing was changed" in run.head.sentence


def test_healthy_is_said_only_after_the_goal_has_held() -> None:
    """One quiet window between two bursts is no health."""
    lab = agent()
    windows = iter([0, 500, 500, *[0] * 99])
    run = rehearse(runbook(LOOK, TELL), [flow(lab, lambda: next(windows))], lab)

    assert [one.holds for one in of_type(run, GoalMeasured)][:2] == [True, False]
    assert run.head.outcome == "unfixed"


def test_a_change_that_helps_is_kept_and_the_run_is_fixed() -> None:
    """The whole way: seen, decided, planned, judged, announced, made, measured, held."""
    lab = agent()
    run = rehearse(standard(), parts(lab), lab)

    assert (run.head.outcome, lab.settings["ring"]) == ("fixed", 4)
    order = [
        kind for kind in kinds(run.events) if kind in {"Decided", "Planned", "Judged", "Intended", "Applied"}
    ]
    assert order == ["Decided", "Planned", "Judged", "Intended", "Applied"]
    assert of_type(run, GoalMeasured)[-1].held_s >= GOAL.hold  # type: ignore[operator]
    assert [one.met for one in of_type(run, Compared)] == [True]


def test_a_change_that_does_not_help_is_undone_and_the_next_rung_tried() -> None:
    """Nothing useless stays behind."""
    lab = agent()
    run = rehearse(standard("poll", "ring"), parts(lab), lab)

    assert [one.state for one in of_type(run, Settled)] == ["undone", "kept"]
    assert (run.head.outcome, lab.settings) == ("fixed", {"ring": 4, "poll": 10})


def test_evidence_is_gathered_anew_after_a_change() -> None:
    """A plan must not rest on a picture from before."""
    lab = agent()
    run = rehearse(standard("poll", "ring"), parts(lab), lab)
    events = list(run.events)
    undone = next(n for n, event in enumerate(events) if isinstance(event, Settled))
    planned = next(n for n, event in enumerate(events) if type(event).__name__ == "Planned" and n > undone)

    assert {"Seen", "Decided"} <= set(kinds(tuple(events[undone:planned])))


def test_a_change_that_helps_in_part_is_kept_and_the_ladder_goes_on() -> None:
    """Better is better; the goal decides when to stop."""
    lab = agent()
    half = ring(lab, 3)
    half.name = "half"
    run = rehearse(standard("half", "ring"), [*parts(lab), half], lab)

    assert [one.state for one in of_type(run, Settled)] == ["kept", "kept"]
    assert (run.head.outcome, lab.settings["ring"]) == ("fixed", 4)


def test_what_helps_late_is_seen_at_the_end() -> None:
    """A backlog takes its time: the end is measured, not assumed."""
    lab = agent()
    losses = iter([300, 300, 100, 100, *[0] * 99])
    run = rehearse(standard(), [flow(lab, lambda: next(losses)), *parts(lab)[1:]], lab)

    assert [one.phase for one in of_type(run, GoalMeasured)][-2:] == ["end", "hold"]
    assert run.head.outcome == "fixed"


def test_first_better_stops_at_the_first_help() -> None:
    """For ladders whose rungs each cost something."""
    lab = agent()
    half = ring(lab, 3)
    half.name = "half"
    run = rehearse(standard("half", "ring", stop="first-better"), [*parts(lab), half], lab)

    assert (run.head.outcome, lab.settings["ring"]) == ("unfixed", 3)
    assert "half" in run.head.sentence


def test_unfixed_says_what_was_tried_and_leaves_nothing() -> None:
    """A human is needed, and must know from where to start."""
    lab = agent()
    run = rehearse(standard("poll"), parts(lab), lab)

    assert (run.head.outcome, lab.settings) == ("unfixed", {"ring": 1, "poll": 10})
    assert "Tried and undone: poll" in run.head.sentence
    assert of_type(run, GoalMeasured)[-1].phase == "end"


def test_a_lease_makes_it_mitigated() -> None:
    """It will be undone by itself: not fixed."""
    lab = agent()
    run = rehearse(standard(lease=7200.0), parts(lab), lab)
    (intent,) = of_type(run, Intended)

    assert run.head.outcome == "mitigated"
    assert intent.lease_until == pytest.approx(intent.at + 7200)


def test_a_burst_is_held_through_three_spacings() -> None:
    """A hold shorter than the burst spacing proves nothing."""
    lab = agent()
    bursts = FakeProbe(
        sees=lambda: {"dropped_per_s": 100 * (4 - int(lab.settings["ring"])), "burst_spacing_s": 15.0}  # type: ignore[call-overload]
    )
    run = rehearse(standard(), [bursts, *parts(lab)[1:]], lab)

    assert run.head.outcome == "fixed"
    assert of_type(run, GoalMeasured)[-1].held_s >= 45.0


def test_unknown_is_neither_healthy_nor_fixed() -> None:
    """A loss that could not be measured has not stopped."""
    lab = agent()
    run = rehearse(standard(), [flow(lab, lambda: None), *parts(lab)[1:]], lab)

    assert (run.head.outcome, lab.settings) == ("unfixed", {"ring": 1, "poll": 10})
    assert "could not be measured" in of_type(run, Settled)[0].because


def test_a_step_whose_condition_is_unknown_is_skipped_with_the_reason() -> None:
    """Unknown does not silently count as false."""
    lab = agent()
    step = Tell(id="t", sentence="x", when="flow.service_per_s > 5")
    run = rehearse(runbook(LOOK, step), parts(lab), lab)

    assert "unknown" in of_type(run, StepSkipped)[0].because


# ── dry-run ─────────────────────────────────────────────────────────────────────


def test_a_dry_run_says_would_and_never_writes() -> None:
    """All rungs whose condition holds are shown with the guards' answers."""
    lab = agent()
    run = rehearse(standard("poll", "ring"), parts(lab), lab, dry_run=True)

    assert (run.head.outcome, lab.writes) == ("rehearsed", [])
    assert [one.plan.remediation for one in of_type(run, Would)] == ["poll", "ring"]
    assert of_type(run, Intended) == []


def test_a_dry_run_has_no_hands_in_fact() -> None:
    """A remediation that gives itself away while planning could still write; ours is never handed on."""
    lab = agent()
    hands = ring(lab)
    for word in ("capture", "apply", "state", "undo"):
        setattr(hands, word, None)
    run = rehearse(standard(), [flow(lab), parts(lab)[1], hands], lab, dry_run=True)

    assert [one.plan.remediation for one in of_type(run, Would)] == ["ring"]


def test_a_dry_run_asks_nobody() -> None:
    """It is run by those who may not change anything."""
    lab, watcher = agent(), FakeWatcher(answer=True)
    rehearse(standard(), parts(lab), lab, dry_run=True, yes=False, watcher=watcher)

    assert watcher.asked == []


# ── asking ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "outcome", "ring_is"), [(True, "fixed", 4), (False, "refused", 1), (None, "waiting", 1)]
)
def test_without_yes_a_change_asks_first(answer: bool | None, outcome: str, ring_is: int) -> None:
    """On a terminal; elsewhere it waits for nobody."""
    lab, watcher = agent(), FakeWatcher(answer=answer)
    run = rehearse(standard(), parts(lab), lab, yes=False, watcher=watcher)

    assert (run.head.outcome, lab.settings["ring"]) == (outcome, ring_is)
    assert len(watcher.asked) == 1


def test_yes_does_not_answer_for_a_high_risk() -> None:
    """The runbook's author raised it; nobody is there to be asked."""
    lab = agent()
    run = rehearse(standard(risk="high"), parts(lab), lab, yes=True)

    assert (run.head.outcome, lab.writes) == ("waiting", [])


def test_who_said_yes_is_written_down() -> None:
    """An audit asks for it."""
    lab = agent()
    run = rehearse(standard(), parts(lab), lab, by="anna")

    assert [one.by for one in of_type(run, Judged)] == ["anna (--yes)"]


def test_a_denied_rung_does_not_stop_the_ladder() -> None:
    """The next one may be allowed."""
    lab = agent()

    class NoPoll:
        name = "no-poll"

        def judge(self, plan: object, situation: object) -> Decision:
            answer = "deny" if plan.remediation == "poll" else "allow"  # type: ignore[attr-defined]
            return Decision(answer=answer, guard=self.name, because="not poll")  # type: ignore[arg-type]

    run = rehearse(standard("poll", "ring"), [*parts(lab), NoPoll()], lab)

    assert [one.answer for one in of_type(run, Judged)] == ["deny", "ask"]
    assert run.head.outcome == "fixed"


# ── what goes wrong ─────────────────────────────────────────────────────────────


def test_an_unknown_part_is_told_before_anything_begins(tmp_path: Path) -> None:
    """With the nearest right word, and no run in the journal."""
    lab = agent()
    with pytest.raises(UnknownName, match="rung"):
        rehearse(standard("rung"), parts(lab), lab, directory=tmp_path)

    assert Journal.open(tmp_path).runs() == []


def test_a_second_run_on_the_same_target_is_refused(tmp_path: Path) -> None:
    """Two engines would undo each other's proof."""
    lab = agent()
    with (
        hold_target(tmp_path, lab.target.ref, "other-run", now=0.0),
        pytest.raises(Refused, match="other-run"),
    ):
        rehearse(standard(), parts(lab), lab, directory=tmp_path)


def test_a_probe_that_fails_is_recorded_and_the_run_goes_on() -> None:
    """Half the evidence is better than none."""
    lab = agent()
    bad = FakeProbe("process", "process", fails=failing("no /proc"))
    look = Look(id="look", probes=("event-flow", "process"))
    run = rehearse(runbook(look, ladder("ring")), [*parts(lab), bad], lab)

    assert next(one.problem for one in of_type(run, ProbeMissed)) == "no /proc"
    assert run.head.outcome == "fixed"


@pytest.mark.parametrize(("maps", "looks"), [((9,), 2), ((), 1)])
def test_after_a_reload_in_the_window_a_probe_looks_once_more_at_the_new_objects(
    maps: tuple[int, ...], looks: int
) -> None:
    """Its map went away; the target is found anew, and nothing is tried again where it has not changed."""
    lab, seen = agent(), []

    class Vanishing(FakeProbe):
        def collect(self, target: Target | None, window: Window) -> Evidence:
            seen.append(target.map_ids if target else ())
            if len(seen) == 1:
                raise ProbeFailed("map 7 vanished while it was watched", fix="look again")
            return super().collect(target, window)

    probe = Vanishing("map-fill", "maps", sees={"entries": 5})
    look = Look(id="look", probes=("event-flow", "map-fill"))
    now = msgspec.structs.replace(lab.target, map_ids=maps)
    run = rehearse(runbook(look, goal=None), [*parts(lab), probe], lab, find=lambda _ref: now)

    assert seen == [(), maps][:looks]
    assert any("was reloaded" in one.sentence for one in of_type(run, Told)) == (looks == 2)
    assert ("maps" in [one.evidence.short for one in of_type(run, Seen)]) == (looks == 2)


def test_a_step_that_sees_nothing_fails_the_run_unless_told_otherwise() -> None:
    """`on_failure` decides."""
    lab = agent()
    bad = FakeProbe("process", "process", fails=failing())
    stopping = Look(id="look", probes=("process",))
    going_on = msgspec.structs.replace(stopping, on_failure="continue")
    jumping = msgspec.structs.replace(stopping, on_failure="end")
    end = Stop(id="end", outcome="unfixed", because="jumped")

    ends = [
        rehearse(runbook(step, ladder("ring"), end), [*parts(lab), bad], lab).head
        for step in (stopping, jumping, going_on)
    ]
    assert [one.outcome for one in ends] == ["failed", "unfixed", "unfixed"]
    assert [lab.settings["ring"], ends[1].sentence] == [4, "jumped"]


def test_a_failed_look_is_tried_again_only_while_nothing_was_changed() -> None:
    """After a change, an error is an error."""
    lab = agent()
    calls: list[int] = []

    class Twice(FakeProbe):
        def collect(self, *words: object) -> object:  # type: ignore[override]
            calls.append(1)
            raise ProbeFailed("not yet", fix="wait")

    again = Look(id="again", probes=("process",), retry=Retry(times=2, wait=1.0), on_failure="continue")
    twice = Twice("process", "process")
    rehearse(runbook(again), [*parts(lab), twice], lab)
    assert len(calls) == 3
    calls.clear()
    rehearse(runbook(ladder("poll"), again), [*parts(lab), twice], lab)
    assert len(calls) == 1


def test_a_target_that_dies_fails_the_run_and_leaves_its_setting_as_it_was() -> None:
    """With what is known by then."""
    lab = agent()
    gone = {"yes": False}

    def dies() -> None:
        gone["yes"] = True

    def lost() -> float:
        if gone["yes"]:
            raise TargetGone("the agent ended", fix="start it again")
        return 300

    run = rehearse(standard(), [flow(lab, lost), parts(lab)[1], ring(lab, on_apply=dies)], lab)

    assert (run.head.outcome, lab.settings["ring"]) == ("failed", 1)
    assert [one.state for one in of_type(run, Settled)] == ["undone"]
    assert "the agent ended" in run.head.sentence


def test_a_bug_in_a_diagnosis_ends_the_run_as_failed() -> None:
    """Every run that begins ends in the journal with an outcome."""
    lab = agent()

    class Buggy:
        name, summary, causes, wants = "loss", "", {}, ()

        def decide(self, case: object) -> None:
            raise KeyError("x")

    run = rehearse(standard(), [flow(lab), Buggy(), ring(lab)], lab)

    assert run.head.outcome == "failed"
    assert "KeyError" in run.head.sentence


def test_a_watcher_that_breaks_does_not_stop_the_run() -> None:
    """A closed terminal (`| head`) must not leave a change half-way."""
    lab = agent()

    def broken(_: object) -> None:
        raise BrokenPipeError

    run = rehearse(standard(), parts(lab), lab, watcher=FakeWatcher(on_event=broken))

    assert run.head.outcome == "fixed"


# ── stopping ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seen", ["Seen", "Decided", "Judged", "Intended", "Applied", "Compared"])
def test_stopped_at_any_moment_nothing_unproven_stays(seen: str, tmp_path: Path) -> None:
    """The write in flight is finished, its outcome written down, what is not proven undone."""
    lab, cancel = agent(), Cancel()

    def stop(event: object) -> None:
        if type(event).__name__ == seen:
            cancel.set(15)

    run = rehearse(
        standard(), parts(lab), lab, cancel=cancel, watcher=FakeWatcher(on_event=stop), directory=tmp_path
    )

    assert (run.head.outcome, run.head.signal, lab.settings["ring"]) == ("interrupted", 15, 1)
    assert set(states(Journal.open(tmp_path))) <= {"undone", "not-made"}


def test_what_was_proven_before_the_stop_stays() -> None:
    """It helped, and that was measured."""
    lab, cancel = agent(), Cancel()

    def stop(event: object) -> None:
        if isinstance(event, Settled):
            cancel.set(2)

    run = rehearse(standard(), parts(lab), lab, cancel=cancel, watcher=FakeWatcher(on_event=stop))

    assert (run.head.outcome, lab.settings["ring"]) == ("interrupted", 4)
    assert "kept: ring" in run.head.sentence


# ── the other steps ─────────────────────────────────────────────────────────────


def test_check_ends_the_run_with_its_words() -> None:
    """And with the numbers that decided."""
    lab = agent()
    step = Check(
        id="c", must="few losses", that="flow.dropped_per_s < 5", otherwise="too many", outcome="refused"
    )
    run = rehearse(runbook(LOOK, step, ladder("ring")), parts(lab), lab)

    assert (run.head.outcome, lab.writes) == ("refused", [])
    assert "too many" in run.head.sentence
    assert "300" in run.head.sentence


def test_wait_until_looks_again() -> None:
    """A condition on evidence needs fresh evidence."""
    lab = agent()
    losses = iter([300.0, 300.0, 200.0, 0.0, *[0.0] * 9])
    wait = Wait(id="w", what="calm", seconds=600.0, until="flow.dropped_per_s == 0")
    run = rehearse(runbook(LOOK, wait), [flow(lab, lambda: next(losses))], lab)

    assert len([one for one in of_type(run, Seen) if one.step == "w"]) == 2
    assert any("waited until" in one.sentence for one in of_type(run, Told))


def test_wait_ends_at_its_time() -> None:
    """Waiting in vain is said and is no failure."""
    lab, clock = agent(), FakeClock()
    wait = Wait(id="w", what="calm", seconds=35.0, until="flow.dropped_per_s == 0")
    before = clock.monotonic()
    run = rehearse(runbook(LOOK, wait), parts(lab), lab, clock=clock)

    assert any("in vain" in one.sentence for one in of_type(run, Told))
    assert clock.monotonic() - before == pytest.approx(10 + 10 + 35 + 10)


def test_a_runbook_without_a_goal_only_looks() -> None:
    """A quick check is healthy when all was seen."""
    lab = agent()
    run = rehearse(runbook(LOOK, Decide(id="d", diagnosis="loss"), goal=None), parts(lab), lab)

    assert run.head.outcome == "healthy"
    assert len(of_type(run, Decided)) == 1


def test_secret_inputs_never_reach_the_journal(tmp_path: Path) -> None:
    """Nor the report, nor the audit."""
    lab = agent()
    document = msgspec.structs.replace(runbook(LOOK), inputs={"token": Input(type="text", secret=True)})
    rehearse(document, parts(lab), lab, given={"token": "hunter2"}, directory=tmp_path)

    assert b"hunter2" not in b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


def test_a_trial_is_taken_back_even_when_it_helped() -> None:
    """`keep: never`, and the end is measured without it."""
    lab = agent()
    run = rehearse(runbook(LOOK, Change(id="c", remediation="ring", keep="never")), parts(lab), lab)

    assert (run.head.outcome, lab.settings["ring"]) == ("unfixed", 1)


def test_notifiers_are_told_and_a_broken_one_is_noted() -> None:
    """The on-call engineer may sleep; a dead chat server is no reason to stop."""
    lab, said = agent(), []

    class Chat:
        name = "chat"

        def tell(self, sentence: str, facts: object) -> None:
            said.append(sentence)

    class Dead:
        name = "dead"

        def tell(self, sentence: str, facts: object) -> None:
            raise ConnectionError("no route")

    run = rehearse(standard(), [*parts(lab), Chat(), Dead()], lab)

    assert said == [run.head.sentence]
    assert any("no route" in one.sentence and one.level == "warning" for one in of_type(run, Told))


def test_keep_always_stays_without_a_goal() -> None:
    """The author takes it upon himself; the outcome does not claim a proof."""
    lab = agent()
    change = Change(id="c", remediation="ring", keep="always")
    run = rehearse(runbook(LOOK, change, goal=None), parts(lab), lab)

    assert (run.head.outcome, lab.settings["ring"]) == ("mitigated", 4)


class Doubling(FakeRemediation):
    """Plans twice what stands."""

    def plan(self, case):  # type: ignore[no-untyped-def]
        self.to = 2 * case.knobs[self.knob].value  # type: ignore[operator]
        return super().plan(case)


def test_a_rung_that_helps_but_not_enough_is_climbed_again_and_undone_step_by_step() -> None:
    """The first plan rests on what an overloaded reader could show; the second knows better."""
    lab = agent()
    run = rehearse(standard(), [flow(lab), FakeDiagnosis(VERDICT), Doubling(lab, "ring", 2)], lab)

    assert [one.change.after for one in of_type(run, Intended)] == [2, 4]
    assert [one.state for one in of_type(run, Settled)] == ["kept", "kept"]
    assert run.head.outcome == "fixed"


def test_one_bad_window_while_the_goal_is_held_calls_for_no_further_change() -> None:
    """A change that cured it stands; a second one would cost events or memory for nothing."""
    lab = agent()
    after = iter([0, 0, 7])

    def lost() -> float:
        return 300 if lab.settings["ring"] == 1 else next(after, 0)

    run = rehearse(standard("ring", "poll"), [flow(lab, lost), *parts(lab)[1:]], lab)

    assert [one.change.after for one in of_type(run, Intended)] == [4]
    assert (run.head.outcome, lab.settings["poll"]) == ("fixed", 10)


class Stuck(FakeRemediation):
    """A setting that can't be changed here."""

    def plan(self, case: Case) -> Plan:
        """Blocked."""
        del case
        return Plan(
            remediation=self.name, reason="agent.yaml is a symbolic link (name the file)", blocked=True
        )


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_rung_that_cannot_be_changed_stops_the_ladder(dry_run: bool) -> None:
    """A costlier rung must not take its place unsaid."""
    of = agent()
    all_parts = [flow(of), FakeDiagnosis(VERDICT), Stuck(of, "poll", 5), ring(of)]
    done = rehearse(standard("poll", "ring"), all_parts, of, dry_run=dry_run)

    assert done.head.outcome == "refused"
    assert "poll can't be changed: agent.yaml is a symbolic link (name the file)" in done.head.sentence
    assert "Nothing was changed." in done.head.sentence
    assert of.settings["ring"] == 1


def test_the_author_may_let_the_ladder_go_on_without_a_rung() -> None:
    """`on_failure: continue` says that the next rung is as good."""
    of = agent()
    all_parts = [flow(of), FakeDiagnosis(VERDICT), Stuck(of, "poll", 5), ring(of)]
    done = rehearse(standard("poll", "ring", on_failure="continue"), all_parts, of)

    assert done.head.outcome == "fixed"


def test_a_goal_that_cannot_be_measured_fails_at_once() -> None:
    """Without rights nothing is waited for, and what is missing is said."""
    of = agent()
    eye = flow(of)
    eye.supported = lambda _target: Support(answer="no", why="it needs CAP_BPF", fix="run it as root")  # type: ignore[method-assign]
    done = rehearse(standard(), [eye, FakeDiagnosis(VERDICT), ring(of)], of)

    assert (done.head.outcome, eye.windows) == ("failed", [])
    assert "CAP_BPF" in done.head.sentence
    assert [one.fix for one in of_type(done, Told)] == ["run it as root"]


@pytest.mark.parametrize(
    "end",
    [
        Stop(id="stop", outcome="unfixed", because="no cause fits"),
        Check(id="check", must="a cause", that="flow.dropped_per_s == 0"),
    ],
)
def test_the_last_tell_is_said_also_after_an_early_end(end: Stop | Check) -> None:
    """People are told of what needs them, above all then."""
    lab = agent()
    first = Tell(id="first", sentence="not this one")
    run = rehearse(runbook(LOOK, end, first, TELL, goal=None), parts(lab), lab)

    (told,) = of_type(run, Told)
    assert (told.step, told.sentence) == ("tell", run.head.sentence)


def test_the_last_tell_is_said_also_after_a_refusal() -> None:
    """What can't be changed here is for people to hear."""
    lab = agent()
    blocked = ring(lab)
    blocked.plan = lambda _case: Plan(remediation="ring", reason="read-only", blocked=True)  # type: ignore[method-assign]
    run = rehearse(standard(), [flow(lab), FakeDiagnosis(VERDICT), blocked], lab)

    assert run.head.outcome == "refused"
    assert of_type(run, Told)[-1].sentence == run.head.sentence


def test_the_outcome_is_not_shown_twice() -> None:
    """A tell of the outcome's own sentence stands in the record, and once on the screen."""
    lab = agent()
    run = rehearse(standard("poll"), parts(lab), lab)

    assert of_type(run, Told)[-1].repeats
    assert render(run, "text").count(run.head.sentence[:40]) == 2  # the head, and the end of the timeline


def test_a_dry_run_of_what_the_policy_forbids_is_refused() -> None:
    """What would be held back would not be done."""
    lab = agent()
    run = rehearse(standard(), parts(lab), lab, dry_run=True, policy=Policy(risk=RiskAnswers(low="deny")))

    assert (run.head.outcome, EXIT_CODES[str(run.head.outcome)], lab.writes) == ("refused", 3, [])
    assert run.head.sentence.startswith("ring was held back")
