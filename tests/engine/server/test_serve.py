"""``runbook serve``: both parts, kept running, the listener without privileges."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.server import starting
from engine.server.settings import Listen, Settings
from tests.engine.server.working import DEADLINE_S, until
from tests.serving import open_directory


class Serving:
    """Both parts on a port of their own."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.place = place
        (place / "serve.yaml").write_text(f"serve: 1\nlisten: {{port: {self.port}}}\n")
        options = (
            "--settings",
            place / "serve.yaml",
            "--state",
            place / "state",
            "--socket",
            place / "w.sock",
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "serve", *map(str, options)],
            stdout=(place / "out").open("wb"),
            stderr=(place / "log").open("wb"),
            stdin=subprocess.DEVNULL,
        )
        until(self.is_ready)

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def is_ready(self) -> bool:
        assert self.process.poll() is None, (self.place / "log").read_text()
        return self.get("/readyz") == 200

    def part(self, name: str) -> int:
        """The pid of a part."""
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                after = entry.read_text().rpartition(")")[2].split()
                words = (entry.parent / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(after[1]) == self.process.pid and name.encode() in words and after[0] != "Z":
                return int(entry.parent.name)
        return 0

    def post(self, token: str) -> int:
        alert = {"status": "firing", "labels": {"alertname": "X"}, "startsAt": "2026-11-22T00:00:00Z",
                 "annotations": {}, "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "ab"}  # fmt: skip
        body = json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/alerts/alertmanager",
            body,
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def serving() -> Iterator[Serving]:
    with open_directory() as place:
        started = Serving(place)
        try:
            yield started
        finally:
            if started.process.poll() is None:
                started.process.terminate()
                started.process.wait(DEADLINE_S)


def test_an_alert_comes_in_with_the_token_of_the_first_use(serving: Serving) -> None:
    """Its file is named, readable for the listener only; without it nobody gets in."""
    out = (serving.place / "out").read_text()
    token = serving.place / ("alertmanager.token" if os.geteuid() == 0 else "state/alertmanager.token")

    assert str(token) in out
    assert stat.S_IMODE(token.stat().st_mode) & 0o007 == 0
    assert serving.post(token.read_text().strip()) in {200, 202}
    assert serving.post("wrong") == 401


def test_a_part_that_dies_is_started_again(serving: Serving) -> None:
    """Either one."""
    for name in ("worker", "listener"):
        before = serving.part(name)
        os.kill(before, signal.SIGKILL)
        until(lambda name=name, before=before: serving.part(name) not in {0, before})
        until(serving.is_ready)


def test_both_parts_end_with_the_command(serving: Serving) -> None:
    """In good order on SIGINT; also when the command itself is killed."""
    parts = [serving.part("worker"), serving.part("listener")]
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(DEADLINE_S) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in parts)


def test_both_parts_end_though_the_command_is_killed(serving: Serving) -> None:
    """The kernel tells them."""
    parts = [serving.part("worker"), serving.part("listener")]
    serving.process.kill()
    serving.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in parts))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_the_listener_has_no_privilege_left(serving: Serving) -> None:
    """Another user, no group of root's, no capability, and no way to get one."""
    lines = Path(f"/proc/{serving.part('listener')}/status").read_text().splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    assert "0" not in facts["Uid"].split() + facts["Gid"].split() + facts["Groups"].split()
    assert all(int(facts[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert facts["NoNewPrivs"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the listener is the same user")
def test_the_listener_of_a_try_out_shares_its_user_with_nobody(serving: Serving) -> None:
    """Where no user `runbook` is, it takes an id that no other process and no user has, and says so."""
    ours = Path(f"/proc/{serving.part('listener')}").stat().st_uid
    others = [
        entry.name
        for entry in Path("/proc").glob("[0-9]*")
        if entry.exists() and entry.stat().st_uid == ours and int(entry.name) != serving.part("listener")
    ]

    if "runbook" not in {one.pw_name for one in pwd.getpwall()}:
        assert 61184 <= ours < 65520
        assert f"uid {ours}" in (serving.place / "out").read_text()
    assert not others


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the listener is the same user")
def test_a_listener_alone_runs_as_no_user_that_others_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its user root starts none, and is told the command that makes it."""
    monkeypatch.delenv(starting.LENT, raising=False)
    settings = Settings(listen=Listen(user="no-such-user"))

    with pytest.raises(starting.UsageError, match="no-such-user") as caught:
        starting.place(settings, None, None, "listener")
    assert "useradd --system no-such-user" in caught.value.fix
    assert starting.place(settings, None, None, "worker").uid == 0


def test_a_try_out_meets_where_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a state directory of one's own, by option or environment, no part touches production's."""
    monkeypatch.delenv("RUNBOOK_STATE", raising=False)
    standard = starting.place(Settings(), None, None).socket
    chosen = {starting.place(Settings(), tmp_path / name, None).socket for name in ("a", "b")}
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "c"))
    chosen.add(starting.place(Settings(), None, None).socket)

    assert len(chosen) == 3
    assert standard.parent not in {one.parent for one in chosen}


def test_a_state_that_is_served_already_is_refused_at_once(serving: Serving) -> None:
    """One error with its fix, before anything is said to be ready."""
    options = ("--state", serving.place / "state", "--socket", serving.place / "other.sock")
    command = [sys.executable, "-m", "engine.cli", "serve", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)

    assert done.returncode == 3
    assert done.stderr.count("error:") == 1
    assert "choose another --state" in done.stderr
    assert "page:" not in done.stdout


def test_a_state_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """No bug of ours: its place, why, and the option that names another."""
    (tmp_path / "file").write_text("")
    where = starting.place(Settings(), tmp_path / "file" / "state", None)

    with pytest.raises(starting.UsageError, match="can't be made") as caught:
        starting.must_be_alone(where)
    assert "--state" in caught.value.fix


def test_settings_that_are_wrong_end_it_at_once(tmp_path: Path) -> None:
    """With file, line and column."""
    (tmp_path / "serve.yaml").write_text("serve: 1\nlisten: {prt: 1}\n")
    command = [sys.executable, "-m", "engine.cli", "serve", "--settings", str(tmp_path / "serve.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)

    assert done.returncode == 2
    assert "serve.yaml:2" in done.stderr


def test_a_missing_extra_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a traceback."""
    monkeypatch.setattr(starting, "EXTRA", ("starlette", "no_such_library"))
    with pytest.raises(starting.UsageError, match="no_such_library") as caught:
        starting.must_be_installed()
    assert "pip install 'bpf-runbook[server]'" in caught.value.fix


def test_the_first_user_is_made_on_a_terminal_only(tmp_path: Path) -> None:
    """Its password is told there once; a log never holds one."""
    where = starting.Place(
        state=tmp_path / "s",
        socket=tmp_path / "w.sock",
        token=tmp_path / "t",
        uid=os.geteuid(),
        gid=os.getegid(),
    )
    settings = starting.at_home(Settings(), where)
    quiet = list(starting.first_use(settings, where, terminal=False))
    told = list(starting.first_use(settings, where, terminal=True))
    again = list(starting.first_use(settings, where, terminal=True))

    assert "runbook user add" in quiet[1]
    assert "password" in told[1]
    assert len(again) == 1
