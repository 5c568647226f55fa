"""What all commands share: options, JSON, tables and errors on the terminal.

Not here: what any one command prints.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine import text
from engine.errors import DocumentError, RunbookError, UsageError

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
Folded = Annotated[
    Path | None,
    typer.Option(
        "--folded", metavar="FILE", help="Write a profile's stacks to this file, for flame graph tools."
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", help="Directory of the journal; else $RUNBOOK_STATE, else /var/lib/runbook for root."
    ),
]


def new_app() -> typer.Typer:
    """A group to hang commands on."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.callback()(lambda: None)
    return app


def emit(value: object) -> None:
    """A JSON document on stdout, indented."""
    import msgspec  # noqa: PLC0415 - only where JSON is asked for

    document = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2)
    typer.echo(document.decode())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their contents, two blanks apart; cut at the edge of a terminal, never in a pipe."""
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = [[text.plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in [[word.upper() for word in head], *lines]:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        shown = padded.rstrip()
        typer.echo(shown if edge is None or len(shown) <= edge else f"{shown[: edge - 1]}…")


def pairs(given: Sequence[str]) -> dict[str, str]:
    """``k=v`` options by name.

    Raises:
        UsageError: One has no ``=``, no name, or comes twice.
    """
    found: dict[str, str] = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise UsageError(f"{item!r} is not of the form NAME=VALUE", fix="write for example: window=30s")
        if name in found:
            raise UsageError(f"{name!r} is given twice", fix="give it once")
        found[name] = value
    return found


def tell_error(error: RunbookError, *, as_json: bool) -> None:
    """An error on stderr: what happened, then the way out; without secrets, as all that is written."""
    from engine.redaction import HERE  # noqa: PLC0415 - errors are rare

    said, way_out = HERE.text(error.problem), HERE.text(error.fix)
    if as_json:
        import msgspec  # noqa: PLC0415

        facts: dict[str, object] = {
            "error": said,
            "fix": way_out,
            "kind": type(error).__name__,
            "exit_code": error.exit_code,
            "touched": error.touched,
        }
        if isinstance(error, DocumentError):
            facts["complaints"] = [HERE.text(one) for one in error.complaints]
        typer.echo(msgspec.json.encode(facts).decode(), err=True)
        return
    problem = "\n".join(text.plain(line) for line in said.splitlines())
    shown = f"error:\n{problem}" if "\n" in problem else f"error: {problem}"
    fix = f"\n  fix: {text.plain(way_out)}" if way_out else ""
    typer.echo(f"{shown}{fix}", err=True)
