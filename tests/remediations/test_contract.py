"""What every remediation must keep to, with a real process and a real file."""

import json
import os
import re
from importlib.metadata import entry_points

import msgspec
import pytest

from engine.contracts import Planner, Remediation
from engine.errors import ChangedSince, TargetGone, UnknownName, UsageError
from engine.testing import check_remediation
from tests.remediations.conftest import ACTS

#: Those that turn a knob of a running agent; the others keep to the same promises in tests of their own.
NAMES = sorted(ACTS)
KINDS = {entry.name: entry.load() for entry in entry_points(group="runbook.remediations")}


@pytest.fixture(params=NAMES)
def remediation(request, clock):
    return KINDS[request.param](clock)


def everything(agent):
    """All bytes a change could touch."""
    return agent.file.read_bytes(), (agent.cgroup / "cpu.max").read_text()


def applied(remediation, case_for, agent):
    """Plan, capture (through JSON, as the journal does) and apply."""
    (change,) = remediation.plan(case_for(remediation)).changes
    change = msgspec.json.decode(msgspec.json.encode(change), type=type(change))
    captured = json.loads(json.dumps(remediation.capture(change, agent.target)))
    remediation.apply(change, agent.target, captured)
    return change, captured


def test_it_offers_what_the_contract_asks(remediation):
    """The engine looks for nothing else."""
    assert isinstance(remediation, Remediation)
    assert remediation.options
    assert all(remediation.options.values())


def test_its_planner_has_no_hands(remediation):
    """A dry-run is handed an object that can't write even by mistake."""
    planner: Planner = remediation.planner
    for hand in ("apply", "undo", "capture", "write", "restore"):
        assert not hasattr(planner, hand)


def test_a_plan_says_everything_an_operator_must_know(remediation, case_for):
    """Before, after, why, prediction with its reckoning, and the way back."""
    plan = remediation.plan(case_for(remediation))
    (change,) = plan.changes
    assert change.before_text
    assert change.after_text
    assert change.why
    assert change.where
    assert plan.reason
    assert change.before != change.after
    assert plan.undo_by_hand
    assert plan.predictions
    assert all(each.arithmetic for each in plan.predictions)
    assert plan.loses == change.knob.reload.loses
    assert plan.risk == remediation.risk


def test_planning_reads_and_writes_nothing(remediation, case_for, agent):
    """The same case gives the same plan when the file is long gone."""
    case = case_for(remediation)
    first = remediation.plan(case)
    agent.file.unlink()
    assert remediation.plan(case) == first


def test_an_empty_plan_gives_its_reason(remediation, case_for):
    """'Nothing' without a why leaves the operator with nothing."""
    case = case_for(remediation)
    for poorer in (
        msgspec.structs.replace(case, evidence={}),
        msgspec.structs.replace(case, knobs={}),
        msgspec.structs.replace(case, target=msgspec.structs.replace(case.target, knobs={})),
    ):
        plan = remediation.plan(poorer)
        assert not plan.changes
        assert plan.reason


def test_it_passes_the_check_that_strangers_are_given(remediation, case_for, agent):
    """Ours come through the same door."""
    check_remediation(remediation, agent.target, case_for(remediation))


def test_unknown_and_wrong_options_are_errors(remediation, case_for):
    """A mistyped bound must not be ignored."""
    with pytest.raises(UnknownName, match="at_mots"):
        remediation.plan(case_for(remediation, at_mots=1))
    name = next(iter(remediation.options))
    with pytest.raises(UsageError, match=name):
        remediation.plan(case_for(remediation, **{name: [1]}))


def test_apply_and_undo_leave_the_same_bytes(remediation, case_for, agent):
    """Undo is exact, from what was captured alone."""
    before = everything(agent)
    change, captured = applied(remediation, case_for, agent)
    assert everything(agent) != before
    assert remediation.state(change, agent.target, captured) == "after"

    type(remediation)(remediation._clock).undo(change, agent.target, captured)

    assert agent.file.read_bytes() == before[0]
    assert remediation.state(change, agent.target, captured) == "before"


def test_the_next_rung_starts_from_what_stands_there(remediation, case_for, agent):
    """Applied again it goes further or says why not; it never repeats itself."""
    change, _ = applied(remediation, case_for, agent)
    again = remediation.plan(case_for(remediation))
    assert all(each.before == change.after and each.after != change.after for each in again.changes)
    assert again.changes or again.reason


