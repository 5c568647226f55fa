"""Secrets planted where agents, commands, alerts and people leave them are found nowhere else."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from engine.server.messages import GetRun, RunFound
from engine.server.worker import passwords, users
from tests.serving import RUNBOOK, Serving, alert, eventually, notification, open_directory, secret_file

pytestmark = pytest.mark.timeout(180)

#: Where it is planted → the secret. Each is of another form, so that what leaks tells where.
PLANTED = {
    "a declared input": "correct-horse-battery",
    "an alert's label": "l4bel-s3cret",
    "an alert's annotation": "4nnotation-s3cret",
    "an alert's address": "4ddress-s3cret",
    "a command's output": "ghp_0utput0utput0utput0utput0utput0utput",
    "a command's errors": "3rrors-s3cret",
    "a key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw",
    "a sender's token": "",
    "a person's password": "p4ssword-of-anna",
    "a service's address": "s3rvice-s3cret",
}

LOOKS = """\
runbook: looks
triggers:
  - {alert: Planted, target: "", inputs: {note: "{{ alert.annotations.note }}"}}
inputs:
  note: {type: text, default: ""}
steps:
  - {wait: for a moment, for: 1s}
  - run: [PROGRAM]
    reads: true
  - tell: "it says {{ output.stdout }} of {{ inputs.note }}"
"""
NEEDS = """\
runbook: needs
inputs:
  token: {type: text, secret: true}
steps:
  - {wait: for a moment, for: 1s}
  - tell: "the token is {{ inputs.token }}, base64 and all"
"""
PROGRAM = """\
#!/bin/sh
echo 'clone https://github.com/x with OUTPUT'
echo '-----BEGIN PRIVATE KEY-----'
echo 'KEY'
echo '-----END PRIVATE KEY-----'
echo 'Authorization: Bearer ERRORS' >&2
"""


class Service:
    """Takes notifications, as a chat service does."""

    def __init__(self) -> None:
        taken: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.taken = taken
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Lines:
    """Command lines and environments of all processes, as they come and go."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            for entry in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self.seen.add((entry / "cmdline").read_bytes())

    def close(self) -> bytes:
        self._end.set()
        self._thread.join()
        return b"\n".join(self.seen)


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory() as place:
        yield place


def planted_alert() -> dict[str, Any]:
    one = alert("Planted", 7, labels={"db_password": PLANTED["an alert's label"]})
    note = "see postgres://u:" + PLANTED["an alert's annotation"] + "@db/x"
    one["annotations"] |= {"note": note, "summary": f"it fires: {note}"}
    one["generatorURL"] = "http://p:9090/graph?token=" + PLANTED["an alert's address"]
    return one


def pages(serving: Serving, paths: list[str]) -> bytes:
    """What somebody who is logged in sees."""
    line = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)

    def get(path: str, cookies: str = "") -> tuple[http.client.HTTPResponse, bytes]:
        line.request("GET", path, headers={"Cookie": cookies})
        answer = line.getresponse()
        return answer, answer.read()

    answer, body = get("/login")
    cookies = _cookies(answer)
    form = re.search(rb'name="form" value="([^"]+)"', body)
    assert form is not None
    fields = {"user": "anna", "password": PLANTED["a person's password"], "form": form[1].decode()}
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies, "Origin": serving.url}
    line.request("POST", "/login", urlencode(fields), kind)
    answer = line.getresponse()
    first = answer.read()
    assert answer.status in {302, 303}, first[:2000]
    cookies = _cookies(answer) or cookies
    found = [first]
    for path in paths:
        answer, body = get(path, cookies)
        assert answer.status == 200, (path, answer.status)
        found.append(body)
    line.close()
    return b"\n".join(found)


def _cookies(answer: http.client.HTTPResponse) -> str:
    return "; ".join(one.split(";")[0] for one in answer.headers.get_all("Set-Cookie") or ())


