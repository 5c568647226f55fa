"""Hostile senders against the real pair, listener and worker as they are installed.

Whatever they send: nothing of it is executed, nothing of ours comes back, memory stays bounded, and a good
sender is served all the while.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from engine.server.messages import AlertRow, Alerts, GetAlerts, GetStats, Stats
from tests.serving import Serving, alert, eventually, free_port, notification, open_directory, secret_file

pytestmark = pytest.mark.slow

SECRET = "a-secret-that-nobody-is-told"
LIMITS = {"head_time": "1s", "body_time": "2s", "idle_time": "5s", "connections": 400, "per_address": 200}
RUNBOOK = """
runbook: hostile
summary: Shows what came with an alert.
triggers:
  - alert: Hostile
    inputs: {text: "{{ alert.labels.text }}"}
inputs:
  text: {type: text, default: none}
steps:
  - tell: "It says {{ inputs.text }}."
"""
#: Each makes this file where it is run, or rendered as a template, or becomes 49.
NASTY = (
    "{{7*7}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "${7*7} #{7*7} <%= 7*7 %>",
    "$(touch CANARY); `touch CANARY` | touch CANARY & touch CANARY",
    "'; touch CANARY; '",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "'; DROP TABLE alerts; --",
    "../../../../etc/passwd",
    "!!python/object/apply:os.system ['touch CANARY']",
    "a\0b",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred\r\nforged: line",
    "\ud83d\ude00" * 50,
    "--help",
    "-e/bin/sh",
    "%s%n%x" * 20,
    "A" * 5000,
)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """One pair for all tests here: what one sender does must not harm the next test either."""
    with open_directory() as home:
        (home / "runbooks").mkdir()
        (home / "runbooks/hostile.yaml").write_text(RUNBOOK)
        (home / "runbooks/told.yaml").write_text(
            RUNBOOK.replace("hostile", "told").replace("Hostile", "Told")
        )
        secret = secret_file(home / "secret", SECRET)
        signed = {"name": "signed", "kind": "grafana", "signature": {"secret_file": str(secret)}}
        settings = {"limits": LIMITS, "senders": [signed], "runs": {"cooldown": "0s"}}
        environment = {"RUNBOOK_PATH": str(home / "runbooks")}
        with Serving(home / "serve", settings=settings, environment=environment) as pair:
            yield pair


@pytest.fixture(autouse=True)
def unharmed(serving: Serving) -> Iterator[None]:
    """After each test: both run, a good alert is taken, nothing leaked, nothing was executed."""
    before = {part: _rss(process.pid) for part, process in serving.processes.items()}
    yield
    assert all(process.poll() is None for process in serving.processes.values()), serving.log()[-3000:]
    status, answer = eventually(lambda: _posted(serving), within=10, why="a good alert is not taken")
    assert status == 202, answer
    after = {part: _rss(process.pid) for part, process in serving.processes.items()}
    assert all(after[part] < before[part] + (48 << 20) for part in after), (before, after)
    said = serving.log()
    assert serving.token not in said
    assert SECRET not in said
    assert "Traceback" not in said, said[said.index("Traceback") :][:3000]
    assert "\x1b" not in said
    assert not list(serving.home.parent.rglob("CANARY"))


def _rss(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def _posted(serving: Serving) -> tuple[int, bytes] | None:
    with suppress(OSError):
        return serving.post(notification(alert("Good", random.getrandbits(60))))
    return None


def _talk(serving: Serving, raw: bytes, *, source: str = "127.0.0.1", within: float = 10) -> bytes:
    """Send bytes, read what comes until the end."""
    with socket.create_connection(("127.0.0.1", serving.port), within, (source, 0)) as line:
        with suppress(ConnectionError):
            line.sendall(raw)
        return _rest(line)


def _rest(line: socket.socket) -> bytes:
    got = b""
    with suppress(ConnectionError, TimeoutError):
        while piece := line.recv(65536):
            got += piece
    return got


def _request(serving: Serving, body: bytes, *fields: str, path: str = "/v1/alerts/alertmanager") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def _status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1.1 (\d+)", answer)
    return int(found[1]) if found else 0


def _leaks_nothing(serving: Serving, answer: bytes) -> None:
    for secret in (serving.token, SECRET, str(serving.home), "Traceback", "engine/", ".py"):
        assert secret.encode() not in answer, answer[:2000]


def _counted(serving: Serving) -> int:
    found = serving.ask(GetStats())
    assert isinstance(found, Stats)
    return sum(found.alerts.values())


GOOD = json.dumps(notification(alert("Good", 1))).encode()


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Authorization: Bearer",
        "Authorization: Bearer wrong",
        "Authorization: Basic d3Jvbmc6d3Jvbmc=",
        "Authorization: {token}",
        "Authorization: Bearer {token}x",
        "Authorization: Bearer {shorter}",
        "Authorization: Bearer \x00",
        "Authorization: Bearer " + "ü" * 100,
        "X-Token: {token}",
    ],
)
def test_nobody_is_taken_without_the_right_token(serving: Serving, field: str):
    """401, nothing on disk, and nothing said about the token."""
    before = _counted(serving)
    field = field.format(token=serving.token, shorter=serving.token[:-1])
    answer = _talk(serving, _request(serving, GOOD, *([field] if field else [])))
    assert _status(answer) in {400, 401}
    _leaks_nothing(serving, answer)
    assert _counted(serving) == before


@pytest.mark.parametrize("path", ["/v1/alerts/nobody", "/v1/alerts/", "/v1/alerts/alertmanager/../signed"])
def test_an_unknown_sender_is_told_no_more_than_a_wrong_token(serving: Serving, path: str):
    """Who may send is nobody's business."""
    answer = _talk(serving, _request(serving, GOOD, f"Authorization: Bearer {serving.token}", path=path))
    assert _status(answer) in {401, 404}
    _leaks_nothing(serving, answer)


