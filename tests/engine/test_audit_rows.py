"""What is a row of the audit, and what stands in it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec
import pytest

from engine import audit, record
from engine.audit import Entry
from engine.journal import Journal, statements
from engine.record import Event, Run
from tests.engine.chains import DAY, events, head
from tests.samples import runs

AT = runs.START
STEP = "3"


def rows(*happened: Event, **further: object) -> list[Entry]:
    """The rows of a run with these events."""
    return list(audit.of_run(Run(head=runs.head(**further), events=happened)))


def one(what: str, *happened: Event) -> Entry:
    (found,) = [row for row in rows(*happened) if row.what == what]
    return found


def intended(at: float = AT) -> record.Intended:
    change = runs.RING_PLAN.changes[0]
    return record.Intended(
        at=at, step=STEP, attempt=1, remediation="ring-buffer-size", change=change, lease_until=at + 60
    )


def settled(at: float, state: str, because: str = "it helped") -> record.Settled:
    return record.Settled(at=at, step=STEP, attempt=1, state=state, because=because)  # type: ignore[arg-type]


PLANNED = record.Planned(at=AT, step=STEP, plan=runs.RING_PLAN)
REQUESTED = record.Requested(
    at=AT,
    step=STEP,
    remediation="ring-buffer-size",
    digest="ab" * 32,
    decide_by=AT + 60,
    use_within=9,
    evidence_at=AT,
)


GOAL = record.GoalMeasured(
    at=AT + 5,
    phase="hold",
    condition="x == 0",
    holds=True,
    values={"flow.dropped_per_s": 0.0},
    held_s=20.0,
)
COMPARED = record.Compared(
    at=AT + 5,
    remediation="ring-buffer-size",
    measure="flow.dropped_per_s",
    before=4330.0,
    predicted=0.0,
    measured=0.0,
    met=True,
)


def ruled(answer: str, **further: str) -> record.Ruled:
    return record.Ruled(at=AT + 1, step=STEP, digest="ab" * 32, answer=answer, **further)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("approved", "approval"),
        ("denied", "denial"),
        ("expired", "expiry"),
        ("void", "void"),
        ("withdrawn", "withdrawal"),
    ],
)
def test_every_ruling_is_a_row(answer: str, what: str) -> None:
    """Whose it was, how it came, what they wrote beside it, and for which plan."""
    row = one(what, REQUESTED, ruled(answer, by="anna", via="page", comment="go", because="it drifted"))

    assert (row.subject, row.state, row.by, row.because) == (
        "ring-buffer-size",
        answer,
        "anna",
        "it drifted; go",
    )
    assert row.detail == "plan abababababab, on the page"


def test_a_change_names_by_whose_leave_it_was_made() -> None:
    """An approval beats the policy, and a person is named with the way their yes came."""
    made = [
        PLANNED,
        REQUESTED,
        ruled("approved", by="anna", via="link"),
        intended(AT + 2),
        settled(AT + 9, "kept"),
    ]

    assert one("change", *made).leave == "anna, by a signed link"
    assert one("change", PLANNED, intended(), settled(AT + 9, "kept")).leave == "the policy of this machine"


def test_a_change_tells_before_after_and_how_it_was_proven() -> None:
    """What was predicted stands beside what was measured, and the goal's own values."""
    row = one(
        "change",
        PLANNED,
        intended(),
        GOAL,
        COMPARED,
        settled(AT + 9, "kept"),
    )

    assert (row.before, row.after, row.state) == ("256 KiB", "2 MiB", "kept")
    assert row.verified == (
        "flow.dropped_per_s: 4,330/s → 0/s, predicted 0/s: as predicted; "
        "goal holds for 20 s: flow.dropped_per_s = 0/s"
    )


def test_what_became_of_a_change_stands_in_its_row_and_in_one_of_its_own() -> None:
    """The morning after one asks: was it undone, when, by whom."""
    made = [
        PLANNED,
        intended(),
        settled(AT + 9, "kept"),
        record.Ended(at=AT + 10, outcome="fixed", sentence=""),
    ]
    later = [
        record.Resumed(at=AT + 99, by="bob", doing="undo"),
        settled(AT + 100, "undone", "taken back by bob"),
    ]

    change, undo = one("change", *made, *later), one("undo", *made, *later)
    assert (change.state, change.because) == ("kept", "it helped")
    assert change.later.startswith("undone 20")
    assert change.later.endswith("taken back by bob")
    assert (undo.by, undo.before, undo.after, undo.state) == ("bob", "2 MiB", "256 KiB", "undone")
    assert one("change", *made).later == ""


@pytest.mark.parametrize(
    ("event", "state", "by"),
    [
        (
            record.Extended(at=AT + 20, attempt=1, lease_until=AT + 900, by="anna", comment="more"),
            "until 20",
            "anna",
        ),
        (settled(AT + 20, "kept", "made lasting by anna"), "kept", ""),
    ],
)
def test_what_is_done_to_a_lease_is_a_row(event: Event, state: str, by: str) -> None:
    """More time, or for good."""
    row = one("lease", PLANNED, intended(), settled(AT + 9, "leased"), event)

    assert (row.state.startswith(state), row.by) == (True, by)


def test_a_lease_that_ended_is_an_undo() -> None:
    """By the engine, when its time was up."""
    row = one(
        "undo",
        PLANNED,
        intended(),
        settled(AT + 9, "leased"),
        record.Resumed(at=AT + 60, by="root", doing="lease-end"),
        settled(AT + 61, "undone", "its lease has ended"),
    )

    assert (row.state, row.because, row.by) == ("undone", "its lease has ended", "root")


