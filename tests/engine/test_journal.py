"""The journal keeps its promises: flushed, private, append-only, and telling when altered."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from engine.errors import JournalUnavailable, UnknownName, UsageError
from engine.journal import Journal, RunLog
from engine.journal.rows import decode
from engine.record import Applied, Ended, Intended, RunHead, Settled, Told
from engine.values import Change, Knob

CHANGE = Change(
    knob=Knob(name="ring", backend="fake"), before=1, after=2, before_text="1", after_text="2", why="a test"
)


def head(name: str = "20260105-0900-t-aa", at: float = 1.0) -> RunHead:
    return RunHead(id=name, runbook="t", target_ref="fake:x", started_at=at)


def intended(number: int, *, at: float = 2.0, lease_until: float | None = None) -> Intended:
    return Intended(
        at=at,
        attempt=number,
        remediation="ring",
        change=CHANGE,
        captured={"value": 1},
        lease_until=lease_until,
    )


def told(sentence: str) -> Told:
    return Told(at=3.0, sentence=sentence)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "state")


@pytest.fixture
def log(journal: Journal) -> RunLog:
    return journal.begin(head())


def tamper(journal: Journal, *statements: str) -> list[str]:
    """What an intruder does with the file, and what verify says of it: kinds and sentences."""
    db = sqlite3.connect(journal.directory / "journal.db", isolation_level=None)
    db.execute("DROP TRIGGER events_stay")
    db.execute("DROP TRIGGER events_last")
    for statement in statements:
        db.execute(statement)
    db.close()
    return [f"{damage.what}: {damage.sentence}" for damage in journal.verify()]


def test_what_was_recorded_reads_back_as_it_was(journal: Journal, log: RunLog) -> None:
    """Reports and undo read nothing else."""
    events = [told("a"), intended(1), Applied(at=2.5, attempt=1), told("b")]
    for event in events:
        log.record(event)

    assert list(journal.run("last").events) == events


def test_a_kept_back_event_is_written_before_the_next_one(journal: Journal, log: RunLog) -> None:
    """Beginnings cost no commit of their own, and order is kept."""
    log.note(told("first"))
    assert journal.run("last").events == ()
    log.record(told("second"))

    assert [event.sentence for event in journal.run("last").events if isinstance(event, Told)] == [
        "first",
        "second",
    ]


def test_the_state_directory_is_private(journal: Journal) -> None:
    """Values before a change may be secrets of the agent."""
    assert stat.S_IMODE(journal.directory.stat().st_mode) == 0o700
    for file in journal.directory.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_every_commit_is_flushed(journal: Journal) -> None:
    """A power cut must not lose an intent whose change was made."""
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_ended_run_tells_how(journal: Journal, log: RunLog) -> None:
    """The list of runs needs no events."""
    log.record(Ended(at=9.0, outcome="interrupted", sentence="stopped", signal=15))
    (run,) = journal.runs()

    assert (run.state, run.head.outcome, run.head.ended_at, run.head.signal) == (
        "ended",
        "interrupted",
        9.0,
        15,
    )


def test_an_unfinished_run_that_nobody_works_on_is_interrupted(journal: Journal, log: RunLog) -> None:
    """Nothing is left 'running' for ever after a crash."""
    assert journal.runs()[0].state == "interrupted"
    assert journal.runs()[0].head.id == log.run


def test_runs_come_newest_first(journal: Journal) -> None:
    """The last one is what an operator asks for."""
    for number, at in ((1, 5.0), (2, 9.0), (3, 7.0)):
        journal.begin(head(f"run-{number}", at))

    assert [run.head.id for run in journal.runs()] == ["run-2", "run-3", "run-1"]
    assert journal.run("last").head.id == "run-2"


def test_a_run_is_found_by_the_beginning_of_its_id(journal: Journal) -> None:
    """Ids are long; two that begin alike must not be confused."""
    for name in ("20260105-a", "20260105-b", "20260106-c"):
        journal.begin(head(name))

    assert journal.run("20260106").head.id == "20260106-c"
    with pytest.raises(UsageError, match="20260105-a, 20260105-b"):
        journal.run("20260105")
    with pytest.raises(UnknownName, match="no run named"):
        journal.run("2027")


def test_attempts_follow_their_events(journal: Journal, log: RunLog) -> None:
    """Resume and undo ask this table."""
    for number in (1, 2, 3):
        log.record(intended(number))
    log.record(Applied(at=3.0, attempt=2))
    log.record(Settled(at=4.0, attempt=3, state="undone", because="no help"))
    attempts = journal.attempts(log.run)

    assert [(one.number, one.state) for one in attempts] == [(1, "intended"), (2, "applied"), (3, "undone")]
    assert attempts[0].captured == {"value": 1}


def test_the_first_value_before_is_never_overwritten(journal: Journal, log: RunLog) -> None:
    """A second intent of the same number is refused, with everything in its transaction."""
    log.record(intended(1))
    with pytest.raises(JournalUnavailable):
        log.record(intended(1))

    assert len(journal.run("last").events) == 1


def test_leases_that_are_due_are_found(journal: Journal, log: RunLog) -> None:
    """Any later process can end them."""
    log.record(intended(1, lease_until=100.0))
    log.record(Settled(at=3.0, attempt=1, state="leased", because=""))

    assert journal.leases(99.0) == []
    assert [one.number for one in journal.leases(100.0)] == [1]


def test_recent_changes_are_told_by_target_and_time(journal: Journal, log: RunLog) -> None:
    """Cooldown and budget count them."""
    log.record(intended(1, at=10.0))
    log.record(intended(2, at=20.0))

    assert [one.number for one in journal.attempts(since=15.0, target_ref="fake:x")] == [2]
    assert journal.attempts(since=15.0, target_ref="fake:other") == []


def test_a_whole_journal_verifies(journal: Journal, log: RunLog) -> None:
    """No false alarm."""
    log.record(intended(1))
    log.record(Settled(at=3.0, attempt=1, state="kept", because=""))
    log.record(Ended(at=4.0, outcome="fixed", sentence=""))

    assert journal.verify() == []


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (("UPDATE events SET body = 'no JSON' WHERE seq = 3",), "altered: row 3"),
        (("UPDATE runs SET head = 'no JSON'",), "head: the head of run"),
        (("UPDATE events SET body = replace(body, 'b', 'x') WHERE seq = 3",), "altered: row 3"),
        (("DELETE FROM events WHERE seq = 3",), "removed: row 3 is missing"),
        (("DELETE FROM events WHERE seq IN (2, 3)",), "removed: rows 2 to 3 are missing"),
        (("DELETE FROM events WHERE seq >= 4",), "cut-off: rows 4 to 5 are missing at the end"),
        (
            ("UPDATE events SET seq = 99 WHERE seq = 2", "UPDATE events SET seq = 2 WHERE seq = 3"),
            "altered: row 2",
        ),
        (("UPDATE runs SET head = replace(head, 'fake', 'real')",), "head: the head of run"),
        (("DELETE FROM runs",), "head: the head of run"),
    ],
)
def test_tampering_is_found_and_named(
    journal: Journal, log: RunLog, statements: tuple[str, ...], found: str
) -> None:
    """An audit that can't tell where it was tampered with is worth little."""
    for sentence in "abcd":
        log.record(told(sentence))

    assert any(found in said for said in tamper(journal, *statements))


