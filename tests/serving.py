"""`runbook serve` as it is installed, its two parts as two processes on loopback, and a sender.

One promise: whatever a test does to them, nothing of theirs is left running.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from engine.server.messages import Answer, Request
from engine.server.wire import Line, WorkerGone

RUNBOOK = Path(sys.executable).with_name("runbook")

Part = Literal["worker", "listener"]
PARTS: tuple[Part, Part] = ("worker", "listener")
Found = TypeVar("Found")


def eventually(
    look: Callable[[], Found],
    *,
    within: float = 30.0,
    why: str | Callable[[], str] = "it did not come about",
) -> Found:
    """What ``look`` gives as soon as it is true; it is asked again and again."""
    deadline = time.monotonic() + within
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{why if isinstance(why, str) else why()} within {within:g} s")
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that all users can enter: as root the listener is another, whom tmp_path shuts out."""
    with tempfile.TemporaryDirectory(prefix="runbook-serve-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def listener_user() -> pwd.struct_passwd:
    """Whom the listener runs as where root starts it."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("runbook") or known["nobody"]


def secret_file(path: Path, secret: str) -> Path:
    """A file that only the listener may read."""
    path.write_text(secret + "\n")
    path.chmod(0o600)
    if os.geteuid() == 0:
        user = listener_user()
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


class Serving:
    """Both parts, with a directory of their own.

    Args:
        home: Where state, settings, token and logs are.
        settings: Parts of ``serve.yaml`` beside where to listen and who may send.
        environment: Beside that of the test.
        runbook: The program; the one of this checkout unless said otherwise.
    """

    def __init__(
        self,
        home: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        runbook: str | Path = RUNBOOK,
    ) -> None:
        self.home, self.state, self.socket = home, home / "state", home / "worker.sock"
        self.users = home / "users.yaml"
        self.port, self.token = free_port(), secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self.port}"
        self._runbook = str(runbook)
        self._environment = {**os.environ, "RUNBOOK_STATE": str(self.state), **(environment or {})}
        self.processes: dict[Part, subprocess.Popen[bytes]] = {}
        home.mkdir(parents=True, exist_ok=True)
        token_file = secret_file(home / "token", self.token)
        given = dict(settings or {})
        document = {
            "serve": 1,
            "listen": {"port": self.port, "user": listener_user().pw_name, **given.pop("listen", {})},
            "senders": [
                {"name": "alertmanager", "kind": "alertmanager", "token_file": str(token_file)},
                *given.pop("senders", ()),
            ],
            "people": {"users_file": str(self.users), **given.pop("people", {})},
            **given,
        }
        self.settings = home / "serve.yaml"
        self.settings.write_text(yaml.safe_dump(document))

    def __enter__(self) -> Serving:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            self._end(process)

    def start(self, *parts: Part) -> None:
        """Start the parts (both unless named), and wait until alerts are taken."""
        for part in parts or PARTS:
            log = (self.home / f"{part}.log").open("ab")
            command = [self._runbook, "serve", "--part", part, "--settings", str(self.settings)]
            command += ["--state", str(self.state), "--socket", str(self.socket)]
            self.processes[part] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self.home,
                start_new_session=True,
            )
            log.close()
        eventually(self._settled, within=30, why=lambda: f"serve was not ready: {self.log()[-2000:]}")
        if not self.ready():
            raise AssertionError(f"a part of serve has ended: {self.log()[-2000:]}")

    def kill(self, part: Part) -> None:
        """Kill -9 one part; for the worker with all that it started."""
        self._end(self.processes[part])

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # each part leads a group of its own
        process.wait(timeout=10)

    def _settled(self) -> bool:
        return self.ready() or any(process.poll() is not None for process in self.processes.values())

    def ready(self) -> bool:
        """Whether the listener answers that alerts are taken."""
        with suppress(OSError, http.client.HTTPException):
            return self.get("/readyz")[0] == 200
        return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def post(
        self, body: object, *, token: str | None = None, sender: str = "alertmanager"
    ) -> tuple[int, bytes]:
        """Post one notification; gives status and body. Raises ``OSError`` when nobody answers."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token or self.token}"}
        try:
            line.request("POST", f"/v1/alerts/{sender}", raw, headers)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def ask(self, request: Request) -> Answer:
        """Ask the worker itself, as commands do."""

        async def once() -> Answer:
            line = Line(self.socket.with_name("control.sock"), timeout_s=20)
            try:
                return await line.ask(request)
            finally:
                await line.close()

        with ThreadPoolExecutor(1) as aside:  # Playwright has a loop of its own in this thread
            return aside.submit(asyncio.run, once()).result()

    def asks(self, request: Request) -> Answer | None:
        """As ``ask``, or None while the worker does not answer."""
        with suppress(WorkerGone):
            return self.ask(request)
        return None

    def add_person(self, name: str, password: str, role: str) -> None:
        """Let somebody log in on the page."""
        self.command("user", "add", name, "--role", role, "--file", str(self.users), stdin=password + "\n")

    def command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command of ``runbook`` beside the parts."""
        return subprocess.run(
            [self._runbook, *words],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def log(self) -> str:
        """All that both have said."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.home.glob("*.log")))


def notification(*alerts: Mapping[str, Any], status: str = "firing") -> dict[str, Any]:
    """A body as Alertmanager 0.25 posts it."""
    return {
        "receiver": "runbook",
        "status": status,
        "alerts": list(alerts),
        "groupLabels": {"alertname": alerts[0]["labels"]["alertname"]} if alerts else {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "version": "4",
        "groupKey": '{}:{alertname="any"}',
        "truncatedAlerts": 0,
    }


def alert(
    name: str, number: int = 0, *, status: str = "firing", labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One alert of such a body; ``number`` makes it another one."""
    over = "2026-01-01T00:10:00Z" if status == "resolved" else "0001-01-01T00:00:00Z"
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "warning", **(labels or {})},
        "annotations": {"summary": f"{name} {number}"},
        "startsAt": "2026-01-01T00:00:00.123Z",
        "endsAt": over,
        "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=up",
        "fingerprint": f"{number:016x}",
    }
