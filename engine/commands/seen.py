"""Evidence on a terminal: readings with their sources, tables, and what could not be seen."""

from __future__ import annotations

import textwrap

import typer

from engine import text
from engine.commands.printing import table
from engine.evidence import unknown
from engine.reports import folded
from engine.values import Evidence, Scalar

_ROWS = 15


def tell(seen: Evidence) -> None:
    """Print all of a piece of evidence except its series."""
    known = {name: reading for name, reading in seen.readings.items() if reading.value is not None}
    if known:
        table(
            ("reading", "value", "source"),
            (
                (
                    f"{seen.short}.{name}",
                    _cell(reading.value, reading.unit or text.unit_of(name)),
                    reading.source,
                )
                for name, reading in known.items()
            ),
        )
    for why, names in unknown(seen).items():
        typer.echo(f"unknown: {text.plain(why)}")
        listed = ", ".join(f"{seen.short}.{name}" for name in names)
        typer.echo(textwrap.fill(text.plain(listed), 100, initial_indent="  ", subsequent_indent="  "))
    for name, rows in seen.tables.items():
        if rows and rows[0].keys() >= folded.COLUMNS:
            typer.echo(
                f"\n{text.plain(name)}: {text.several(len(rows), 'different one')} (as a file: --folded FILE)"
            )
        else:
            _tell_table(name, rows)
    for note in seen.notes:
        typer.echo(f"note: {text.plain(note)}")
    taken = seen.number("samples")
    samples = int(taken) if taken is not None else sum(len(series.times) for series in seen.series.values())
    spent = text.span(seen.cost.cpu_s)
    counted = f", {samples:,} samples" if samples else ""
    typer.echo(f"cost: {spent} CPU in {text.span(seen.ended_at - seen.started_at)}{counted}")


def _tell_table(name: str, rows: tuple[dict[str, Scalar], ...]) -> None:
    if not rows:
        return
    typer.echo(f"\n{text.plain(name)}")
    head = [text.plain(key) for key in rows[0]]
    table(head, ([_cell(row.get(key), text.unit_of(key)) for key in rows[0]] for row in rows[:_ROWS]))
    if len(rows) > _ROWS:
        typer.echo(f"… and {len(rows) - _ROWS} more (all of them with --json)")


def _cell(value: Scalar, unit: str) -> str:
    """A value on one line; of a text of several lines only how many they are."""
    lines = value.strip().count("\n") + 1 if isinstance(value, str) else 1
    return text.measure(value, unit) if lines == 1 else f"{lines} lines"