def _signed(body: bytes, *, at: float | None = None, over: bytes | None = None) -> tuple[str, str]:
    when = str(int(time.time() if at is None else at))
    whole = when.encode() + b"." + (body if over is None else over)
    signature = hmac.new(SECRET.encode(), whole, hashlib.sha256).hexdigest()
    return f"X-Runbook-Signature: {signature}", f"X-Runbook-Timestamp: {when}"


def _grafana(number: int) -> bytes:
    return json.dumps({**notification(alert("Signed", number)), "orgId": 1, "state": "alerting"}).encode()


def test_a_signature_counts_once_for_its_body_and_its_time(serving: Serving):
    """A replay, another body, another time, a time long past: all refused."""
    body = _grafana(1)
    fields = _signed(body)
    assert _status(_talk(serving, _request(serving, body, *fields, path="/v1/alerts/signed"))) == 202
    for wrong, signature in (
        (body, fields),
        (_grafana(2), fields),
        (_grafana(3), _signed(_grafana(3), over=b"other")),
        (_grafana(4), _signed(_grafana(4), at=time.time() - 3600)),
        (_grafana(5), _signed(_grafana(5), at=time.time() + 3600)),
        (_grafana(6), ("X-Runbook-Signature: 00", "X-Runbook-Timestamp: 1e999")),
        (_grafana(7), (f"Authorization: Bearer {serving.token}",)),
    ):
        answer = _talk(serving, _request(serving, wrong, *signature, path="/v1/alerts/signed"))
        assert _status(answer) in {400, 401}, (wrong[:40], answer)
        _leaks_nothing(serving, answer)


@pytest.mark.parametrize("token", [True, False])
def test_a_hundred_megabytes_are_not_read(serving: Serving, token: bool):
    """Refused by its head, or once it has gone on for too long; the listener's memory stays."""
    field = f"Authorization: Bearer {serving.token if token else 'wrong'}"
    head = f"POST /v1/alerts/alertmanager HTTP/1.1\r\nHost: x\r\n{field}\r\n"
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    for framing, chunk in (
        ("Content-Length: 104857600", b"a" * 65536),
        ("Transfer-Encoding: chunked", piece),
    ):
        with socket.create_connection(("127.0.0.1", serving.port), 10) as line:
            line.sendall(f"{head}{framing}\r\n\r\n".encode())
            sent = 0
            with suppress(OSError):
                for _ in range(1600):
                    line.sendall(chunk)
                    sent += len(chunk)
            answer = _rest(line)
        assert _status(answer) in {0, 401, 413}
        assert sent < 64 << 20


