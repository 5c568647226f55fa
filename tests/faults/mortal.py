"""A run that can be killed anywhere: an agent in a file, a journal that ends the process at a commit.

Each run is a forked child, so that a kill costs milliseconds and takes nobody else along.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from engine.journal import Journal
from engine.language import loader
from engine.language.loader import LoadedRunbook
from engine.running import resume
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.testing import FakeDiagnosis, FakeTarget, fake_tools
from engine.values import Setting
from tests.engine.rehearsed import VERDICT, flow, poll, ring

TEXT = """
runbook: events-lost
goal: {look: event-flow, until: flow.dropped_per_s == 0, hold: 20s}
steps:
  - look: event-flow
  - decide: loss
  - try:
      - change: poll
      - change: ring
  - tell: "{{ outcome.sentence }}"
"""
BEFORE = {"ring": 1, "poll": 10}
FIXED = {"ring": 4, "poll": 10}

When = Literal["before", "after", "never"]


def die() -> None:
    """As by kill -9: nothing of ours runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Journal):
    """Ends the process right before or right after its n-th commit."""

    at: ClassVar[int] = 0
    when: ClassVar[When] = "never"
    commits: ClassVar[int] = 0

    def commit(self) -> None:
        """Commit, and die if it is time."""
        Mortal.commits += 1
        if (Mortal.commits, "before") == (self.at, self.when):
            die()
        super().commit()
        if (Mortal.commits, "after") == (self.at, self.when):
            die()


class FileAgent(FakeTarget):
    """Its settings and the log of all writes are one file, replaced in one step; it may die at a write."""

    def __init__(self, directory: Path, at: int = 0, when: When = "never") -> None:
        self._file = directory / "agent.json"
        self._at, self._when, self._count = at, when, 0
        if not self._file.exists():
            self._replace(dict(BEFORE), [])
        super().__init__(settings=self.read())

    def read(self) -> dict[str, Setting]:
        """The settings as they stand."""
        found: dict[str, Setting] = json.loads(self._file.read_text())["settings"]
        return found

    def write(self, name: str, value: Setting) -> None:
        """Replace the file in one step, as a careful hand does."""
        self._count += 1
        if (self._count, "before") == (self._at, self._when):
            die()
        super().write(name, value)
        self._replace(self.settings, [*self._written(), f"{name} {value}"])
        if (self._count, "after") == (self._at, self._when):
            die()

    def writes_of(self, name: str, value: Setting) -> int:
        """How often a value was written, over all processes."""
        return self._written().count(f"{name} {value}")

    def _written(self) -> list[str]:
        log: list[str] = json.loads(self._file.read_text())["log"]
        return log

    def _replace(self, settings: dict[str, Setting], log: list[str]) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"settings": settings, "log": log}))
        new.replace(self._file)


def child(work: Callable[[], None]) -> int:
    """Do the work in a forked child; gives its pid. The child's failure is printed and ends it with 1."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a forked child must never return into the test runner
        traceback.print_exc()
        os._exit(1)


def ended(pid: int) -> int:
    """Wait for a child: its exit code, or minus the signal that ended it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def tools(directory: Path, agent: FileAgent) -> Tools:
    """Fake parts around the file agent, and the mortal journal."""
    parts = [flow(agent), FakeDiagnosis(VERDICT), ring(agent), poll(agent)]
    journal = Mortal.open(directory)
    return fake_tools(directory, parts, agent, journal=journal, runbook=lambda _name, _where: parsed(TEXT))


def parsed(text: str) -> LoadedRunbook:
    """A runbook of this text."""
    return loader.parse(text.encode(), Path("events-lost.yaml"))


def begin(directory: Path, agent: FileAgent, text: str = TEXT) -> None:
    """A fresh run, in this process."""
    everything = tools(directory, agent)
    with everything.journal:
        run(Order(runbook=parsed(text).document, text=text, target=agent.target), everything)


def first(
    directory: Path,
    *,
    commit: tuple[int, When] = (0, "never"),
    write: tuple[int, When] = (0, "never"),
    text: str = TEXT,
) -> int:
    """Start a run in a child that dies where it is told to; gives its pid."""

    def work() -> None:
        Mortal.commits, (Mortal.at, Mortal.when) = 0, commit
        begin(directory, FileAgent(directory, *write), text)

    FileAgent(directory)  # its file is there before anybody is killed
    return child(work)


def later(directory: Path, doing: Literal["resume", "undo"], commit: tuple[int, When] = (0, "never")) -> int:
    """Take the last run up again in another child; gives its exit code."""

    def work() -> None:
        Mortal.commits, (Mortal.at, Mortal.when) = 0, commit
        getattr(resume, doing)("last", tools(directory, FileAgent(directory)))

    return ended(child(work))
