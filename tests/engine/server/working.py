"""A real worker in a process of its own, for tests: started, asked, killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.server import messages
from engine.server.alerts.alert import Alert
from engine.server.messages import RunRow
from engine.server.wire import Line, WorkerGone

#: How long anything may take on a machine that does much else.
DEADLINE_S = 40.0

RUNBOOKS = {
    "quick": "runbook: quick\ntriggers: [{alert: Quick, target: ''}]\nsteps: [{tell: hello}]\n",
    "slow": (
        "runbook: slow\ntriggers: [{alert: Slow, target: ''}]\n"
        "steps: [{tell: begun}, {wait: a while, for: 3s}, {tell: over}]\n"
    ),
    "nobody": (
        "runbook: nobody\ntriggers: [{alert: Nobody, target: 'no-such-agent'}]\nsteps: [{look: event-flow}]\n"
    ),
    "asks": (
        "runbook: asks\ntriggers: [{alert: Asks, target: ''}]\n"
        "steps: [{ask: 'Go on?', expires: 1h}, {tell: 'went on'}]\n"
    ),
    "asks-soon": (
        "runbook: asks-soon\ntriggers: [{alert: AsksSoon, target: ''}]\n"
        "steps: [{ask: 'Go on?', expires: 1s}, {tell: 'went on'}]\n"
    ),
}


class Worker:
    """One worker on one state directory."""

    def __init__(self, place: Path, **settings: object) -> None:
        self.place = place
        self.state = place / "state"
        self.settings = place / "serve.yaml"
        book = place / "books"
        book.mkdir(exist_ok=True)
        for name, text in RUNBOOKS.items():
            (book / f"{name}.yaml").write_text(text)
        runs = "\n".join(f"  {name}: {value}" for name, value in settings.items())
        self.settings.write_text(
            f"serve: 1\npeople: {{users_file: {place}/users.yaml}}\nruns:\n{runs or '  at_once: 2'}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """How it is started."""
        options = ("--state", self.state, "--settings", self.settings, "--socket", self.place / "worker.sock")
        return [sys.executable, "-m", "engine.cli", "serve", "--part", "worker", *map(str, options)]

    def start(self) -> None:
        """Begin, and wait until it answers."""
        environment = {**os.environ, "RUNBOOK_PATH": str(self.place / "books")}
        self.process = subprocess.Popen(self.command, env=environment, stderr=(self.place / "log").open("ab"))
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.place / "log").read_text()
        try:
            self.ask(messages.GetStats())
        except WorkerGone:
            return False
        return True

    def ask(self, request: messages.Request, *, socket: str = "control.sock", token: str = "") -> Any:
        """One request over a line of its own."""

        async def once() -> messages.Answer:
            line = Line(self.place / socket)
            try:
                return await line.ask(request, token)
            finally:
                await line.close()

        return asyncio.run(once())

    def offer(self, *alerts: Alert) -> list[messages.Taking]:
        """Post alerts; all of them must be taken."""
        taken = self.ask(messages.Offer(sender="am", alerts=alerts))
        assert isinstance(taken, messages.Taken), taken
        return list(taken.takings)

    def runs(self) -> dict[str, RunRow]:
        """All runs by id."""
        return {row.id: row for row in self.ask(messages.GetRuns(limit=500)).rows}

    def run(self, run: str, state: str) -> RunRow:
        """A run, once it is in a state."""
        until(lambda: run in self.runs() and self.runs()[run].state == state)
        return self.runs()[run]

    def kill(self) -> None:
        """Without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """In good order."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def log(self) -> str:
        """What it wrote."""
        return (self.place / "log").read_text()


@contextmanager
def working(place: Path, **settings: object) -> Iterator[Worker]:
    """A worker that is ended with the test, and its children with it."""
    worker = Worker(place, **settings)
    worker.start()
    try:
        yield worker
    finally:
        if worker.process is not None and worker.process.poll() is None:
            worker.stop()


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.05)


def firing(name: str, fingerprint: str = "", starts_at: float = 1.0, **labels: str) -> Alert:
    """An alert that fires."""
    return Alert(
        name=name, status="firing", fingerprint=fingerprint or name, starts_at=starts_at, labels=labels
    )


def resolved(name: str, fingerprint: str = "", starts_at: float = 1.0, **labels: str) -> Alert:
    """The same, over."""
    return Alert(
        name=name,
        status="resolved",
        fingerprint=fingerprint or name,
        starts_at=starts_at,
        ends_at=9.0,
        labels=labels,
    )
