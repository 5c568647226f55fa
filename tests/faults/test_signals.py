"""Signals and a lost terminal stop a run in good order; a second signal at once; `undo` mends the rest."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from engine.clock import Cancel, SystemClock
from engine.journal import Journal
from engine.language import loader
from engine.record import Event, Watcher
from engine.running.runner import Order, run
from engine.terminal.screen import Screen
from engine.testing import FakeDiagnosis, FakeWatcher, fake_tools
from tests.engine.rehearsed import VERDICT, flow, ring
from tests.faults.mortal import BEFORE, FileAgent, child, ended, later

TEXT = """
runbook: events-lost
goal: {look: event-flow, with: {window: 100ms}, until: flow.dropped_per_s == 0, hold: 30s}
steps:
  - look: event-flow
    with: {window: 100ms}
  - change: ring
"""


class Telling(Screen):
    """The display, which also tells its events."""

    def __init__(self, stream: TextIO, tell: Callable[[Event], None]) -> None:
        super().__init__(stream, None)
        self._tell = tell

    def event(self, event: Event) -> None:
        """Draw, then tell."""
        super().event(event)
        self._tell(event)


def own(master: int, terminal: int) -> TextIO:
    """Make a terminal this session's own, so that its loss is a SIGHUP; to write on."""
    os.close(master)  # else it would hold its own terminal open
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    return os.fdopen(terminal, "w", buffering=1)


def start(directory: Path, *, slow_undo: bool = False, on: tuple[int, int] | None = None) -> tuple[int, int]:
    """A run with a real clock and real signals in a child; gives its pid and where it tells its events.

    Args:
        directory: Of the agent and the journal.
        slow_undo: Undoing takes a minute.
        on: Both ends of a terminal, which the child's session then has for its own, with the display on it.
    """
    reads, writes = os.pipe()
    FileAgent(directory)

    def tell(event: Event) -> None:
        os.write(writes, f"{type(event).__name__}\n".encode())

    def sleep(*_: object) -> None:
        os.write(writes, b"undoing\n")
        time.sleep(60)

    def work() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it (nohup)
        agent, cancel = FileAgent(directory), Cancel()
        hand = ring(agent)
        watcher: Watcher = FakeWatcher(on_event=tell) if on is None else Telling(own(*on), tell)
        if slow_undo:
            hand.undo = sleep  # type: ignore[method-assign]
        document = loader.parse(TEXT.encode(), Path("events-lost.yaml")).document
        tools = fake_tools(
            directory,
            [flow(agent), FakeDiagnosis(VERDICT), hand],
            agent,
            clock=SystemClock(cancel),
            cancel=cancel,
            watcher=watcher,
        )
        with tools.journal:
            done = run(Order(runbook=document, text=TEXT, target=agent.target), tools)
        os._exit(128 + done.head.signal)

    pid = child(work)
    os.close(writes)
    return pid, reads


def wait_for(word: str, source: int) -> None:
    """Read what the child tells until it tells that."""
    heard = b""
    while word.encode() not in heard:
        piece = os.read(source, 4096)
        assert piece, f"the child ended before {word}: {heard.decode()}"
        heard += piece


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["GoalMeasured", "Intended", "Compared"])
def test_a_signal_stops_the_run_in_good_order(tmp_path: Path, number: int, moment: str) -> None:
    """What is not proven is undone, the outcome is written, the exit code names the signal."""
    pid, told = start(tmp_path)
    wait_for(moment, told)
    os.kill(pid, number)

    assert ended(pid) == 128 + number
    with Journal.open(tmp_path) as journal:
        head = journal.run("last").head
    assert (head.outcome, head.signal) == ("interrupted", number)
    assert FileAgent(tmp_path).read() == BEFORE


@pytest.mark.parametrize("moment", ["GoalMeasured", "Intended", "Compared"])
def test_a_lost_terminal_stops_the_run_in_good_order(tmp_path: Path, moment: str) -> None:
    """An ssh session that breaks must not leave what is not proven, however the display fares."""
    master, terminal = pty.openpty()
    pid, told = start(tmp_path, on=(master, terminal))
    os.close(terminal)
    wait_for(moment, told)
    os.close(master)

    assert ended(pid) == 128 + signal.SIGHUP
    with Journal.open(tmp_path) as journal:
        head = journal.run("last").head
    assert (head.outcome, head.signal) == ("interrupted", signal.SIGHUP)
    assert FileAgent(tmp_path).read() == BEFORE


def test_a_terminal_that_hangs_up_twice_still_lets_the_run_undo(tmp_path: Path) -> None:
    """The kernel and the shell both send SIGHUP: only a human who insists is obeyed at once."""
    pid, told = start(tmp_path)
    wait_for("Compared", told)
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGHUP)

    assert ended(pid) == 128 + signal.SIGHUP
    assert FileAgent(tmp_path).read() == BEFORE


def test_a_second_signal_stops_at_once_and_undo_mends_the_rest(tmp_path: Path) -> None:
    """An operator who insists is obeyed; nothing is lost by it."""
    pid, told = start(tmp_path, slow_undo=True)
    wait_for("Compared", told)
    os.kill(pid, signal.SIGTERM)
    wait_for("undoing", told)
    os.kill(pid, signal.SIGTERM)

    assert ended(pid) == 128 + signal.SIGTERM
    with Journal.open(tmp_path) as journal:
        assert journal.runs()[0].state == "interrupted"
    assert later(tmp_path, "undo") == 0
    assert FileAgent(tmp_path).read() == BEFORE


def test_a_disk_that_fills_up_leaves_the_agent_as_it_was(tmp_path: Path) -> None:
    """With a file size limit in place of a full disk: no root needed."""
    FileAgent(tmp_path)

    def work() -> None:
        import resource  # noqa: PLC0415 - in the child only

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        agent = FileAgent(tmp_path)

        def fill(event: Event) -> None:
            if type(event).__name__ == "Intended":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        tools = fake_tools(
            tmp_path / "state",
            [flow(agent), FakeDiagnosis(VERDICT), ring(agent)],
            agent,
            watcher=FakeWatcher(on_event=fill),
        )
        document = loader.parse(TEXT.encode(), Path("events-lost.yaml")).document
        try:
            run(Order(runbook=document, text=TEXT, target=agent.target), tools)
        except Exception as error:  # noqa: BLE001 - its name is the answer
            os._exit(44 if type(error).__name__ == "JournalUnavailable" else 45)

    assert ended(child(work)) == 44
    assert FileAgent(tmp_path).read() == BEFORE
    with Journal.open(tmp_path / "state") as journal:
        assert journal.verify() == []
        assert [one.state for one in journal.attempts()] == ["intended"]
