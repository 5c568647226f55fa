"""The keyed chain: whatever is done to the journal without the key is found, and named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import audit
from engine.errors import JournalUnavailable, UsageError
from engine.journal import Journal, chain, keys
from engine.journal.rows import Keyed
from engine.record import Told
from tests.engine import old_journal
from tests.engine.chains import DAY, TABLES, events, found, head, made_anew, make, opened, rows
from tests.faults.mortal import child, ended


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that is whole; never written to."""
    place = tmp_path_factory.mktemp("whole") / "state"
    make(place)
    return place


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to do as one likes with."""
    return Path(shutil.copytree(whole, tmp_path / "state"))


def cells(db: sqlite3.Connection) -> Iterator[tuple[str, str, int, Any]]:
    """Every value in every row of every table: table, column, rowid or number, value."""
    for table in TABLES:
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        for row in db.execute(f"SELECT * FROM {table}").fetchall():
            yield from ((table, name, row[0], value) for name, value in zip(names, row, strict=True))


def other_than(value: Any) -> Any:
    """Something else of the same sort."""
    match value:
        case None:
            return 7
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:]
        case str():
            return value + "x"
        case _:
            return value + 100


def test_any_single_change_of_any_value_is_found(whole: Path, tmp_path: Path) -> None:
    """Every cell of every table, one after the other: no column is outside of what is checked."""
    unseen, count = [], 0
    with sqlite3.connect(whole / "journal.db") as db:
        all_cells = list(cells(db))
    for table, column, key, value in all_cells:
        place = Path(shutil.copytree(whole, tmp_path / "one"))
        db = opened(place)
        first = db.execute(f"PRAGMA table_info({table})").fetchone()[1]
        try:
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {first} = ?", (other_than(value), key))
            count += 1
        except sqlite3.IntegrityError:
            continue  # the tables themselves refuse it
        finally:
            db.close()
            bad = not found(place)
            shutil.rmtree(place)
        if bad and count:
            unseen.append((table, column, key))
    assert count > 200
    assert unseen == []


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_bytes_in_any_row_are_found(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Not only the next value: whatever is put there, in whatever row."""
    shutil.rmtree(tmp_path / "one", ignore_errors=True)
    place = Path(shutil.copytree(whole, tmp_path / "one"))
    db = opened(place)
    row = data.draw(st.sampled_from(rows(db)))
    column = data.draw(st.sampled_from(("prev", "hash", "body", "seal", "kind")))
    old = getattr(row, column)
    new = data.draw(st.text(max_size=80) if column in {"seal", "kind"} else st.binary(max_size=200))
    if new == old:
        return
    db.execute(f"UPDATE events SET {column} = ? WHERE seq = ?", (new, row.seq))
    db.close()

    assert any(
        f"row {row.seq} " in one or "rows" in one or f"row {row.seq + 1} " in one for one in found(place)
    )


def test_each_row_that_is_removed_is_named(whole: Path, tmp_path: Path) -> None:
    """At the beginning, in the middle, at the end."""
    with sqlite3.connect(whole / "journal.db") as db:
        last = db.execute("SELECT max(seq) FROM events").fetchone()[0]
    for seq in range(1, last + 1):
        place = Path(shutil.copytree(whole, tmp_path / "one"))
        db = opened(place)
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))
        db.close()
        kind = "cut-off" if seq == last else "removed"
        assert any(one.startswith(f"{kind}: row {seq} is missing") for one in found(place)), seq
        shutil.rmtree(place)


def test_rows_that_changed_places_are_named(state: Path) -> None:
    """The order in which things happened is part of what is kept."""
    db = opened(state)
    for was, now in ((24, 99), (25, 24), (99, 25)):
        db.execute("UPDATE events SET seq = ? WHERE seq = ?", (now, was))
    db.close()

    assert {one.split(":")[0] for one in found(state)} >= {"altered", "moved"}
    assert any("row 24 " in one for one in found(state))


def test_a_journal_that_was_cut_short_together_with_its_anchor_is_found(state: Path) -> None:
    """Without the key nobody can make an anchor for an earlier end."""
    db = opened(state)
    db.execute("DELETE FROM events WHERE seq > 30")
    tip = rows(db)[-1].hash
    db.close()
    anchor = state / "journal.anchor"
    forged = (
        b"%020d %s\n" % (30, tip.hex().encode()),
        b"%020d %s %b %b\n" % (30, tip.hex().encode(), anchor.read_bytes().split()[2], b"0" * 64),
    )
    for content in forged:
        anchor.write_bytes(content)
        assert any(one.startswith("anchor: the anchor ") for one in found(state))


def test_a_journal_that_was_cut_short_and_went_on_is_still_found(state: Path) -> None:
    """New rows take the numbers of those that are gone, and the anchor follows them: it is on record."""
    db = opened(state)
    (last,) = db.execute("SELECT max(seq) FROM events").fetchone()
    db.execute("DELETE FROM events WHERE seq > 36")
    db.close()
    with Journal.open(state) as journal:
        log = journal.begin(head("later", 90 * DAY))
        for _ in range(20):
            log.record(Told(at=90 * DAY, sentence="as if nothing had happened"))

    assert any(f"rows 37 to {last} had been cut off" in one for one in found(state))
    with Journal.open(state, write=False) as journal:
        assert [row.subject for row in audit.entries(journal) if row.what == "cut"] == [f"rows 37 to {last}"]


