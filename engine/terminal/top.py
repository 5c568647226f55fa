"""``runbook top`` on a terminal: one sheet at a time, sorted as asked, read anew every few seconds.

One promise: it ends as soon as it is told to (q, Ctrl-C, a closed terminal), and leaves the terminal
as it was.

Not here: the numbers (``engine.metering.sheets``).
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from engine import text
from engine.metering.sheets import Cell, Column, Sheet

KEYS = "1-4 or Tab: sheet   ← →: sort by   r: turn round   q: end"
_ESCAPES = {b"\x1b[D": "left", b"\x1b[C": "right", b"\x1bOD": "left", b"\x1bOC": "right"}


@dataclass(frozen=True)
class View:
    """What is on the screen, and in which order.

    Attributes:
        sheet: Its name.
        column: By which is sorted; None: the sheet's own choice.
    """

    sheet: str = "agents"
    column: int | None = None
    descending: bool = True
    over: bool = False


def pressed(view: View, key: str, sheets: Mapping[str, Sheet]) -> View:
    """The view after a key; the same for one that means nothing."""
    names = list(sheets)
    at = names.index(view.sheet)
    if key in {"q", "\x03", "\x04"}:
        return replace(view, over=True)
    if key == "\t":
        return View(names[(at + 1) % len(names)])
    if key.isdigit() and 1 <= int(key) <= len(names):
        return View(names[int(key) - 1])
    if key == "r":
        return replace(view, descending=not view.descending)
    if key in {"left", "right"}:
        columns = sheets[view.sheet].columns
        now = _column(view, sheets[view.sheet])
        column = (now + (1 if key == "right" else -1)) % len(columns)
        return replace(view, column=column, descending=columns[column].number)
    return view


def drawn(
    view: View, sheets: Mapping[str, Sheet], note: str = "", *, rows: int | None = None
) -> RenderableType:
    """One screen: the sheets' names, the sheet, the keys."""
    names = Text()
    for number, name in enumerate(sheets, 1):
        names.append(f" {number} {name} ", style="reverse bold" if name == view.sheet else "dim").append(" ")
    names.append(f"  {note}", style="dim")
    sheet, column = sheets[view.sheet], _column(view, sheets[view.sheet])
    ordered = sheet.sorted_by(column, descending=view.descending)
    return Group(names, table(ordered, column, rows=rows), Text(KEYS if rows else "", style="dim"))


def table(sheet: Sheet, sorted_column: int, *, rows: int | None = None) -> Table:
    """A sheet as a table; at most so many rows, then how many more there are."""
    made = Table(box=None, padding=(0, 1), expand=False, header_style="bold")
    for at, column in enumerate(sheet.columns):
        style = "bold underline" if at == sorted_column else "bold"
        made.add_column(
            Text(column.name, style=style),
            justify="right" if column.number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=6 if column.number else 8,
        )
    shown = sheet.rows if rows is None else sheet.rows[:rows]
    for row in shown:
        made.add_row(*(_cell(column, cell) for column, cell in zip(sheet.columns, row, strict=True)))
    if len(shown) < len(sheet.rows):
        made.add_row(Text(f"… {len(sheet.rows) - len(shown)} more", style="dim"))
    return made


def _cell(column: Column, cell: Cell) -> Text:
    if cell is None:
        return Text("–", style="dim")
    if isinstance(cell, str):
        return Text(text.plain(cell))
    words = (
        text.compact(cell) if column.unit in {"1/s", "events/s", "count"} else text.measure(cell, column.unit)
    )
    return Text(words, style=_tone(column, cell))


def _tone(column: Column, cell: float) -> str:
    """Red where it hurts, dim where nothing happens."""
    if column.name == "lost" and cell > 0:
        return "bold red"
    if column.name in {"full", "peak", "ring peak"} and cell >= 0.9:
        return "bold red"
    return "dim" if cell == 0 else ""


def _column(view: View, sheet: Sheet) -> int:
    return sheet.by if view.column is None else view.column


def watch(
    read: Callable[[], tuple[Mapping[str, Sheet], str]],
    view: View,
    every_s: float,
    cancelled: Callable[[], bool],
) -> None:
    """Show and read anew until the user has had enough. Needs a terminal for input and output."""
    console = Console()
    sheets, note = read()
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while not view.over and not cancelled():
            live.update(drawn(view, sheets, note, rows=max(1, console.size.height - 4)), refresh=True)
            key = keys(every_s)
            if key is None:
                sheets, note = read()
            else:
                view = pressed(view, key, sheets)


@contextmanager
def _keys() -> Iterator[Callable[[float], str | None]]:
    """Single keys as they are pressed, without echo; None when none came in time."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def key(wait_s: float) -> str | None:
        ready, _, _ = select.select([fd], [], [], wait_s)
        if not ready:
            return None
        raw = os.read(fd, 16)
        return _ESCAPES.get(raw, raw[:1].decode("ascii", "replace")) if raw else "q"

    try:
        yield key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
