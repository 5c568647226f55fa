"""A runbook that calls another: one record each, one answer for all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.journal import Journal
from engine.language import loader
from engine.language.loader import LoadedRunbook
from engine.record import Called, Run, StepSkipped, Told
from engine.reports import render
from engine.reports.json import exit_code
from engine.reports.story import tell
from engine.running import resume
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import FakeDiagnosis, FakeTarget, FakeWatcher, fake_tools
from tests.engine.rehearsed import VERDICT, agent, flow, of_type, poll, ring

INNER = """\
runbook: ring-too-small
inputs:
  why: {type: text, default: nobody said}
goal: {look: event-flow, until: flow.dropped_per_s == 0, hold: 20s}
steps:
  - look: event-flow
  - decide: loss
  - try:
      - change: ring
        when: inputs.why != "no"
  - tell: "{{ inputs.why }}"
"""
OUTER = """\
runbook: agent-ill
steps:
  - look: event-flow
  - call: ring-too-small
    when: flow.dropped_per_s > 0
    with: {why: "{{ flow.dropped_per_s | rate }} lost"}
  - tell: "it was {{ ring_too_small.cause }}"
    when: ring_too_small.outcome == "fixed"
"""


def book(**texts: str) -> Any:
    """Finds runbooks among these texts."""

    def find(name: str, directory: Path) -> LoadedRunbook:
        return loader.parse(texts[name.replace("-", "_")].encode(), directory / f"{name}.yaml")

    return find


def tools(directory: Path, lab: FakeTarget, inner: str = INNER, **further: Any) -> Tools:
    parts = [flow(lab), FakeDiagnosis(VERDICT), ring(lab), poll(lab)]
    return fake_tools(directory, parts, lab, runbook=book(ring_too_small=inner), **further)


def begin(everything: Tools, lab: FakeTarget, text: str = OUTER, **further: Any) -> Run:
    loaded = loader.parse(text.encode(), Path("agent-ill.yaml"))
    return run(Order(runbook=loaded.document, text=text, target=lab.target, **further), everything)


def test_the_outcome_of_the_called_runbook_is_the_result(tmp_path: Path) -> None:
    """Whoever hands over wants to know how it went, in expressions and as the outcome."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab)

    assert (done.head.outcome, lab.settings["ring"]) == ("fixed", 4)
    assert done.head.sentence.startswith("ring-too-small: Fixed by ring")
    assert [one.sentence for one in of_type(done, Told)] == ["it was burst"]


def test_the_called_run_is_a_run_of_its_own_tied_by_its_id(tmp_path: Path) -> None:
    """The audit names the text that ran; ``last`` still means what somebody started."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab)

    (called,) = done.called
    assert called.head.id == f"{done.head.id}.1" == of_type(done, Called)[0].run
    assert (called.head.called_by, called.head.runbook_text) == (done.head.id, INNER)
    assert called.head.inputs == {"why": "300/s lost"}
    with Journal.open(tmp_path) as journal:
        assert journal.run("last").head.id == done.head.id
        assert journal.run(done.head.id[:13]).head.id == done.head.id
        assert journal.verify() == []


def test_undo_of_the_caller_takes_back_what_the_called_one_changed(tmp_path: Path) -> None:
    """Nobody should have to know how the work was divided."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab)
    settled = resume.undo("last", tools(tmp_path, lab))

    assert [one.state for one in settled] == ["undone"]
    assert lab.settings == {"ring": 1, "poll": 10}
    with Journal.open(tmp_path) as journal:
        assert "Later undone" in tell(journal.run(done.head.id)).later


def test_changes_of_caller_and_called_are_undone_newest_first(tmp_path: Path) -> None:
    """The order matters where they touch the same agent."""
    text = OUTER.replace(
        "  - tell",
        "  - change: poll\n    keep: always\n    when: ring_too_small.outcome == 'fixed'\n  - tell",
    )
    lab = agent()
    begin(tools(tmp_path, lab), lab, text)
    assert lab.settings == {"ring": 4, "poll": 5}
    resume.undo("last", tools(tmp_path, lab))

    assert lab.writes[-2:] == [("poll", 10), ("ring", 1)]


