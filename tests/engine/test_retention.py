"""Old runs become small, and the chain holds; nothing goes that somebody may still ask for."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from engine import audit, reports
from engine.cli import main
from engine.journal import Journal, retention
from engine.record import Alerted, Ended, Event, Pruned, Seen, Settled
from engine.values import Evidence, Reading
from tests.engine import old_journal
from tests.engine.chains import DAY, events, found, head, opened

NOW = 500 * DAY
LARGE = Evidence(
    probe="p",
    short="p",
    target="lab",
    started_at=0.0,
    ended_at=1.0,
    readings={f"r{number}": Reading(value=float(number), source="here") for number in range(2000)},
)


def record(journal: Journal, name: str, at: float, *, undone: bool = True, **further: str) -> None:
    """A run from beginning to end."""
    log = journal.begin(msgspec.structs.replace(head(name, at), **further))
    for event in events(at, undone=undone):
        log.record(event)


def prune(journal: Journal, **further: int) -> retention.Pruning:
    return retention.prune(journal, keep_s=400 * DAY, now=NOW, by="anna", **further)


def kinds(journal: Journal, run: str) -> list[str]:
    return [type(event).__name__ for event in journal.run(run).events]


def test_details_of_old_runs_go_and_what_one_answers_for_stays(tmp_path: Path) -> None:
    """Evidence and steps are gone; change, outcome and who dropped them are there; the chain is whole."""
    with Journal.open(tmp_path) as journal:
        record(journal, "old", 10 * DAY)
        record(journal, "young", 200 * DAY)
        done = prune(journal)

        assert (done.runs, done.rows) == (1, 3)
        assert kinds(journal, "old") == ["Planned", "Intended", "Applied", "Settled", "Ended", "Pruned"]
        assert "Seen" in kinds(journal, "young")
        (event,) = [one for one in journal.run("old").events if isinstance(one, Pruned)]
        assert (event.by, event.keep_s, event.rows) == ("anna", 400 * DAY, ((2, 3), (7, 7)))
        assert journal.verify() == []
        assert journal.examine().dropped == 3


def test_the_audit_is_the_same_before_and_after(tmp_path: Path) -> None:
    """But for the row that says who dropped the details."""
    with Journal.open(tmp_path) as journal:
        record(journal, "old", 10 * DAY)
        before = audit.entries(journal)
        prune(journal)
        after = audit.entries(journal)

    assert [row for row in after if row.what != "pruned"] == before
    assert [row.by for row in after if row.what == "pruned"] == ["anna"]


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ([Settled(at=10 * DAY, attempt=1, state="leased", because="")], "a lease is in force"),
        ([Settled(at=10 * DAY, attempt=1, state="kept", because="")], "a change is in force"),
        ([Settled(at=10 * DAY, attempt=1, state="left", because="")], "a change may be in force"),
        ([Ended(at=10 * DAY, outcome="waiting", sentence="")], "it waits"),
        (
            [Alerted(at=NOW - DAY, alert="a", name="A", sender="s", did="resolved")],
            "something happened lately",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_may_be_asked_for_is_left_whole(tmp_path: Path, last: list[Event], why: str) -> None:
    """However old it is."""
    with Journal.open(tmp_path) as journal:
        record(journal, "old", 10 * DAY)
        for event in last:
            journal.continue_("old").record(event)

        assert prune(journal) == retention.Pruning(), why
        assert "Seen" in kinds(journal, "old")


def test_an_unfinished_run_is_left_whole(tmp_path: Path) -> None:
    """Somebody may resume it."""
    with Journal.open(tmp_path) as journal:
        journal.begin(head("cut-off", 1 * DAY)).record(Seen(at=1 * DAY, evidence=LARGE))

        assert prune(journal) == retention.Pruning()


def test_a_family_is_dropped_together_or_not_at_all(tmp_path: Path) -> None:
    """Undo of the caller takes the called ones along, so it must find them whole."""
    with Journal.open(tmp_path) as journal:
        for name in ("a", "b"):
            record(journal, name, 10 * DAY)
            record(journal, f"{name}.1", 10 * DAY, undone=name == "b", called_by=name)
        prune(journal)

        gone = {name: "Seen" not in kinds(journal, name) for name in ("a", "a.1", "b", "b.1")}
    assert gone == {"a": False, "a.1": False, "b": True, "b.1": True}


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The worker does a few at a time; again and again comes to the same."""
    with Journal.open(tmp_path) as journal:
        for number in range(5):
            record(journal, f"run-{number}", (10 + number) * DAY)
        counts = [prune(journal, at_most=2).runs for _ in range(4)]

        assert counts == [2, 2, 1, 0]
        assert journal.verify() == []


def test_space_is_given_back(tmp_path: Path) -> None:
    """Also by a journal that the earlier release made."""
    old = [
        (
            head("old", 10 * DAY),
            [*[Seen(at=10 * DAY, evidence=LARGE)] * 20, Ended(at=10 * DAY, outcome="healthy", sentence="")],
        )
    ]
    old_journal.write(tmp_path / "a", old)
    with Journal.open(tmp_path / "b") as journal:
        log = journal.begin(old[0][0])
        for event in old[0][1]:
            log.record(event)
    for name in ("a", "b"):
        with Journal.open(tmp_path / name) as journal:
            journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            before = (tmp_path / name / "journal.db").stat().st_size
            done = prune(journal)
            after = (tmp_path / name / "journal.db").stat().st_size

            assert done.bytes > 1_000_000
            assert before - after > 0.8 * done.bytes
            assert journal.verify() == []


