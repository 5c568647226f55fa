"""``runbook audit``: who did what, whether the journal was altered, and how long runs are kept whole."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from engine import audit as auditing
from engine import host, text, units
from engine.commands.printing import Json, State, emit, new_app
from engine.errors import UsageError
from engine.journal import Journal, retention

app = new_app()
audit = typer.Typer(rich_markup_mode=None, add_completion=False, invoke_without_command=True)
app.add_typer(audit, name="audit", help="List who did what, when and by whose leave; verify the chain.")

_ENDINGS = {".html": "html", ".htm": "html", ".csv": "csv", ".json": "json", ".txt": "text"}
_TIP = re.compile(r"(\d+):([0-9a-fA-F]{64})")


@audit.callback(epilog="Example: runbook audit --since 30d -o audit.html && runbook audit --verify")
def listed(  # noqa: PLR0913, PLR0917 - each is an option
    context: typer.Context,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only what happened since: 30d, 2026-11-01.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Only what happened before.")] = "",
    target: Annotated[str, typer.Option("--target", help="Only of runs on this target.")] = "",
    run: Annotated[str, typer.Option("--run", help="Only of this run and those that it called.")] = "",
    form: Annotated[str, typer.Option("--format", "-f", help="text, html, csv or json.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check that no row was altered.")] = False,
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="PATH", help="A copy, by its file or directory.")
    ] = None,
    key: Annotated[
        list[Path] | None, typer.Option("--key", metavar="FILE", help="With --verify: a key kept elsewhere.")
    ] = None,
    tip: Annotated[
        str, typer.Option("--tip", metavar="ROW:HASH", help="With --verify: a tip kept elsewhere.")
    ] = "",
    as_json: Json = False,
    state: State = None,
) -> None:
    """List who did what, when and by whose leave; verify the chain."""
    if context.invoked_subcommand is not None:
        return
    source = Journal.open(state, write=False) if journal is None else Journal.copy(journal)
    with source:
        if verify:
            complete = journal is None or journal.is_dir()
            verdict = auditing.verify(source, key or (), _tip(tip) if tip else None, complete=complete)
            emit(verdict) if as_json else typer.echo(auditing.sentence(verdict))
            raise typer.Exit(0 if verdict.whole else 4)
        wanted = "json" if as_json else form or (_ENDINGS.get(output.suffix, "text") if output else "text")
        auditing.must_be_known(wanted)
        found = auditing.entries(
            source,
            since=_moment(since) if since else 0.0,
            until=_moment(until) if until else None,
            target=target,
            run=run,
        )
    said = auditing.render(found, wanted)
    if output is None:
        typer.echo(said, nl=False)
    else:
        _write(said, output)
        typer.echo(f"written: {output}, {text.several(len(found), 'row')}")


@audit.command(epilog="Example: runbook audit prune --keep 400d")
def prune(
    keep: Annotated[
        str, typer.Option("--keep", metavar="TIME", help="Leave runs whole that ended since: 400d.")
    ],
    as_json: Json = False,
    state: State = None,
) -> None:
    """Drop the details of old runs; what the audit tells of stays, and the chain verifies."""
    with Journal.open(state) as journal:
        done = retention.prune(journal, keep_s=units.seconds(keep), now=time.time(), by=host.operator())
    if as_json:
        emit(done)
    elif done.runs:
        rows, size = text.several(done.rows, "row"), text.size(done.bytes)
        typer.echo(f"dropped the details of {text.several(done.runs, 'run')}: {rows}, {size}")
    else:
        typer.echo(
            f"no run that ended more than {text.span(units.seconds(keep))} ago is whole and out of force"
        )


def _moment(written: str) -> float:
    """``30d`` ago, or a day or moment in ISO-8601 (UTC where it names no zone), as epoch seconds.

    Raises:
        UsageError: It is neither.
    """
    try:
        found = datetime.fromisoformat(written)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        pass
    try:
        return time.time() - units.seconds(written)
    except UsageError:
        raise UsageError(
            f"{written!r} is no time", fix="write for example: 30d, 2026-11-22, 2026-11-22T03:00"
        ) from None


def _tip(written: str) -> tuple[int, str]:
    found = _TIP.fullmatch(written.strip())
    if not found:
        raise UsageError(f"{written!r} is no tip", fix="write it as --verify prints it: ROW:HASH")
    return int(found[1]), found[2].lower()


def _write(said: str, path: Path) -> None:
    """Whole or not at all.

    Raises:
        UsageError: It could not be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(said, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"{path} could not be written: {error.strerror}",
            fix="name a file in a directory of yours with -o",
        ) from None