def test_a_planted_secret_is_found_nowhere(home: Path) -> None:
    """Not in the state directory with its write-ahead logs, reports, pages, logs, notices, command lines."""
    books, service, lines = home / "books", Service(), Lines()
    books.mkdir()
    program = home / "program"
    text = PROGRAM.replace("OUTPUT", PLANTED["a command's output"])
    text = text.replace("KEY'", PLANTED["a key"] + "'").replace("ERRORS", PLANTED["a command's errors"])
    program.write_text(text)
    program.chmod(0o755)
    (books / "looks.yaml").write_text(LOOKS.replace("PROGRAM", str(program)))
    (books / "needs.yaml").write_text(NEEDS)
    policy = home / "policy.yaml"
    policy.write_text(f"policy: 1\ncommands:\n  - {{run: {program}, reads: true, owner: tests}}\n")
    people = home / "users.yaml"
    hashed = passwords.make(PLANTED["a person's password"])
    users.save(people, [users.User(name="anna", role="approver", password=hashed)])
    address = secret_file(
        home / "address", "json://bot:" + PLANTED["a service's address"] + f"@127.0.0.1:{service.port}/x"
    )
    notify = {"name": "chat", "url_file": str(address), "outcomes": ["healthy", "fixed", "failed"]}
    environment = {"RUNBOOK_PATH": str(books), "RUNBOOK_POLICY": str(policy)}
    settings = {"notify": [notify], "people": {"users_file": str(people)}, "log": "json"}
    said: list[str] = []
    with Serving(home / "serve", settings=settings, environment=environment) as serving:
        status, body = serving.post(notification(planted_alert()))
        run = json.loads(body)["alerts"][0]["run"]
        assert (status, bool(run)) == (202, True), body
        serving.post(notification(planted_alert()), token="wrong-" + serving.token)
        eventually(lambda: _ended(serving, run), within=60)
        eventually(lambda: service.taken, within=60, why="nobody was told")
        said += _declared(serving, home, environment)
        for form in ("html", "md", "txt", "json"):
            place = home / f"report.{form}"
            told = serving.command("report", run, "-o", str(place))
            assert told.returncode == 0, told.stderr
            said.append(place.read_text())
        for words in (
            ("audit",),
            ("audit", "--format", "json"),
            ("alerts", "--json"),
            ("runs",),
            ("report", run),
        ):
            told = serving.command(*words)
            said.append(told.stdout + told.stderr)
        shown = pages(serving, ["/", f"/runs/{run}", f"/runs/{run}/report", "/alerts", "/audit"])
        everything = b"\n".join(
            file.read_bytes() for file in sorted(serving.state.rglob("*")) if file.is_file()
        )
        token = serving.token
        log = serving.log()
    service.close()
    places = {
        "state": everything,
        "pages": shown,
        "log": log.encode(),
        "notices": b"\n".join(service.taken),
        "commands": "\n".join(said).encode(),
        "command lines": lines.close(),
    }
    assert b"Planted" in places["state"]
    assert b"(secret)" in places["notices"] or b"looks" in places["notices"]
    assert b"(secret)" in places["pages"]
    planted = {**PLANTED, "a sender's token": token}
    leaks = [
        f"{what} in {where}"
        for what, one in planted.items()
        for where, text in places.items()
        if one.encode() in text
    ]
    assert not leaks


def _ended(serving: Serving, run: str) -> bool:
    found = serving.asks(GetRun(run=run))
    return isinstance(found, RunFound) and found.state == "ended"


def _declared(serving: Serving, home: Path, environment: dict[str, str]) -> list[str]:
    """A run with a secret input, at a terminal: what it shows, as text and as JSON."""
    secret = home / "secret"
    secret.write_text(PLANTED["a declared input"] + "\n")
    words = [str(RUNBOOK), "run", "needs", "-i", f"token=@{secret}", "--state", str(serving.state)]
    shown = []
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*words, *more],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "(secret)" in done.stdout + done.stderr
        shown.append(done.stdout + done.stderr)
    return shown