def test_a_changed_table_of_attempts_is_found(journal: Journal, log: RunLog) -> None:
    """It says what undo takes back."""
    log.record(intended(1))

    assert any("table of changes" in said for said in tamper(journal, "UPDATE attempts SET state = 'undone'"))


def test_a_missing_anchor_is_told(journal: Journal, log: RunLog) -> None:
    """Without it a cut-off would go unseen."""
    (journal.directory / "journal.anchor").unlink()

    assert [damage.what for damage in journal.verify()] == ["anchor"]


def test_an_anchor_that_lags_behind_is_no_damage(journal: Journal, log: RunLog) -> None:
    """A crash between commit and anchor is not tampering."""
    anchor = (journal.directory / "journal.anchor").read_bytes()
    log.record(told("later"))
    (journal.directory / "journal.anchor").write_bytes(anchor)

    assert journal.verify() == []


def test_our_own_slip_cannot_rewrite_the_past(journal: Journal, log: RunLog) -> None:
    """The tables themselves refuse."""
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        journal._db.execute("UPDATE events SET body = ''")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        journal._db.execute("DELETE FROM events")


def test_two_writers_share_one_chain(journal: Journal, log: RunLog) -> None:
    """Two engines on two targets write side by side."""
    other = Journal.open(journal.directory)
    second = other.begin(head("other"))
    for number in range(5):
        log.record(told(f"a{number}"))
        second.record(told(f"b{number}"))

    assert journal.verify() == []
    assert len(journal.run(log.run).events) == len(journal.run("other").events) == 5


