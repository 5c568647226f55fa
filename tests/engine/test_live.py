"""Watching a run: on a terminal, as plain lines, or not at all."""

import io
import os
import pty
import signal
import threading

import msgspec
import pytest
from rich.console import Console

from engine import record
from engine.terminal import boxes, live
from engine.terminal.answer import read_answer
from engine.terminal.screen import Screen
from tests.samples import runs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Gone(io.StringIO):
    """A pipe whose reader has gone away."""

    def write(self, words):
        raise BrokenPipeError


def play(watcher, run):
    watcher.begin(run.head)
    for event in run.events:
        watcher.event(event)


def shown(piece, width=80):
    """A piece of the display as text."""
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(piece)
    return console.file.getvalue()


def test_without_a_terminal_there_are_plain_lines_with_the_time_since_the_start():
    """CI logs must stay readable: one line per event, no colours, nothing overwritten."""
    out = io.StringIO()
    play(live.watcher(stream=out, answers=io.StringIO()), runs.burst_run())
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0].strip().startswith("+0:00  events-dropped on lab (run 2026")
    assert "  +0:44  kept: no events were lost in 10 s" in lines
    assert sum("ring-buffer-size 256 KiB → 2 MiB" in line for line in lines) == 1


def test_hostile_text_can_not_steer_the_terminal():
    """Names come from processes on the host; one must not clear the screen or look like markup."""
    out = io.StringIO()
    play(live.watcher(stream=out, answers=io.StringIO()), runs.hostile_run())
    assert "\x1b" not in out.getvalue()
    for event in runs.hostile_run().events:
        if isinstance(event, record.Planned):
            assert "\x1b" not in shown(boxes.plan(event.plan, runs.EVIL))
        if isinstance(event, record.Decided):
            assert "<script>" in shown(boxes.causes(event.verdict), 200)


def test_for_machines_nothing_is_shown_and_nobody_is_asked():
    """`--json` gives one document, so nothing else may reach stdout."""
    out = io.StringIO()
    watcher = live.watcher(quiet=True, stream=out)
    play(watcher, runs.burst_run())
    assert watcher.ask(runs.RING_PLAN, runs.ALLOWED) is None
    assert out.getvalue() == ""


def test_a_reader_that_goes_away_ends_the_telling_not_the_run():
    """`runbook run … | head` must not leave a change half proven."""
    play(live.Plain(Gone()), runs.burst_run())


def test_without_a_terminal_nobody_is_asked():
    """A change waits for approval; it is never taken for granted because nobody answered."""
    assert live.Plain(io.StringIO()).ask(runs.RING_PLAN, runs.ALLOWED) is None


def test_the_screen_shows_causes_plans_and_the_outcome(monkeypatch):
    """What an engineer reads at 3 a.m.: cause with numbers, before → after, prediction, outcome."""
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Terminal()
    screen = live.watcher(stream=out, answers=io.StringIO())
    assert isinstance(screen, Screen)
    play(screen, runs.burst_run())
    for words in ("burst-exceeds-buffer", "844 KiB", "256 KiB", "2 MiB", "fixed", "runbook undo"):
        assert words in out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_pieces_fit_the_terminal(width):
    """A torn box is unreadable: no line may be wider than the terminal."""
    for piece in (
        boxes.plan(runs.RING_PLAN, runs.head().id),
        boxes.causes(runs.VERDICT),
        boxes.ending(runs.burst_run().events[-1], runs.head()),
        boxes.title(runs.head()),
    ):
        assert max(len(line.rstrip()) for line in shown(piece, width).splitlines()) <= min(width, 120)


@pytest.mark.parametrize(
    ("typed", "meant"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("sure\n", False)]
)
def test_only_a_plain_yes_is_a_yes(typed, meant):
    """Enter on its own, or a typo, must not change a machine."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        os.write(ours, typed.encode())
        assert read_answer(terminal) is meant
    os.close(ours)


QUESTION = record.Asked(
    at=0.0,
    question="May it be restarted?",
    answers={"yes": record.Answerable(type="bool"), "why": record.Answerable(type="text", default="none")},
    who="the platform team",
)


@pytest.mark.parametrize(
    ("typed", "said"),
    [("y\nfor fun\n", {"yes": "y", "why": "for fun"}), ("\n\n", {"yes": "", "why": ""}), ("y\n\4", None)],
)
def test_a_question_is_asked_part_by_part(typed, said):
    """Half an answer is none: the terminal went away in the middle of it."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    out = Terminal()
    with os.fdopen(theirs, "r") as source:
        assert Screen(out, source).answer(QUESTION, "that was no answer") == said
    os.close(ours)
    for words in ("May it be restarted?", "the platform team", "that was no answer", "[y/N]"):
        assert words in out.getvalue()


def test_a_question_that_expires_while_it_is_asked_has_no_answer():
    """Nobody sits there: the run must not wait for ever."""
    reads, writes = os.pipe()
    with os.fdopen(reads, "r") as source:
        late = msgspec.structs.replace(QUESTION, expires_at=1.0)
        assert Screen(Terminal(), source).answer(late) is None
    os.close(writes)


def test_a_closed_terminal_is_no_answer():
    """A lost SSH session must not be read as a yes, nor as a considered no."""
    reads, writes = os.pipe()
    os.close(writes)
    with os.fdopen(reads, "r") as source:
        assert read_answer(source) is None


def test_a_signal_ends_the_question():
    """Ctrl-C at the question must end the run in good order, not wait for Enter."""
    reads, writes = os.pipe()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with os.fdopen(reads, "r") as source:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            assert read_answer(source) is None
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(writes)