def test_a_dry_run_calls_dry(tmp_path: Path) -> None:
    """The same path with no hands, all the way down."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab, dry_run=True)

    assert (done.head.outcome, lab.writes) == ("rehearsed", [])
    assert done.called[0].head.dry_run
    assert "would change ring" in done.head.sentence


def test_a_call_that_is_not_wanted_calls_nothing(tmp_path: Path) -> None:
    """A condition on a result that never came is unknown, and says so."""
    lab = agent(ring=4)
    done = begin(tools(tmp_path, lab), lab)

    assert done.called == ()
    assert [one.because for one in of_type(done, StepSkipped)][1].endswith(
        "ring_too_small was not looked at in this run"
    )


def test_a_called_run_that_waits_makes_its_caller_wait_and_go_on(tmp_path: Path) -> None:
    """A yes that comes later finishes both."""
    lab = agent()
    done = begin(tools(tmp_path, lab, yes=False), lab)
    assert (done.head.outcome, lab.writes) == ("waiting", [])
    after = resume.resume("last", tools(tmp_path, lab, yes=True))

    assert (after.head.outcome, lab.settings["ring"]) == ("fixed", 4)
    assert [one.head.outcome for one in after.called] == ["fixed"]


def test_a_called_run_that_fails_fails_its_caller_unless_it_goes_on(tmp_path: Path) -> None:
    """As with any step that fails."""
    broken = (
        INNER.replace("look: event-flow, until", "look: event-flow, until")
        .replace("inputs.why !=", "inputs.why <")
        .replace('"no"', "3")
    )
    lab = agent()
    done = begin(tools(tmp_path, lab, broken), lab)
    assert done.head.outcome == "failed"
    text = OUTER.replace("    with:", "    on_failure: continue\n    with:")
    done = begin(tools(tmp_path, lab, broken), lab, text)

    assert done.head.outcome == "healthy"


def test_whoever_watches_sees_the_called_run_and_one_end(tmp_path: Path) -> None:
    """A terminal that showed two ends would be read as over after the first."""
    lab, watcher = agent(), FakeWatcher()
    begin(tools(tmp_path, lab, watcher=watcher), lab)

    names = [type(event).__name__ for event in watcher.events]
    assert len(watcher.heads) == names.count("Ended") == 1
    assert names.index("Called") < names.index("Applied") < names.index("Returned")


@pytest.mark.parametrize("form", ["text", "markdown", "html", "json"])
def test_reports_of_the_caller_tell_of_the_called(tmp_path: Path, form: str) -> None:
    """One report for one incident."""
    lab = agent()
    done = begin(tools(tmp_path, lab), lab)
    told = render(done, form)

    assert done.called[0].head.id in told
    assert "Bursts are larger than the ring" in told


def test_a_called_run_is_taken_up_through_its_caller(tmp_path: Path) -> None:
    """Else its caller would call it once more."""
    lab = agent()
    done = begin(tools(tmp_path, lab, yes=False), lab)

    with Journal.open(tmp_path) as journal:
        log = journal.continue_(done.head.id)
        assert log.target_ref == lab.target.ref
    with pytest.raises(UsageError, match="has ended"):
        resume.resume(begin(tools(tmp_path, lab), lab).head.id, tools(tmp_path, lab))


def test_runs_within_runs_come_to_an_end(tmp_path: Path) -> None:
    """Also where a runbook was changed into a circle after it had been checked."""
    lab = agent()
    circle = INNER.replace("  - look: event-flow\n", "  - call: ring-too-small\n")
    done = begin(tools(tmp_path, lab, circle), lab)

    assert done.head.outcome == "failed"
    assert "5 runs" in done.head.sentence


def test_what_follows_a_change_that_waits_waits_too(tmp_path: Path) -> None:
    """No call, and no costlier change, takes its place unsaid."""
    text = OUTER.replace("  - call:", "  - change: poll\n    keep: always\n  - call:")
    well = "runbook: ring-too-small\ninputs: {why: {type: text}}\nsteps:\n  - look: event-flow\n"
    lab = agent()
    done = begin(tools(tmp_path, lab, well, yes=False), lab, text)
    assert (done.head.outcome, lab.writes) == ("waiting", [])
    assert "poll needs a yes" in done.head.sentence
    assert done.called == ()
    after = resume.resume("last", tools(tmp_path, lab, well, yes=True))

    assert (after.head.outcome, lab.settings["poll"]) == ("mitigated", 5)
    assert after.head.sentence.endswith("Changed as well: poll.")


def test_a_goal_that_holds_is_not_fixed_while_a_call_ended_badly(tmp_path: Path) -> None:
    """It runs again, and what ended it is still there."""
    text = """\
runbook: agent-ill
goal: {look: event-flow, until: flow.dropped_per_s == 0, hold: 20s, means: none is lost}
steps:
  - look: event-flow
  - decide: loss
  - try: [{change: ring}]
  - call: ring-too-small
    with: {why: still}
"""
    bad = (
        "runbook: ring-too-small\ninputs: {why: {type: text}}\nsteps:\n"
        "  - {stop: unfixed, because: It still grows.}\n"
    )
    lab = agent()
    done = begin(tools(tmp_path, lab, bad), lab, text)

    assert (done.head.outcome, lab.settings["ring"]) == ("mitigated", 4)
    assert "none is lost" in done.head.sentence
    assert done.head.sentence.endswith("Yet ring-too-small ended as unfixed: It still grows.")


def test_a_dry_run_whose_call_is_refused_is_refused(tmp_path: Path) -> None:
    """Its exit code must not say that all went well."""
    no = (
        "runbook: ring-too-small\ninputs: {why: {type: text}}\nsteps:\n"
        "  - {stop: refused, because: Somebody stopped it.}\n"
    )
    lab = agent()
    done = begin(tools(tmp_path, lab, no), lab, dry_run=True)

    assert (done.head.outcome, exit_code(done)) == ("refused", 3)
