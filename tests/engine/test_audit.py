"""The audit: every run, change, undo and refusal."""

import csv
import io
import json

import pytest

from engine import audit, record
from engine.errors import UsageError
from engine.journal import Journal
from tests.samples import runs


def rows(run):
    return list(audit.of_run(run))


def test_every_change_is_a_row_with_who_what_and_how_it_ended():
    """The auditor's question is per change, not per run."""
    changes = [row for row in rows(runs.burst_run()) if row.what == "change"]
    assert [(row.subject, row.state, row.by) for row in changes] == [
        ("poll-interval", "undone", "--yes"),
        ("ring-buffer-size", "kept", "--yes"),
    ]
    assert "256 KiB → 2 MiB" in changes[1].detail


def test_a_run_has_a_beginning_and_an_end_even_when_it_was_killed():
    """A run that vanished is exactly what an audit is for."""
    found = rows(runs.killed_run())
    assert (found[0].what, found[0].state) == ("run", "interrupted")
    assert [row.state for row in found if row.what == "change"] == ["unknown"]
    assert found[-1].what == "end"


def test_a_refusal_is_a_row():
    """What was held back, and by which reason, is part of the record."""
    deny = runs.ALLOWED[0].__class__(answer="deny", guard="freeze", because="frozen until Monday")
    events = (
        record.Planned(at=runs.START, plan=runs.RING_PLAN),
        record.Judged(at=runs.START, remediation="ring-buffer-size", decisions=(deny,), answer="deny"),
    )
    refused = [r for r in rows(record.Run(head=runs.head(), events=events)) if r.what == "refusal"]
    assert [(row.state, row.because) for row in refused] == [("held back", "frozen until Monday")]


def test_a_dry_run_is_never_a_change():
    """The change board must not find a rehearsal among the deeds."""
    found = rows(runs.rehearsal_run())
    assert found[0].what == "dry-run"
    assert [row.what for row in found[1:-1]] == ["rehearsed"]


def test_csv_can_not_become_a_formula():
    """An agent's name that begins with = must not run in the auditor's spreadsheet."""
    entry = rows(runs.burst_run())[0]
    evil = type(entry)(
        at="", run="", what="run", subject="=cmd|' /C calc'!A0", detail="", state="", by="@x", because=""
    )
    (_, row) = csv.reader(io.StringIO(audit.render([evil], "csv")))
    assert row[3].startswith("'=")
    assert row[6].startswith("'@")


def test_all_forms_hold_all_rows():
    """Machines, spreadsheets and people must see the same record."""
    found = rows(runs.burst_run())
    assert len(json.loads(audit.render(found, "json"))) == len(found)
    assert len(list(csv.reader(io.StringIO(audit.render(found, "csv"))))) == len(found) + 1
    assert len(audit.render(found, "text").splitlines()) == len(found)
    with pytest.raises(UsageError, match="no audit format"):
        audit.render(found, "xml")


def test_verify_says_whole_only_of_a_chain_that_is(tmp_path):
    """The whole point of the chain: an altered row is found and named."""
    run = runs.burst_run()
    with Journal.open(tmp_path) as journal:
        log = journal.begin(run.head)
        for event in run.events:
            log.record(event)
        verdict = audit.verify(journal)
        assert verdict.whole
        assert verdict.tip_hash in audit.sentence(verdict)
        journal._db.execute("DROP TRIGGER events_stay")
        journal._db.execute("UPDATE events SET body = replace(body, '256 KiB', '512 KiB') WHERE seq > 3")
        damaged = audit.verify(journal)
    assert not damaged.whole
    assert audit.sentence(damaged).startswith("ALTERED")
