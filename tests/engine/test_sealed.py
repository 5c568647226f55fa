"""What undo needs of secrets is put aside, and nowhere else."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import UsageError
from engine.journal import Journal
from engine.language import loader
from engine.record import Event, Intended, Run, RunHead, Settled
from engine.reports import html, markdown, text
from engine.reports import json as as_json
from engine.running import leases, resume
from engine.running.discreet import Discreet
from engine.running.runner import Order, run
from engine.running.scene import Silent, Tools
from engine.testing import START, FakeClock, FakeDiagnosis, FakeRemediation, FakeTarget, fake_tools
from engine.values import Case, Change, Plan, Reload, Setting, Target
from tests.engine.rehearsed import VERDICT, agent, flow, of_type, poll
from tests.engine.test_approval import Desk

SECRET = "hunter2-of-the-agent"
LINE = f"postgres://agent:{SECRET}@db:5432/events"
TEXT = """
runbook: events-lost
goal: {look: event-flow, until: flow.dropped_per_s == 0, hold: 20s}
steps:
  - look: event-flow
  - decide: loss
  - change: ring
"""


class Careful(FakeRemediation):
    """Its undo needs the agent's whole configuration, in which a password stands."""

    def __init__(self, of: FakeTarget) -> None:
        super().__init__(of, "ring", 4)
        self.of = of

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        return {**super().capture(change, target), "text": LINE, "lines": ["--password", SECRET]}

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Any:
        if captured["text"] != LINE:
            return "other"
        return super().state(change, target, captured)

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        self.of.settings["text"] = captured["text"]
        self.of.settings["lines"] = captured["lines"]
        return super().undo(change, target, captured)


def tools(directory: Path, of: FakeTarget, **further: Any) -> Tools:
    return fake_tools(directory, [flow(of), FakeDiagnosis(VERDICT), Careful(of), poll(of)], of, **further)


def ran(directory: Path, of: FakeTarget, text: str = TEXT, **further: Any) -> Run:
    document = loader.parse(text.encode(), Path("events-lost.yaml")).document
    everything = tools(directory, of, **further)
    with everything.journal:
        return run(Order(runbook=document, text=text, target=of.target), everything)


