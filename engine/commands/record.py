"""``runbook runs`` and ``report``: what the journal holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine import reports, text
from engine.commands.printing import Folded, Json, State, emit, new_app, table
from engine.journal import Journal
from engine.record import Run
from engine.reports import folded

app = new_app()


def _known_runs(incomplete: str) -> list[str]:
    """Ids for the shell's completion."""
    with Journal.open(write=False) as journal:
        return [run.head.id for run in journal.runs(50) if run.head.id.startswith(incomplete)]


RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's id, the beginning of one, or `last`.", autocompletion=_known_runs
    ),
]


#: A cell for people is cut beyond it; JSON holds all.
_WIDEST = 48


@app.command(epilog="Example: runbook runs --json | jq '.[0].outcome'")
def runs(
    as_json: Json = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that wait for a yes or an answer.")
    ] = False,
    state: State = None,
) -> None:
    """List past and running runs, newest first."""
    with Journal.open(state, write=False) as journal:
        shown = _waiting(journal)[:limit] if waiting else journal.runs(limit)
        found = [_row(run, undone=_undone(run, journal)) for run in shown]
    if as_json:
        emit(found)
    elif found:
        head = ("id", "runbook", "target", "outcome", "started_at", "took")
        table(head, ([_cell(row, name) for name in head] for row in found))
        if len(found) == limit:
            typer.echo(f"the newest {limit}; older ones with --limit", err=True)
    else:
        typer.echo("no run waits" if waiting else "no runs yet; start one with: runbook run NAME")


def _waiting(journal: Journal) -> list[Run]:
    from engine.running.waiting import all_waiting  # noqa: PLC0415 - 30 ms, and a list needs none of it

    return [run for run, *_ in all_waiting(journal)]


def _cell(row: dict[str, object], name: str) -> str:
    """A field for people."""
    took = row["took"]
    if name == "took" and isinstance(took, float):
        return text.span(took)
    words = str(row[name] or "-")
    if len(words) > _WIDEST and name != "id":  # that is copied
        words = f"{words[: _WIDEST - 1]}…"
    return f"{words}, later undone" if name == "outcome" and row["later_undone"] else words


def _undone(run: Run, journal: Journal) -> bool:
    """Whether what a run had changed for the better was taken back after it."""
    if run.head.outcome not in {"fixed", "mitigated"}:
        return False
    runs = [run.head.id, *journal.called_by(run.head.id)]
    return all(one.state in {"undone", "not-made"} for name in runs for one in journal.attempts(name))


def _row(run: Run, *, undone: bool) -> dict[str, object]:
    """One run as ``runs`` lists it."""
    head = run.head
    took = None if head.ended_at is None else round(head.ended_at - head.started_at, 3)
    return {
        "id": head.id,
        "runbook": head.runbook,
        "target": head.target,
        "target_ref": head.target_ref,
        "outcome": head.outcome or run.state,
        "later_undone": undone,
        "started_at": text.moment(head.started_at),
        "ended_at": text.moment(head.ended_at),
        "took": took,
        "dry_run": head.dry_run,
        "called_by": head.called_by,
        "sentence": head.sentence,
    }


@app.command(epilog="Example: runbook report last --format html -o report.html")
def report(  # noqa: PLR0913, PLR0917 - each is an option
    run: RunId = "last",
    form: Annotated[str, typer.Option("--format", "-f", help="text, html, md or json.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    stacks: Folded = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Tell a run again from its journal, as text, HTML, Markdown or JSON."""
    name = reports.format_named("json" if as_json else form or "text")
    if output is not None and output.suffix == folded.ENDING and not form:
        output, stacks = None, output
    if output is not None:
        reports.check_writable(output, named=bool(form))
    if stacks is not None:
        reports.check_writable(stacks, named=True)
    with Journal.open(state, write=False) as journal:
        found = journal.run(run)
    if stacks is not None:
        typer.echo(folded.write_run(found, stacks))
    elif output is None:
        typer.echo(reports.render(found, name), nl=False)
    if output is not None:
        reports.write(found, output, name if form else None)
        typer.echo(f"written: {output}")