def test_an_anchor_that_somebody_made_up_is_not_believed(state: Path) -> None:
    """Else anybody could have the journal say that rows are gone."""
    (state / "journal.anchor").write_bytes(b"%020d %s %b %b\n" % (999, b"a" * 64, b"b" * 8, b"c" * 64))
    with Journal.open(state) as journal:
        journal.begin(head("later", 90 * DAY))
        assert journal.verify() == []


def test_a_row_that_somebody_added_is_found(state: Path) -> None:
    """An intruder can hash, but not with the key."""
    db = opened(state)
    last = rows(db)[-1]
    body = b'{"kind":"told","at":1.0,"sentence":"approved by the boss"}'
    for key, said in (
        (None, "forged: "),
        (keys.of(b"a key of the intruder"), "which is none of those at hand"),
    ):
        db.execute("DELETE FROM events WHERE seq > ?", (last.seq,))
        seal = chain.SEAL + key.id if key else None
        bare = last._replace(
            seq=last.seq + 1, kind="told" if key else None, seal=seal, prev=last.hash, body=body
        )
        made = chain.keyed(key, bare) if key else chain.link(last.hash, bare.seq, bare.run, body)
        db.execute(
            "INSERT INTO events (seq, run, kind, seal, prev, hash, body) SELECT ?, run, ?, ?, ?, ?, ?"
            " FROM events WHERE seq = ?",
            (bare.seq, bare.kind, bare.seal, last.hash, made, body, last.seq),
        )
        assert any(said in one and f"row {bare.seq} " in one for one in found(state))
    db.close()


