"""`runbook audit`: what is typed, and what comes of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from engine.cli import main
from engine.journal import Journal
from tests.engine.chains import make, opened


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal with a bit of everything."""
    make(tmp_path / "state")
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["audit", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_form_is_told_by_the_files_ending(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-o audit.html` says all that is needed."""
    for ending, begins in (("html", "<!doctype"), ("csv", "at,run,what"), ("json", "["), ("txt", "20")):
        file = tmp_path / f"audit.{ending}"
        code, out, _ = call(capsys, "-o", str(file))
        assert (code, out.startswith(f"written: {file}")) == (0, True)
        assert file.read_text().startswith(begins)


def test_times_are_spans_days_or_moments(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As one says them; anything else is told."""
    _, everything, _ = call(capsys, "--json")
    _, day, _ = call(capsys, "--since", "1970-03-02", "--until", "1970-03-02T01:00:00Z", "--json")
    assert {row["run"] for row in json.loads(day)} == {"new-2"}
    assert len(json.loads(everything)) > len(json.loads(day)) > 0
    assert call(capsys, "--since", "30d", "--run", "new-1")[:2] == (0, "nothing happened then\n")
    code, _, err = call(capsys, "--since", "soon")
    assert (code, "30d, 2026-11-22" in err) == (2, True)


def test_verify_of_a_whole_journal_ends_with_0_and_gives_the_tip(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tip is what one keeps elsewhere, and gives back with --tip."""
    code, out, _ = call(capsys, "--verify")
    assert (code, out.splitlines()[0]) == (0, "whole: 41 rows, none altered, removed or moved")
    tip = next(line.split()[-1] for line in out.splitlines() if "tip: " in line)
    assert call(capsys, "--verify", "--tip", tip)[0] == 0
    assert call(capsys, "--verify", "--tip", f"41:{'a' * 64}")[0] == 4
    code, _, err = call(capsys, "--verify", "--tip", "hello")
    assert (code, "ROW:HASH" in err) == (2, True)


def test_verify_of_an_altered_journal_ends_with_4_and_names_the_row(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script asks for the exit code, a human for the row."""
    db = opened(state)
    db.execute(
        "UPDATE events SET body = replace(CAST(body AS TEXT), 'a test', 'a lie') WHERE kind = 'settled'"
    )
    db.close()
    code, out, _ = call(capsys, "--verify")

    assert (code, out.startswith("ALTERED")) == (4, True)
    assert "of run new-1 was altered" in out


def test_a_copy_is_verified_where_no_runbook_ever_ran(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and key from wherever they lie; without the key it says what was not checked, and ends with 4."""
    key, copy = tmp_path / "k", tmp_path / "case.db"
    shutil.copy(state / "journal.key", key)
    with Journal.open(state) as journal:
        tip = journal.tip()
    with sqlite3.connect(state / "journal.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
    shutil.rmtree(state)
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "nothing"))
    words = ("--verify", "--journal", str(copy), "--tip", f"{tip[0]}:{tip[1]}")

    assert call(capsys, *words, "--key", str(key))[0] == 0
    code, out, _ = call(capsys, *words)
    assert (code, out.startswith("NOT SHOWN TO BE WHOLE")) == (4, True)
    assert "not checked: rows 19 to 41 were made with the key" in out
    code, out, _ = call(capsys, "--journal", str(copy), "--run", "new-1")
    assert (code, "new-1" in out) == (0, True)
    assert not (tmp_path / "nothing").exists()


def test_a_journal_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped path is no whole journal."""
    code, _, err = call(capsys, "--verify", "--journal", str(tmp_path / "nowhere.db"))

    assert (code != 0, "nowhere.db" in err) == (True, True)


def test_a_file_that_can_not_be_written_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody believes that it is there."""
    code, _, err = call(capsys, "-o", "/nowhere/audit.html")

    assert (code, "could not be written" in err) == (2, True)
