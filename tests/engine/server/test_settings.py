"""Settings that could never work are refused when they are read, each complaint with its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import DocumentError
from engine.server import settings

GENERIC = "senders: [{name: one, kind: generic, token_file: /t, mapping: {name: %s}}]"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("senders: [{name: ../x, kind: grafana, token_file: /t}]", "is no name"),
        ("notify: [{name: a, url_file: /u}, {name: a, url_file: /v}]", "'a' stands twice"),
        ("notify: [{name: a, url_file: /u, outcomes: [fixd]}]", "fixd"),
        ("listen: {public_url: 'ftp://host'}", "https://HOST"),
        ("listen: {public_url: 'https://'}", "https://HOST"),
        ("listen: {public_url: 'https://host/../x'}", "https://HOST"),
        ("listen: {public_url: 'https://user@host'}", "https://HOST"),
        ("people: {session: 0s}", "longer than nothing"),
        ("limits: {head_time: 0}", "longer than nothing"),
        ("runs: {cooldown: '{{ x }}'}", "no time"),
        (GENERIC % "a..b", "sender one: 'a..b' is no path"),
    ],
)
def test_what_could_never_work_is_told_with_its_place(tmp_path: Path, written: str, told: str) -> None:
    """File, line, and what would be right."""
    (tmp_path / "serve.yaml").write_text(f"serve: 1\n{written}\n")
    with pytest.raises(DocumentError) as caught:
        settings.load(tmp_path / "serve.yaml")
    assert told in str(caught.value)
    assert "serve.yaml:2" in str(caught.value)


def test_what_is_usual_is_accepted(tmp_path: Path) -> None:
    """Durations of nothing where they mean something, a port in the address, names with signs in them."""
    (tmp_path / "serve.yaml").write_text(
        "serve: 1\nlisten: {public_url: 'https://[::1]:8443/'}\nruns: {cooldown: 0s, runs_kept: 0}\n"
        "senders: [{name: am-2_b.c, kind: grafana, token_file: /t}]\n"
    )
    found = settings.load(tmp_path / "serve.yaml")
    assert found.runs.cooldown == 0


def test_a_sender_without_its_secret_is_told_before_anything_is_ready(tmp_path: Path) -> None:
    """With file, line and the sender's name."""
    (tmp_path / "serve.yaml").write_text(
        f"serve: 1\nsenders:\n  - {{name: one, kind: grafana, token_file: {tmp_path}/none}}\n"
    )
    command = [sys.executable, "-m", "engine.cli", "serve", "--settings", str(tmp_path / "serve.yaml")]
    environment = {**os.environ, "RUNBOOK_STATE": str(tmp_path / "state")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)

    assert done.returncode == 2
    assert "serve.yaml:3" in done.stderr
    assert "sender one" in done.stderr
    assert not done.stdout