@contextmanager
def _good_sender(serving: Serving) -> Iterator[list[tuple[int, float]]]:
    """A good alert ten times a second, each on a connection of its own: statuses and seconds."""
    seen: list[tuple[int, float]] = []
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.1):
            began = time.monotonic()
            found = _posted(serving)
            seen.append((found[0] if found else 0, time.monotonic() - began))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _all_served(seen: list[tuple[int, float]]) -> None:
    assert seen
    assert {status for status, _ in seen} == {202}


def test_who_sends_byte_by_byte_keeps_nobody_else_waiting(serving: Serving):
    """Slow heads and slow bodies are ended after their time; a good sender does not notice."""
    head = b"POST /v1/alerts/alertmanager HTTP/1.1\r\nHost: x\r\nX-Slow: "
    body = _request(serving, GOOD, f"Authorization: Bearer {serving.token}")[: -len(GOOD) // 2]
    with _good_sender(serving) as seen, ExitStack() as lines:
        opened = [
            lines.enter_context(socket.create_connection(("127.0.0.1", serving.port), 10, ("127.0.0.2", 0)))
            for _ in range(100)
        ]
        for number, line in enumerate(opened):
            line.sendall(head if number % 2 else body)
        ended: set[int] = set()
        deadline = time.monotonic() + 15
        while len(ended) < len(opened) and time.monotonic() < deadline:
            for number, line in enumerate(opened):
                if number not in ended and _has_ended(line):
                    ended.add(number)
            time.sleep(0.1)
        assert len(ended) == len(opened)
    _all_served(seen)


def _has_ended(line: socket.socket) -> bool:
    """Send one more byte; whether the other end has closed."""
    try:
        line.sendall(b"a")
        line.settimeout(0.001)
        return line.recv(65536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_two_thousand_connections_leave_room_for_a_good_sender(serving: Serving):
    """One address gets so many; another is served all the while."""
    with _good_sender(serving) as seen, ExitStack() as lines:
        for _ in range(2000):
            with suppress(OSError):
                line = socket.create_connection(("127.0.0.1", serving.port), 5, ("127.0.0.2", 0))
                lines.enter_context(line)
        process = psutil.Process(serving.processes["listener"].pid)
        assert process.num_fds() < 600
        eventually(lambda: len(seen) > 10)
    _all_served(seen)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"alerts":' * 50_000,
        b'{"version": "4", "alerts": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"version": "5", "status": "firing", "alerts": []}',
        b'{"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": 7}}]}',
        b'{"version": "4", "alerts": [{"status": "firing", "startsAt": 1e999, "labels": {"a": "b"}}]}',
        b'{"version": "4", "truncatedAlerts": ' + b"9" * 5000 + b', "alerts": []}',
        b'{"version": "4", "alerts": "' + b"\\u0000" * 1000 + b'"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_notification_is_refused_once_and_for_all(serving: Serving, body: bytes):
    """4xx: it can never be valid, so nobody sends it again."""
    status, answer = serving.post(body)
    assert 400 <= status < 500, answer
    _leaks_nothing(serving, answer)


@pytest.mark.parametrize("text", NASTY, ids=lambda text: ascii(text[:16]))
def test_texts_of_an_alert_stay_texts(serving: Serving, text: str):
    """In every field, in names of labels too: kept or refused, never executed, never a template."""
    number = random.getrandbits(60)
    whole = notification(alert("Hostile", number, labels={"text": text, "target": text, "runbook": text}))
    one = whole["alerts"][0]
    one["annotations"] |= {"summary": text, "description": text}
    one["generatorURL"] = whole["externalURL"] = f"javascript:{text}"
    whole["groupKey"] = whole["receiver"] = text
    status, answer = serving.post(whole)
    assert status == 202, answer
    _leaks_nothing(serving, answer)
    kept = _kept(serving, number)
    if len(text) < 4096:
        assert kept.alert.labels["text"].replace("\ufffd", "").strip("\0") or text == "a\0b"
        assert "49" not in kept.alert.labels["text"]
    assert not kept.alert.url.startswith("javascript")
    status, answer = serving.post(
        notification({**one, "labels": {**one["labels"], text: "x", "alertname": text}})
    )
    assert status in {202, 400}, answer


def _kept(serving: Serving, number: int, name: str = "Hostile") -> AlertRow:
    found = serving.ask(GetAlerts(name=name, limit=200))
    assert isinstance(found, Alerts)
    return next(row for row in found.rows if row.alert.fingerprint == f"alertmanager/{number:016x}")


def test_a_run_shows_what_came_and_computes_none_of_it(serving: Serving):
    """The template stands in the runbook; what an alert brings is its value, not its text."""
    number = random.getrandbits(60)
    serving.post(notification(alert("Told", number, labels={"text": "{{ 6*7 }} $(id)"})))
    run = eventually(lambda: _kept(serving, number, "Told").run, why="no run was started")
    told = eventually(lambda: _report(serving, run), why="the run did not end")
    assert "It says {{ 6*7 }} $(id)." in told
    assert "uid=" not in told


def _report(serving: Serving, run: str) -> str:
    done = serving.command("report", run, "--json")
    return json.dumps(json.loads(done.stdout)) if done.returncode == 0 and '"ended"' in done.stdout else ""


def test_an_alert_that_no_runbook_knows_is_kept_and_starts_nothing(serving: Serving):
    """Taken, so that its sender does not send it for ever; and `runbook alerts` tells that nothing fits."""
    first = random.getrandbits(60)
    alerts = [alert("NobodyKnowsThis", first + number) for number in range(100)]
    status, answer = serving.post(notification(*alerts))
    assert status == 202
    assert {one["fate"] for one in json.loads(answer)["alerts"]} == {"unmatched"}


def test_what_alerts_hold_reaches_a_terminal_as_text(serving: Serving):
    """No escape sequence, no other control character, no turned line in `runbook alerts`."""
    name = "Esc\x1b[31m\u202eEvil\r\n"
    serving.post(notification(alert(name, random.getrandbits(60), labels={"text": name})))
    shown = serving.command("alerts", "--state", str(serving.state)).stdout
    assert "Evil" in shown
    assert not set(shown) & set("\x1b\r\u202e\0")


def test_no_other_route_starts_anything(serving: Serving):
    """Without a login and without a token there is nothing that can be done."""
    before = _counted(serving)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"):
        for path in (
            "/",
            "/runs",
            "/v1/runs",
            "/v1/alerts",
            "/api",
            "/approve",
            "/metrics",
            "/healthz",
            "//",
            "*",
        ):
            answer = _talk(
                serving, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            assert _status(answer) < 500, (method, path, answer)
            _leaks_nothing(serving, answer)
    assert _counted(serving) == before


def _framed(*fields: str, rest: str = "") -> bytes:
    """A post with fields of its own about its length."""
    head = ["POST /v1/alerts/alertmanager HTTP/1.1", "Host: x", "Authorization: Bearer TOKEN", *fields]
    return "\r\n".join([*head, "", rest]).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(200),
        bytes(range(256)) * 100,
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000,
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        _framed("Content-Length: 5", "Content-Length: 6"),
        _framed("Content-Length: 5", "Transfer-Encoding: chunked", rest="0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"),
        _framed("Content-Length: -1"),
        _framed("Transfer-Encoding: chunked", rest="fffffffffffffffff\r\n"),
    ],
    ids=["tls", "binary", "fields", "path", "two-lengths", "length-and-chunks", "negative", "huge-chunk"],
)
def test_bytes_that_are_no_http_end_their_connection_and_nothing_else(serving: Serving, raw: bytes):
    """Whatever it is, it is answered with 4xx or not at all."""
    answer = _talk(serving, raw.replace(b"TOKEN", serving.token.encode()))
    assert _status(answer) in {0, 400, 401, 408, 411, 413, 414, 431}, answer
    _leaks_nothing(serving, answer)


def test_files_of_the_host_are_never_given(serving: Serving, tmp_path: Path):
    """Paths that climb out of the page's files."""
    del tmp_path
    for path in (
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc/passwd",
        "/%00",
    ):
        answer = _talk(serving, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"root:" not in answer
        assert _status(answer) < 500


def test_the_port_is_only_on_loopback(serving: Serving):
    """Unless the settings say otherwise nobody else can reach it."""
    listening = {
        place.laddr.ip
        for place in psutil.Process(serving.processes["listener"].pid).net_connections("inet")
        if place.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert not psutil.Process(serving.processes["worker"].pid).net_connections("inet")
    assert free_port()