def test_questions_answers_alerts_and_barred_attempts_are_rows() -> None:
    """Also what was tried and not let: that above all."""
    happened: list[Event] = [
        record.Alerted(
            at=AT, alert="f1", name="Dropping", sender="am", did="asked", summary="4,330 events/s"
        ),
        record.Asked(
            at=AT + 1, question="May it be restarted?", answers={}, who="the owner", expires_at=AT + 99
        ),
        record.Barred(
            at=AT + 2, wanted="approve it", by="otto (viewer)", because="a viewer looks", via="page"
        ),
        record.Answered(at=AT + 3, values={"restart": True}, by="anna", via="command", comment="yes"),
        record.Alerted(at=AT + 4, alert="f1", name="Dropping", sender="am", did="resolved"),
        record.Ended(at=AT + 5, outcome="fixed", sentence="done"),
    ]
    found = rows(*happened)

    assert [(row.what, row.state, row.by) for row in found[1:]] == [
        ("alert", "asked for the run", "am"),
        ("question", "waiting", found[0].by),
        ("barred", "refused", "otto (viewer)"),
        ("answer", "answered", "anna"),
        ("alert", "resolved", "am"),
        ("end", "fixed", found[0].by),
    ]


def test_a_run_that_was_refused_its_start_is_told_from_one_that_ran() -> None:
    """An alert that named an unknown target is on record like everything else."""
    ended = record.Ended(at=AT + 1, outcome="refused", sentence="no target named x")
    found = rows(ended, outcome="refused", ended_at=AT + 1, sentence="no target named x")

    assert (found[0].what, found[-1].because) == ("refused start", "no target named x")


# ── which rows ──────────────────────────────────────────────────────────────────


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Three runs, ten days apart, the first of which was undone on the thirtieth day."""
    made = Journal.open(tmp_path)
    for number, target in ((1, "lab"), (2, "other"), (3, "lab")):
        at = number * 10 * DAY
        log = made.begin(
            msgspec.structs.replace(head(f"run-{number}", at), target=target, target_ref=f"x:{target}")
        )
        for event in events(at, undone=number != 1):
            log.record(event)
    log = made.continue_("run-1")
    log.record(record.Resumed(at=30 * DAY, by="bob", doing="undo"))
    log.record(record.Settled(at=30 * DAY + 1, attempt=1, state="undone", because="taken back by bob"))
    return made


def test_only_what_happened_then_is_listed(journal: Journal) -> None:
    """Also what happened then to a run of long before."""
    found = audit.entries(journal, since=25 * DAY)

    assert [(row.run, row.what) for row in found if row.run == "run-1"] == [
        ("run-1", "resumed"),
        ("run-1", "undo"),
    ]
    assert {row.run for row in found} == {"run-1", "run-3"}
    assert {row.run for row in audit.entries(journal, until=15 * DAY)} == {"run-1"}
    assert audit.entries(journal, since=15 * DAY, until=16 * DAY) == []


def test_one_target_or_one_run_can_be_asked_for(journal: Journal) -> None:
    """By its name, or a part of its ref."""
    assert {row.run for row in audit.entries(journal, target="other")} == {"run-2"}
    assert {row.run for row in audit.entries(journal, target="x:lab")} == {"run-1", "run-3"}
    assert {row.run for row in audit.entries(journal, run="run-2")} == {"run-2"}


def test_runs_of_another_time_and_what_probes_saw_are_never_read(journal: Journal) -> None:
    """An audit of a day costs a day's reading, however long the journal is."""
    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    audit.entries(journal, since=25 * DAY)
    journal._db.set_trace_callback(None)
    (plan,) = {
        row[3]
        for row in journal._db.execute(f"EXPLAIN QUERY PLAN {statements.BRIEF}", (1, "[]"))
        if "events" in row[3]
    }

    assert sum("json_each" in statement for statement in asked) == 2
    assert "USING INDEX events_by_kind (run=?)" in plan


def test_the_page_holds_all_rows_and_nothing_that_runs(journal: Journal) -> None:
    """One file, no script, and what came from an alert is only text."""
    evil = record.Alerted(at=31 * DAY, alert="a", name=runs.EVIL, sender="am", did="joined")
    journal.continue_("run-3").record(evil)
    found = audit.entries(journal)
    page = audit.render(found, "html")

    assert page.count("<tr>") == len(found) + 3
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


def test_csv_has_all_columns(journal: Journal) -> None:
    """A spreadsheet can be asked what was undone."""
    found = list(csv.DictReader(io.StringIO(audit.render(audit.entries(journal), "csv"))))

    assert {"at", "run", "what", "by", "leave", "before", "after", "verified", "later", "target"} <= set(
        found[0]
    )
    assert [row["later"][:6] for row in found if row["what"] == "change" and row["run"] == "run-1"] == [
        "undone"
    ]


def test_a_run_that_waits_is_no_refusal_and_has_not_ended() -> None:
    """What it asks for is the request's row."""
    judged = record.Judged(at=AT, step=STEP, remediation="ring-buffer-size", decisions=(), answer="ask")
    found = rows(PLANNED, judged, REQUESTED, outcome="waiting", ended_at=AT + 1)
    whats = {row.what: row.state for row in found}

    assert whats["run"] == "waiting"
    assert whats["request"] == "waiting"
    assert "refusal" not in whats