@pytest.mark.parametrize("whose", [None, keys.of(b"a key of the intruder")], ids=["bare", "another key"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_chain_that_was_made_anew_without_the_key_is_found(
    state: Path, whose: keys.Key | None, version: int
) -> None:
    """Everything is consistent, anchor and version included; only the key is missing."""
    db = opened(state)
    db.execute("UPDATE events SET body = replace(CAST(body AS TEXT), 'anna', 'otto') WHERE seq = 20")
    tip = made_anew(db, whose)
    last = rows(db)[-1].seq
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    chain.Anchor(state / "journal.anchor", whose).write(last, tip)

    said = found(state)
    assert any(one.startswith("forged: ") for one in said)
    assert said


def test_a_row_without_a_key_can_not_follow_keyed_ones(state: Path) -> None:
    """A process of the release before keys that is still there is refused: it would look like an intruder."""
    db = sqlite3.connect(state / "journal.db")
    with pytest.raises(sqlite3.IntegrityError, match="later release"):
        db.execute("INSERT INTO events (seq, run, prev, hash, body) VALUES (999, 1, x'00', x'00', x'00')")


def test_a_tip_kept_elsewhere_finds_a_journal_that_was_put_back_whole(whole: Path, state: Path) -> None:
    """Somebody restores an older copy, anchor and all: only what lies elsewhere tells."""
    with Journal.open(state) as journal:
        journal.begin(head("later", 80 * DAY)).record(Told(at=80 * DAY, sentence="hello"))
        tip = journal.tip()
        assert journal.examine(tip=tip).damages == ()
        assert [one.what for one in journal.examine(tip=(tip[0], "ab" * 32)).damages] == ["altered"]
    with Journal.open(whole, write=False) as older:
        assert older.verify() == []
        assert [one.what for one in older.examine(tip=tip).damages] == ["cut-off"]


def test_without_the_key_it_says_what_could_not_be_checked(state: Path) -> None:
    """Order and tables are; whether all was made anew is not; that is not called whole."""
    (state / "journal.key").unlink()
    with Journal.open(state, write=False) as journal:
        findings = journal.examine()

    assert findings.damages == ()
    assert any("its" not in one and "was not (--key FILE)" in one for one in findings.unchecked)
    db = opened(state)
    db.execute("DELETE FROM events WHERE seq = 25")
    db.close()
    assert any(one.startswith("removed: row 25") for one in found(state))


def test_a_copy_is_checked_with_a_key_that_lies_elsewhere(state: Path, tmp_path: Path) -> None:
    """Offline: the file alone, the key from the safe; nothing is written beside the copy."""
    key = tmp_path / "safe"
    shutil.copy(state / "journal.key", key)
    place = tmp_path / "evidence"
    place.mkdir()
    with sqlite3.connect(state / "journal.db") as source, sqlite3.connect(place / "case-7.db") as copy:
        source.backup(copy)
        tip = source.execute("SELECT seq, lower(hex(hash)) FROM events ORDER BY seq DESC").fetchone()
    copy.execute("PRAGMA journal_mode = DELETE")
    copy.close()
    with Journal.copy(place / "case-7.db") as journal:
        alone = journal.examine([key], complete=False)
        with_tip = journal.examine([key], tip, complete=False)
        without = journal.examine((), tip, complete=False)

    assert (alone.damages, with_tip.damages, with_tip.unchecked) == ((), (), ())
    assert ["--tip" in one for one in alone.unchecked] == [True]
    assert ["--key" in one for one in without.unchecked] == [True]
    assert [path.name for path in place.iterdir()] == ["case-7.db"]


# ── keys ────────────────────────────────────────────────────────────────────────


def test_rows_go_on_with_a_new_key_and_all_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is changed by naming another; the chain says so, and needs both."""
    with Journal.open(tmp_path / "s") as journal:
        journal.begin(head("a", 1.0))
    new = tmp_path / "audit.key"
    new.write_text("another key, long enough\n")
    new.chmod(0o600)
    monkeypatch.setenv("RUNBOOK_AUDIT_KEY_FILE", str(new))
    with Journal.open(tmp_path / "s") as journal:
        journal.begin(head("b", 2.0))
        assert journal.verify() == []
        assert [one.key for one in journal.notes() if isinstance(one, Keyed)] == [
            keys.of(new.read_bytes()).id
        ]
        assert len(journal.examine().keys) == 2
    monkeypatch.delenv("RUNBOOK_AUDIT_KEY_FILE")
    assert any(one.startswith("forged: ") for one in found(tmp_path / "s"))


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(None, 0, "can't be read"), (b"short", 0o600, "holds no key"), (b"x" * 40, 0o644, "by others")],
)
def test_without_a_usable_key_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, mode: int, said: str
) -> None:
    """Rows that can be forged would be worth less than none; the fix is one line."""
    file = tmp_path / "audit.key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    monkeypatch.setenv("RUNBOOK_AUDIT_KEY_FILE", str(file))
    with pytest.raises(JournalUnavailable, match=said) as caught:
        Journal.open(tmp_path / "s")

    assert "chmod 600" in caught.value.fix


def test_a_key_that_is_made_is_private_and_made_once(tmp_path: Path) -> None:
    """Two processes that come first at the same moment work with the same."""
    with Journal.open(tmp_path) as one, Journal.open(tmp_path) as other:
        one.begin(head("a", 1.0))
        other.begin(head("b", 1.0))
        assert one.verify() == []
    assert (tmp_path / "journal.key").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".journal.key*"))


def test_many_that_come_first_make_one_key(tmp_path: Path) -> None:
    """Whoever is second finds the key of the first, wherever it is on its way."""

    def work(number: int) -> None:
        with Journal.open(tmp_path) as journal:
            journal.begin(head(f"run-{number}", 1.0))

    pids = [child(lambda number=number: work(number)) for number in range(8)]  # type: ignore[misc]
    assert [ended(pid) for pid in pids] == [0] * 8
    with Journal.open(tmp_path) as journal:
        assert len(journal.examine().keys) == 1
        assert (journal.verify(), len(journal.runs())) == ([], 8)


def test_a_key_named_for_checking_that_is_none_is_told(tmp_path: Path) -> None:
    """A mistyped path must not look like a forged journal."""
    with Journal.open(tmp_path) as journal, pytest.raises(UsageError, match="can't be read"):
        journal.examine([tmp_path / "nowhere"])


# ── an earlier release's journal ────────────────────────────────────────────────


def test_a_journal_of_the_earlier_release_goes_on(tmp_path: Path) -> None:
    """Its runs, changes and leases are there; it verifies as what it is, before and after."""
    old_journal.write(tmp_path, [(head("old", DAY), events(DAY, undone=False))])
    with Journal.open(tmp_path, write=False) as reader:
        assert reader.verify() == []
        assert (reader.examine().keyed_from, reader.run("old").head.outcome) == (0, "mitigated")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix not in {".db-shm", ".db-wal"}) == [
        "journal.anchor",
        "journal.db",
    ]
    with Journal.open(tmp_path) as journal:
        assert [one.number for one in journal.leases(float("inf"))] == [1]
        journal.begin(head("new", 2 * DAY))
        findings = journal.examine()

    assert (findings.damages, findings.unchecked, findings.keyed_from) == ((), (), 10)
    with Journal.open(tmp_path) as again:
        assert len(again.notes()) == 1


def test_what_was_altered_in_an_old_row_is_found_before_and_after(tmp_path: Path) -> None:
    """The first keyed row stands on the old ones: they can't be rewritten behind it."""
    old_journal.write(tmp_path, [(head("old", DAY), events(DAY, undone=False))])
    with Journal.open(tmp_path):
        pass
    db = opened(tmp_path)
    db.execute("UPDATE events SET body = replace(CAST(body AS TEXT), 'a test', 'a lie') WHERE seq = 8")
    assert any(one.startswith("altered: row 8") for one in found(tmp_path))
    tip = chain.ROOT
    for row in rows(db)[:9]:
        now = chain.link(tip, row.seq, row.run, row.body)
        db.execute("UPDATE events SET prev = ?, hash = ? WHERE seq = ?", (tip, now, row.seq))
        tip = now
    db.close()

    assert any(one.startswith("moved: row 10") for one in found(tmp_path))
