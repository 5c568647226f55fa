"""Watching a run: on a terminal, as plain lines, or not at all.

``watcher`` picks one. One promise: what is shown is a telling of the record's events, in the
words of the report's timeline; a watcher decides nothing, except that a human at a terminal
answers a question.

Not here: the terminal display itself (``engine.terminal.screen``, loaded only when shown).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Protocol, TextIO

from engine import record, text
from engine.reports import timeline
from engine.values import Decision, Plan


def watcher(
    *, quiet: bool = False, stream: TextIO | None = None, answers: TextIO | None = None
) -> record.Watcher:
    """Who watches: nobody when ``quiet``, the display on a terminal, else plain lines."""
    out, source = stream or sys.stdout, answers or sys.stdin
    if quiet:
        return Quiet()
    if out.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from engine.terminal.screen import Screen  # noqa: PLC0415 - rich only where it is shown

        return Screen(out, source if source.isatty() else None)
    return Plain(out)


class Looker(record.Watcher, Protocol):
    """Watches a single look."""

    def say(self, at: float, words: str) -> None:
        """What a probe sees as it happens; further lines are indented by the probe."""


@contextmanager
def passing(*, quiet: bool = False) -> Iterator[Looker]:
    """A watcher for a single look: the display on a terminal, taken away at the end; else what is said."""
    seer = _looker(quiet=quiet)
    try:
        yield seer
    finally:
        if not isinstance(seer, Quiet):
            getattr(seer, "close", lambda: None)()


def _looker(*, quiet: bool) -> Looker:
    out = sys.stdout
    if quiet:
        return Quiet()
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Spoken(out)
    from engine.terminal.screen import Screen  # noqa: PLC0415 - rich only where it is shown

    return Screen(out, None)


class Quiet:
    """Watches nothing and answers nothing: for ``--json``."""

    def begin(self, head: record.RunHead) -> None:
        """Nothing to show."""

    def event(self, event: record.Event) -> None:
        """Nothing to show."""

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Nothing to show."""

    def say(self, at: float, words: str) -> None:
        """Nothing to show."""

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:  # noqa: ARG002
        """Nobody can be asked."""
        return None

    def answer(self, asked: record.Asked, problem: str = "") -> dict[str, str] | None:  # noqa: ARG002
        """Nobody can be asked."""
        return None


class Spoken(Quiet):
    """Prints what a probe says, and nothing else: for a single look into a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, at: float, words: str) -> None:
        """Print it at once; a reader that goes away ends the telling, never the look."""
        with suppress(OSError):
            print(spoken(at, words), file=self._stream, flush=True)


def spoken(at: float, words: str) -> str:
    """What a probe said, with the time of day (UTC); no line of it can steer the terminal."""
    lines = "\n".join(text.plain(line) for line in words.split("\n"))
    return f"{time.strftime('%H:%M:%S', time.gmtime(at))}  {lines}"


class Plain:
    """One line per event, with the time since the run's start: for pipes, logs and CI.

    A reader that goes away (``| head``) ends the telling, never the run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start = 0.0
        self._lock = Lock()

    def begin(self, head: record.RunHead) -> None:
        """Say what runs on what, and under which id it is recorded."""
        self._start = head.started_at
        on = f" on {head.target}" if head.target else ""
        dry = ", dry-run: nothing will be changed" if head.dry_run else ""
        self._say(head.started_at, f"{head.runbook}{on} (run {head.id}{dry})")

    def event(self, event: record.Event) -> None:
        """One line, or none when another event tells it better."""
        if isinstance(event, record.StepStarted):
            takes = f" (takes {text.span(event.seconds)})" if event.seconds else ""
            title, action = timeline.at_work(event)
            self._say(event.at, f"... {title}{f': {action}' if action else ''}{takes}")
            return
        line = timeline.line(event)
        if line is not None:
            self._say(event.at, f"{line.words}{f': {line.detail}' if line.detail else ''}")
        for check in event.verdict.checks if isinstance(event, record.Decided) else ():
            way_on = f" → {check.fix}" if check.fix else ""
            self._say(event.at, f"  {check.answer:8}{check.name}: {check.sentence}{way_on}")

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Numbers as they come are for a display that can overwrite them."""

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:  # noqa: ARG002
        """Nobody is at a terminal, so nobody can be asked."""
        return None

    def answer(self, asked: record.Asked, problem: str = "") -> dict[str, str] | None:  # noqa: ARG002
        """Nobody is at a terminal, so nobody can be asked."""
        return None

    def _say(self, at: float, words: str) -> None:
        with self._lock, suppress(OSError):
            print(f"{text.since(self._start, at):>7}  {text.plain(words)}", file=self._stream, flush=True)