def holders(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def test_undo_is_exact_though_the_journal_holds_no_secret(tmp_path: Path) -> None:
    """What was there before stands in one file of its owner's, which goes with the undo."""
    lab = agent()
    done = ran(tmp_path, lab)
    (kept,) = holders(tmp_path)
    assert kept == tmp_path / "sealed" / f"{done.head.id}.1"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert of_type(done, Intended)[0].captured["lines"] == ["--password", "(secret)"]

    settled = resume.undo("last", tools(tmp_path, lab))
    assert [one.state for one in settled] == ["undone"]
    assert (lab.settings["text"], lab.settings["lines"]) == (LINE, ["--password", SECRET])
    assert holders(tmp_path) == []


def test_a_lease_ends_exactly_too(tmp_path: Path) -> None:
    """By a later process."""
    lab = agent()
    ran(tmp_path, lab, TEXT.replace("- change: ring", "- {change: ring, lease: 1h}"))
    leases.end_leases(tools(tmp_path, lab, clock=FakeClock(START + 7200)))
    assert lab.settings["text"] == LINE
    assert holders(tmp_path) == []


class Crash(BaseException):
    """Stands for a process that ends between two lines."""


def test_a_run_that_broke_off_is_resumed_with_all_that_it_captured(tmp_path: Path) -> None:
    """What it had written is looked at, adopted and kept by a later process."""
    lab = agent()
    everything = tools(tmp_path, lab)
    hand = everything.parts.remediation("ring")

    def die(*_: object) -> None:
        lab.settings["ring"] = 4
        raise Crash

    hand.apply = hand.undo = hand.state = die  # type: ignore[method-assign,assignment]
    document = loader.parse(TEXT.encode(), Path("events-lost.yaml")).document
    with everything.journal, pytest.raises(Crash):
        run(Order(runbook=document, text=TEXT, target=lab.target), everything)

    done = resume.resume("last", tools(tmp_path, lab))
    assert [one.state for one in of_type(done, Settled)] == ["kept"]


def test_no_report_holds_the_secret_while_the_change_stands(tmp_path: Path) -> None:
    """In no form."""
    done = ran(tmp_path, agent())
    for form in (html, text, markdown, as_json):
        assert SECRET not in form.render(done)


def test_the_chain_covers_what_was_put_aside(tmp_path: Path) -> None:
    """A file that somebody has altered is not used; undo says what to do by hand."""
    lab = agent()
    ran(tmp_path, lab)
    (kept,) = holders(tmp_path)
    kept.write_bytes(kept.read_bytes().replace(SECRET.encode(), b"x" * len(SECRET)))
    (settled,) = resume.undo("last", tools(tmp_path, lab))
    assert settled.state == "failed"
    assert str(kept) in settled.because
    assert "text" not in lab.settings
    assert settled.undo_by_hand


def test_nobody_can_guess_a_secret_from_the_row(tmp_path: Path) -> None:
    """The hash in the row covers random bytes too: equal secrets, other hashes."""
    one, two = (of_type(ran(tmp_path / name, agent()), Intended)[0].sealed for name in "ab")
    assert re.fullmatch("[0-9a-f]{64}", one)
    assert one != two


def test_what_a_failed_commit_left_is_no_obstacle(tmp_path: Path) -> None:
    """The next change of that number takes its place."""
    lab = agent()
    done = ran(tmp_path, lab)
    resume.undo("last", tools(tmp_path, lab))
    (tmp_path / "sealed" / f"{done.head.id}.2").write_bytes(b"old")
    with Journal.open(tmp_path) as journal, journal.transaction():
        log = journal.continue_(done.head.id)
        event = msgspec.structs.replace(of_type(done, Intended)[0], attempt=2, captured={"text": LINE})
        journal.append(log, event)
    with Journal.open(tmp_path) as journal:
        assert journal.whole(journal.attempts()[-1]).captured == {"text": LINE}


def test_a_settlement_that_was_not_written_takes_nothing_away(tmp_path: Path) -> None:
    """What undo needs goes only after the commit that says that it is over."""
    lab = agent()
    done = ran(tmp_path, lab)
    settled = Settled(at=START, attempt=1, state="undone", because="")
    with Journal.open(tmp_path) as journal:
        log = journal.continue_(done.head.id)

        def break_off() -> None:
            with journal.transaction():
                journal.append(log, settled)
                raise KeyError

        with pytest.raises(KeyError):
            break_off()
        with journal.transaction():
            pass
    assert len(holders(tmp_path)) == 1


class Seeing(Silent):
    """Keeps all it is told."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def begin(self, head: RunHead) -> None:
        self.seen.append(head)

    def event(self, event: Event) -> None:
        self.seen.append(event)


def test_whoever_watches_sees_no_secret(tmp_path: Path) -> None:
    """The live display and the followers of the page are told what the journal holds."""
    seeing = Seeing()
    done = ran(tmp_path, agent(), watcher=Discreet(seeing))
    assert SECRET not in repr(seeing.seen)
    assert of_type(done, Intended)[0].captured in [
        event.captured for event in seeing.seen if isinstance(event, Intended)
    ]


WITH_SECRET = TEXT + f"  - tell: 'see {LINE}'\n"


def test_a_run_whose_runbook_held_a_secret_goes_on_from_its_file(tmp_path: Path) -> None:
    """Only if the file is the same; else it says so, and undo is left."""
    place = tmp_path / "events-lost.yaml"
    place.write_text(WITH_SECRET)
    loaded = loader.load(place)
    head = RunHead(
        id="r",
        runbook="events-lost",
        runbook_text=WITH_SECRET.replace(SECRET, "(secret)"),
        runbook_hash=loaded.sha256,
        directory=str(tmp_path),
        started_at=0.0,
    )
    assert loader.recorded(head).document == loaded.document
    place.write_text(WITH_SECRET + "# edited\n")
    with pytest.raises(UsageError, match="held a secret"):
        loader.recorded(head)


class Rotated(FakeRemediation):
    """Its change says how the agent is reloaded, with a password in the command."""

    def __init__(self, of: FakeTarget, password: str = SECRET) -> None:
        super().__init__(of, "ring", 4)
        self.password = password
        self.made: list[Change] = []

    def plan(self, case: Case) -> Plan:
        plan = super().plan(case)
        reload = Reload(by="command", argv=("reload-agent", "--password", self.password))
        changes = [
            msgspec.structs.replace(one, knob=msgspec.structs.replace(one.knob, reload=reload))
            for one in plan.changes
        ]
        return msgspec.structs.replace(plan, changes=tuple(changes))

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        self.made.append(change)
        super().apply(change, target, captured)


def test_an_approved_change_is_made_with_the_secret_that_its_record_lacks(tmp_path: Path) -> None:
    """The yes is to the plan as it was shown; what is carried out is that plan, whole."""
    desk = Desk(tmp_path)
    hand = Rotated(desk.lab)
    desk.hands = [hand, poll(desk.lab)]
    assert desk.begin().head.outcome == "waiting"
    assert holders(tmp_path) == []
    desk.rule()
    assert desk.resume().head.outcome == "fixed"
    assert [one.knob.reload.argv[-1] for one in hand.made] == [SECRET]