def test_nothing_is_applied_twice(remediation, case_for, agent):
    """A second apply of the same change finds another value and leaves it alone."""
    change, captured = applied(remediation, case_for, agent)
    now = everything(agent)
    with pytest.raises(ChangedSince):
        remediation.apply(change, agent.target, captured)
    assert everything(agent) == now


def test_killed_between_write_and_reload_the_state_is_after(remediation, case_for, agent):
    """A fresh process must see what was done, though nobody told the agent."""
    (change,) = remediation.plan(case_for(remediation)).changes
    captured = remediation.capture(change, agent.target)
    gone = msgspec.structs.replace(change.knob.reload, by="none")
    silent = msgspec.structs.replace(change, knob=msgspec.structs.replace(change.knob, reload=gone))
    remediation.apply(silent, agent.target, captured)

    assert remediation.state(change, agent.target, captured) == "after"


def test_a_change_that_was_never_made_is_undone_by_doing_nothing(remediation, case_for, agent):
    """Announced in the journal, killed before the write."""
    (change,) = remediation.plan(case_for(remediation)).changes
    captured = remediation.capture(change, agent.target)
    before, stat = everything(agent), agent.file.stat()

    remediation.undo(change, agent.target, captured)

    assert everything(agent) == before
    assert agent.file.stat().st_mtime_ns == stat.st_mtime_ns


def test_what_somebody_else_has_set_is_left_alone(remediation, case_for, agent):
    """Never fight a human; the error gives the way by hand."""
    change, captured = applied(remediation, case_for, agent)
    if change.knob.backend == "cgroup":
        (agent.cgroup / "cpu.max").write_text("70000 100000")
    else:
        written = agent.file.read_text()
        theirs = "cron" if isinstance(change.after, list) else "9"
        agent.file.write_text(human_edit(written, change, theirs))
    theirs_bytes = everything(agent)

    assert remediation.state(change, agent.target, captured) == "other"
    with pytest.raises(ChangedSince) as error:
        remediation.undo(change, agent.target, captured)

    assert error.value.fix
    assert everything(agent) == theirs_bytes


def human_edit(text, change, theirs):
    """The file with another value at the changed place, written by hand."""
    last = change.after[-1] if isinstance(change.after, list) else change.after
    key = re.escape(change.knob.path.rpartition(".")[2])
    edited, times = re.subn(
        rf"({key}:[^,}}]*?){re.escape(str(last))}\b", rf"\g<1>{theirs}", text, count=1, flags=re.S
    )
    assert times == 1
    return edited


def test_a_target_that_has_ended_is_not_touched(remediation, case_for, agent):
    """The pid may belong to somebody else by now."""
    (change,) = remediation.plan(case_for(remediation)).changes
    target = agent.target
    captured = remediation.capture(change, target)
    before = everything(agent)
    agent.end()

    with pytest.raises(TargetGone):
        remediation.apply(change, target, captured)

    assert everything(agent) == before


def test_undo_without_the_agent_restores_and_says_so(remediation, case_for, agent):
    """The agent died under the change; its file must not keep it."""
    change, captured = applied(remediation, case_for, agent)
    agent.end()

    note = remediation.undo(change, agent.describe(), captured)

    assert remediation.state(change, agent.describe(), captured) == "before"
    if change.knob.reload.by != "none":
        assert "nothing was reloaded" in note


def test_an_undo_killed_before_its_reload_is_made_up_for(remediation, case_for, agent):
    """The file is back, the agent may still run with our value: tell it again."""
    change, captured = applied(remediation, case_for, agent)
    if change.knob.reload.by == "none":
        pytest.skip("takes effect at once")
    assert agent.heard() == "reloaded"
    remediation.undo(change, agent.describe(), captured)  # restores, tells nobody

    note = remediation.undo(change, agent.target, captured)

    assert agent.heard() == "reloaded"
    assert "made up for" in note


def test_the_file_keeps_owner_mode_and_neighbours(remediation, case_for, agent):
    """A config file that becomes unreadable for its agent is the next incident."""
    agent.file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(agent.file, 1234, 4321)
    before = agent.file.stat()

    applied(remediation, case_for, agent)

    after = agent.file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert sorted(each.name for each in agent.file.parent.iterdir()) == ["agent.yaml", "cgroup"]
