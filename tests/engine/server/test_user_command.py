"""`runbook user`: who may log in, without a password on any command line."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine import cli
from engine.server.worker import passwords, users

WORDS = "correct horse battery"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "users.yaml"


def call(capsys, monkeypatch, *argv: str, typed: str = WORDS) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{typed}\n"))
    code = cli.main(["user", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_user_is_added_changed_and_taken_away(file, capsys, monkeypatch):
    """The whole life of a user, each step on disk and readable by its owner only."""
    at = ("--file", str(file))
    assert call(capsys, monkeypatch, "add", "anna", "--role", "approver", *at)[0] == 0
    (anna,) = users.load(file)
    assert (anna.name, anna.role, passwords.matches(WORDS, anna.password)) == ("anna", "approver", True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert WORDS not in file.read_text()
    assert call(capsys, monkeypatch, "passwd", "anna", *at, typed="another pass phrase")[0] == 0
    assert passwords.matches("another pass phrase", users.load(file)[0].password)
    assert call(capsys, monkeypatch, "role", "anna", "viewer", *at)[0] == 0
    assert users.load(file)[0].role == "viewer"
    code, out, _ = call(capsys, monkeypatch, "list", "--json", *at)
    assert (code, json.loads(out)["users"]) == (0, [{"name": "anna", "role": "viewer"}])
    assert call(capsys, monkeypatch, "remove", "anna", *at)[0] == 0
    assert users.load(file) == ()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("argv", "typed", "problem", "fix"),
    [
        (("add", "bert"), "short", "12 to 1024 characters", "several words"),
        (("add", "bert"), "", "this one has 0", "several words"),
        (("add", "a b"), WORDS, "'a b' can't be a user's name", "letters, digits"),
        (("add", "-x;$(id)"), WORDS, "no such option", "--help"),
        (("add", "anna"), WORDS, "there is a user anna already", "runbook user passwd anna"),
        (("add", "bert", "--role", "chief"), WORDS, "'chief'", "--help"),
        (("passwd", "ana"), WORDS, "there is no user named 'ana'", "did you mean 'anna'?"),
        (("remove", "ana"), WORDS, "there is no user named 'ana'", "did you mean 'anna'?"),
    ],
)
def test_what_can_t_be_done_says_why_and_changes_nothing(
    file, capsys, monkeypatch, argv, typed, problem, fix
):
    """What happened, then the fix; the file stays byte for byte."""
    users.save(file, [users.User(name="anna", role="viewer", password=passwords.make(WORDS))])
    before = file.read_bytes()
    code, out, err = call(capsys, monkeypatch, *argv, "--file", str(file), typed=typed)
    assert (code, out) == (2, "")
    assert problem in err
    assert fix in err
    assert file.read_bytes() == before


def test_the_users_file_of_the_settings_counts(tmp_path, capsys, monkeypatch):
    """Where `runbook serve` looks is where they are written."""
    settings = tmp_path / "serve.yaml"
    settings.write_text(f"serve: 1\npeople:\n  users_file: {tmp_path}/mine.yaml\n")
    monkeypatch.setenv("RUNBOOK_SERVE", str(settings))
    assert call(capsys, monkeypatch, "add", "anna")[0] == 0
    assert users.load(tmp_path / "mine.yaml")[0].role == "viewer"
    code, out, _ = call(capsys, monkeypatch, "list")
    assert (code, out.split()) == (0, ["NAME", "ROLE", "anna", "viewer"])


def test_at_a_terminal_the_password_is_asked_for_twice_without_echo(file):
    """Nobody reads it over a shoulder, nor in the terminal's history."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.cli", "user", "add", "anna", "--file", str(file)],
        stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    shown = b""
    for question in (b"Password: ", b"The same again: "):
        while not shown.endswith(question):
            shown += os.read(outer, 1024)
        os.write(outer, f"{WORDS}\n".encode())
    try:
        while more := os.read(outer, 1024):
            shown += more
    except OSError:  # the other end has closed
        pass
    os.close(outer)
    assert process.wait(30) == 0
    assert WORDS.encode() not in shown
    assert passwords.matches(WORDS, users.load(file)[0].password)