def test_what_goes_is_not_left_in_the_file(tmp_path: Path) -> None:
    """Somebody who dropped it wants it gone."""
    with Journal.open(tmp_path) as journal:
        log = journal.begin(head("old", 10 * DAY))
        evidence = msgspec.structs.replace(LARGE, notes=("a sentence to be found again",))
        log.record(Seen(at=10 * DAY, evidence=evidence))
        log.record(Ended(at=10 * DAY, outcome="healthy", sentence=""))
        prune(journal)

        for file in tmp_path.iterdir():
            assert not file.is_file() or b"a sentence to be found again" not in file.read_bytes(), file


# ── nothing else may go ─────────────────────────────────────────────────────────


def test_the_tables_let_no_content_go_without_the_event(tmp_path: Path) -> None:
    """A slip of ours can't drop what is not on record as dropped, nor put anything else there."""
    with Journal.open(tmp_path) as journal:
        record(journal, "old", 10 * DAY)
        record(journal, "other", 20 * DAY)
        prune(journal, at_most=1)
        for statement in (
            "UPDATE events SET body = 'sha256:' || hex(zeroblob(32)) WHERE run = 2",
            "UPDATE events SET body = 'x' WHERE run = 1",
            "UPDATE events SET body = 'sha256:' || hex(zeroblob(32)) WHERE run = 1 AND kind = 'ended'",
            "UPDATE events SET body = 'sha256:' || hex(zeroblob(32)) WHERE run = 1 AND kind = 'seen'",
            "DELETE FROM events WHERE run = 1",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                journal._db.execute(statement)


def test_content_that_went_without_the_event_is_found(tmp_path: Path) -> None:
    """Past the triggers: an intruder who empties a row leaves a digest and nobody's name."""
    with Journal.open(tmp_path) as journal:
        record(journal, "run", 10 * DAY)
    db = opened(tmp_path)
    with Journal.open(tmp_path, write=False) as journal:
        body = dict(journal.bodies("run"))[3]
    digest = b"sha256:" + hashlib.sha256(body).hexdigest().encode()
    db.execute("UPDATE events SET body = ? WHERE seq = 3", (digest,))
    db.close()

    assert [one for one in found(tmp_path) if "nobody is on record" in one] == [
        "dropped: the content of row 3 of run run is gone, and nobody is on record for it"
    ]


def test_what_one_answers_for_can_not_be_dropped_even_with_the_key(tmp_path: Path) -> None:
    """Who holds the key may drop details, and is on record; a change or a ruling stays."""
    with Journal.open(tmp_path) as journal:
        record(journal, "run", 10 * DAY)
    db = opened(tmp_path)
    with Journal.open(tmp_path, write=False) as journal:
        body = dict(journal.bodies("run"))[5]
    db.execute(
        "UPDATE events SET body = ? WHERE seq = 5", (b"sha256:" + hashlib.sha256(body).hexdigest().encode(),)
    )
    db.close()

    assert any("intended is never dropped" in one for one in found(tmp_path))


def test_rows_of_the_earlier_release_that_were_dropped_are_still_held(tmp_path: Path) -> None:
    """Their own hash needs the content; the event holds their digests instead."""
    old_journal.write(tmp_path / "s", [(head("old", 10 * DAY), events(10 * DAY, undone=True))])
    with Journal.open(tmp_path / "s") as journal:
        assert prune(journal).rows == 3
        assert journal.verify() == []
    for change in (
        "UPDATE events SET body = 'sha256:' || hex(zeroblob(32)) WHERE seq = 3",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 3",
    ):
        place = Path(shutil.copytree(tmp_path / "s", tmp_path / "t", dirs_exist_ok=True))
        db = opened(place)
        db.execute(change)
        db.close()
        assert found(place) != []


def test_the_command_drops_and_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who typed it is on record."""
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path))
    with Journal.open(tmp_path) as journal:
        record(journal, "old", 10 * DAY)
    assert main(["audit", "prune", "--keep", "400d"]) == 0
    assert capsys.readouterr().out.startswith("dropped the details of 1 run: 3 rows")
    assert main(["audit", "prune", "--keep", "400d"]) == 0
    assert capsys.readouterr().out.startswith("no run that ended more than 400 d ago")
    assert main(["audit", "--verify"]) == 0
    assert "3 rows of old runs without content" in capsys.readouterr().out


def test_a_report_of_a_dropped_run_can_still_be_made(tmp_path: Path) -> None:
    """Shorter, and not a crash."""
    with Journal.open(tmp_path) as journal:
        record(journal, "old", 10 * DAY)
        prune(journal)
        run = journal.run("old")
    for form in reports.FORMATS:
        assert "unfixed" in reports.render(run, form)
