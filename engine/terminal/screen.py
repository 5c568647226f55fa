"""The live display of a run on a terminal.

Finished things are printed and stay; below them one small area shows the step at work: a
spinner, how far it is, the numbers as they come. One promise: it never holds up the run
longer than writing a few lines takes, except while a human thinks about a question; a
terminal that goes away ends the display, never the run.

Drawn by rich, which respects ``NO_COLOR``. All text from outside goes through ``text.plain`` and
is never read as rich's markup.
Not here: what the lines say (``engine.reports.timeline``), boxes (``engine.terminal.boxes``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import RLock
from typing import TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from engine import record, text
from engine.reports import timeline
from engine.terminal import boxes, live
from engine.terminal.answer import read_answer, read_line
from engine.values import Decision, Plan

_REFRESH_HZ = 8
_NUMBERS = 6  # of a step, the latest


class Steady:
    """A terminal that may go away at any moment: from then on nothing is written, and nothing raised.

    Rich would end the process, or its drawing thread with a traceback.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def __getattr__(self, name: str) -> object:
        """All that only asks: ``isatty``, ``fileno``, ``encoding``."""
        return getattr(self._stream, name)

    def write(self, words: str) -> int:
        """Write while somebody is there."""
        self._try(lambda: self._stream.write(words))
        return len(words)

    def flush(self) -> None:
        """Flush while somebody is there."""
        self._try(self._stream.flush)

    def _try(self, work: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            work()
        except OSError:
            self._gone = True


class Screen:
    """Shows a run and asks its questions.

    Args:
        stream: The terminal.
        answers: Where answers are typed; None when nobody can answer.
        clock: Seconds that never go back, for the elapsed time of the step at work.
    """

    def __init__(
        self, stream: TextIO, answers: TextIO | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # cast: rich asks no more of a file than `Steady` gives
        console_file = cast("TextIO", Steady(stream))
        self._console = Console(file=console_file, highlight=False, soft_wrap=False)
        self._answers, self._clock = answers, clock
        self._lock = RLock()
        self._live: Live | None = None
        self._head: record.RunHead | None = None
        self._step: record.StepStarted | None = None
        self._since = 0.0
        self._numbers: dict[str, str] = {}
        self._spinner = Spinner("dots", style="cyan")

    def begin(self, head: record.RunHead) -> None:
        """Say what runs, and start the area below."""
        self._head = head
        self._console.print(boxes.title(head))
        self._start()

    def event(self, event: record.Event) -> None:
        """Print what stays; note what is at work."""
        with self._lock:
            if isinstance(event, record.StepStarted):
                self._step, self._since = event, self._clock()
                self._numbers.clear()
                return
            shown = self._shown(event)
            if isinstance(event, record.Ended):
                self.close()
            if shown is not None:
                self._console.print(shown)

    def number(self, step: str, label: str, value: float, unit: str) -> None:  # noqa: ARG002 - one step at work
        """Overwrite the label's number in the area below."""
        with self._lock:
            self._numbers.pop(label, None)
            self._numbers[label] = text.measure(value, unit)

    def say(self, at: float, words: str) -> None:
        """Print what a probe saw; it stays above the area."""
        with self._lock:
            self._console.print(Text(live.spoken(at, words)))

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """Ask for a change whose box was just shown; anything but a yes is a no."""
        if self._answers is None:
            return None
        with self._lock:
            self.close()
            self._console.print(boxes.question(plan, decisions), end="")
            said = read_answer(self._answers)
            if said is None:
                self._console.print()
            self._start()
        return said

    def answer(self, asked: record.Asked, problem: str = "") -> dict[str, str] | None:
        """Ask a runbook's own question, part by part, until it expires."""
        if self._answers is None:
            return None
        with self._lock:
            shown = self._live is not None and self._live.is_started
            self.close()
            self._console.print(boxes.asked(asked, problem))
            said: dict[str, str] | None = {}
            for name, part in asked.answers.items():
                self._console.print(boxes.part(name, part), end="")
                left = None if asked.expires_at is None else max(0.0, asked.expires_at - time.time())
                line = read_line(self._answers, left)
                if line is None:
                    self._console.print()
                    said = None
                    break
                said = {**(said or {}), name: line}
            if shown:
                self._start()
        return said

    def _start(self) -> None:
        """Open the area below what is printed; a new one each time, so that nothing is overwritten."""
        self._live = Live(
            get_renderable=self._area, console=self._console, refresh_per_second=_REFRESH_HZ,
            transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._live.start()

    def close(self) -> None:
        """Take the area below away; what was printed stays."""
        if self._live is not None:
            self._live.stop()

    def _shown(self, event: record.Event) -> RenderableType | None:
        """What stays on the screen of an event."""
        line = timeline.line(event)
        if line is None or self._head is None:
            return None
        when = text.since(self._head.started_at, event.at)
        match event:
            case record.Decided(verdict=verdict):
                return Group(boxes.line(when, line), boxes.causes(verdict))
            case record.Planned(plan=plan) | record.Would(plan=plan) if plan.changes:
                return Group(boxes.line(when, line._replace(detail="")), boxes.plan(plan, self._head.id))
            case record.Ended():
                return boxes.ending(event, self._head)
            case _:
                return boxes.line(when, line)

    def _area(self) -> RenderableType:
        """The step at work: spinner, title, how far; below it the numbers."""
        with self._lock:
            step = self._step
            if step is None:
                return Text("")
            gone = self._clock() - self._since
            row = Table.grid(padding=(0, 1))
            row.add_column(width=3)
            row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            row.add_column(justify="right", no_wrap=True)
            name, action = timeline.at_work(step)
            title = Text(name, style="bold").append(f"  {action}" if action else "", style="not bold dim")
            row.add_row(Padding(self._spinner, (0, 0, 0, 2)), title, self._progress(step.seconds, gone))
            numbers = "   ".join(f"{name} {value}" for name, value in list(self._numbers.items())[-_NUMBERS:])
            below = Padding(
                Text(text.plain(numbers), style="cyan", overflow="ellipsis", no_wrap=True), (0, 0, 0, 3)
            )
            row.expand = True
            return Group(row, below) if numbers else row

    def _progress(self, seconds: float | None, gone: float) -> RenderableType:
        """A bar for a step of known length, else the time it has taken."""
        clock = Text(
            f"{gone:.0f} s" if not seconds else f"{min(gone, seconds):.0f}/{seconds:.0f} s", style="dim"
        )
        if not seconds:
            return clock
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=seconds, completed=min(gone, seconds), width=20), clock)
        return grid