def test_text_that_is_no_utf8_is_kept_readable(journal: Journal, log: RunLog) -> None:
    """A process may have any bytes for a name."""
    log.record(told("comm \udcff"))

    assert journal.run("last").events == (told("comm \\udcff"),)


def test_a_full_disk_refuses_the_commit_and_keeps_what_was_there(journal: Journal, log: RunLog) -> None:
    """No journal, no change: the error comes before anything is touched."""
    log.record(told("small"))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 1}")

    with pytest.raises(JournalUnavailable, match="full") as caught:
        log.record(told("x" * 100_000))

    assert "free space" in caught.value.fix
    assert journal.run("last").events == (told("small"),)
    assert journal.verify() == []


@pytest.mark.parametrize(
    "content", [b"this is no database, this is a text of some length" * 30, b"SQLite format 3\0" * 99]
)
def test_a_file_that_is_no_journal_is_told_and_left(tmp_path: Path, content: bytes) -> None:
    """What is there may be evidence: it is moved by a human, not by us."""
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(JournalUnavailable):
        Journal.open(tmp_path)

    assert (tmp_path / "journal.db").read_bytes() == content


def test_a_journal_of_a_later_release_is_told(journal: Journal) -> None:
    """Writing what a later release can't read would break its chain."""
    journal._db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalUnavailable, match="later release"):
        Journal.open(journal.directory)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The way out names --state."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalUnavailable) as caught:
        Journal.open(tmp_path / "file" / "state")

    assert "--state" in caught.value.fix


def test_a_directory_that_is_not_writable_is_told(tmp_path: Path) -> None:
    """Before a change, not in the middle of one. Root may write everywhere, so a child gives that up."""
    tmp_path.chmod(0o500)
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            Journal.open(tmp_path / "state")
        except JournalUnavailable:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_link_in_place_of_the_journal_is_not_followed(tmp_path: Path) -> None:
    """A journal elsewhere would be somebody else's choice."""
    (tmp_path / "journal.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalUnavailable):
        Journal.open(tmp_path)

    assert not (tmp_path / "elsewhere").exists()


def test_reading_an_absent_journal_makes_nothing(tmp_path: Path) -> None:
    """`runbook runs` on a fresh machine is an empty list."""
    assert Journal.open(tmp_path / "state", write=False).runs() == []
    assert not (tmp_path / "state").exists()


def test_a_reader_cannot_write(journal: Journal, log: RunLog) -> None:
    """`runbook report` must not change what it tells of."""
    reader = Journal.open(journal.directory, write=False)
    with pytest.raises(JournalUnavailable):
        reader.begin(head("other"))

    assert [run.head.id for run in reader.runs()] == [log.run]


def test_a_run_is_read_on_from_any_row(journal: Journal, log: RunLog) -> None:
    """Whoever follows a run asks for what is new, not for everything again."""
    log.record(told("a"))
    other = journal.begin(head("20260105-0901-t-bb"))
    log.record(told("b"))
    other.record(told("c"))

    first = journal.bodies(log.run)
    later = journal.bodies(log.run, first[-2][0])

    assert [seq for seq, _ in first] == [1, 2, 4]
    assert [(seq, decode(body)) for seq, body in later] == [(4, told("b"))]
    assert journal.bodies(log.run, 4) == []
    assert journal.bodies("no such run") == []
