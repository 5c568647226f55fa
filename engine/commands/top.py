"""``runbook top``: programs, maps and rings of all agents, live."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from engine import catalog, text, units
from engine.agents import targets
from engine.clock import Cancel, SystemClock, stop_on_signals
from engine.commands.exporter import need_root
from engine.commands.printing import Json, emit, new_app, table
from engine.commands.run import Target
from engine.errors import UsageError
from engine.metering import gathering
from engine.metering.sheets import Sheet, sheets

app = new_app()
SheetName = Literal["agents", "programs", "maps", "rings"]


@app.command(epilog="Example: runbook top --sheet programs --every 1s")
def top(  # noqa: PLR0913, PLR0917 - each is an option
    target: Target = "",
    sheet: Annotated[SheetName, typer.Option(help="Which sheet to begin with.")] = "agents",
    every: Annotated[str, typer.Option(metavar="TIME", help="How often to read.")] = "2s",
    times: Annotated[
        int, typer.Option("--times", "-n", min=0, help="Print so often and end; 0: until told to.")
    ] = 0,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Which column to sort by.")] = "",
    as_json: Json = False,
) -> None:
    """Watch programs, maps and rings of all agents, live."""
    need_root()
    pause = units.seconds(every)
    if pause < 0.1:
        raise UsageError(f"every {text.span(pause)} is too often", fix="at least every 100ms")
    cancel = Cancel()
    clock = SystemClock(cancel)
    meters = gathering.installed(catalog.installed(), thorough=True)
    with (
        targets.followed_on_this_host() as finder,
        gathering.Gatherer(finder, meters, clock, target) as gatherer,
        stop_on_signals(cancel),
    ):
        following = _Following(gatherer)
        column = _column(following.read()[0][sheet], sort)
        at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        if at_terminal and not times and not as_json:
            from engine.terminal import top as screen  # noqa: PLC0415 - rich and termios, for a terminal only

            clock.sleep(min(pause, 1.0))  # rates need two readings
            view = screen.View(sheet, column)
            screen.watch(following.read, view, pause, lambda: bool(cancel))
            return
        for _ in range(times or 1):
            clock.sleep(pause)
            if cancel:
                return
            _print(following.read()[0], sheet, column, as_json=as_json)


class _Following:
    """Reads again and again; each reading beside the one before."""

    def __init__(self, gatherer: gathering.Gatherer) -> None:
        self._gatherer = gatherer
        self._before: gathering.Reading | None = None

    def read(self) -> tuple[Mapping[str, Sheet], str]:
        """All sheets, and a note on the reading."""
        now = self._gatherer.read()
        made = sheets(self._before, now)
        over = f", of {text.span(now.at - self._before.at)}" if self._before else ""
        self._before = now
        return made, f"{text.several(len(now.targets), 'agent')}{over}"


def _column(sheet: Sheet, name: str) -> int | None:
    """The place of a column.

    Raises:
        UsageError: There is none of this name.
    """
    if not name:
        return None
    names = [column.name.lower() for column in sheet.columns]
    if name.lower() not in names:
        raise UsageError(f"{sheet.name} has no column {name!r}", fix=f"one of: {', '.join(names)}")
    return names.index(name.lower())


def _print(made: Mapping[str, Sheet], name: str, column: int | None, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                sheet.name: [
                    dict(zip((c.name for c in sheet.columns), row, strict=True)) for row in sheet.rows
                ]
                for sheet in made.values()
            }
        )
        return
    sheet = made[name]
    at = sheet.by if column is None else column
    ordered = sheet.sorted_by(at, descending=sheet.columns[at].number)
    table(
        [one.name for one in sheet.columns],
        [
            [text.measure(cell, one.unit) for one, cell in zip(sheet.columns, row, strict=True)]
            for row in ordered.rows
        ],
    )
