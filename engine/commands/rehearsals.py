"""``runbook test``, ``record`` and ``new``: runbooks tried on evidence from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine import catalog, reports, text
from engine.commands.printing import Json, emit, new_app
from engine.errors import UsageError
from engine.record import Watcher
from engine.rehearsals import cases, files, junit, suite
from engine.rehearsals.coverage import Coverage
from engine.rehearsals.suite import Result, Suite

app = new_app()

#: Exit code by the worst result.
_CODES = {"ok": 0, "differs": 1, "wrong": 2}


@app.command("test", epilog="Example: runbook test events-dropped --coverage 100")
def rehearse(  # noqa: PLR0913, PLR0917 - each is an option
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE…]", help="Cases, directories of them, or runbooks; else all shipped."),
    ] = None,
    least: Annotated[
        float, typer.Option("--coverage", metavar="PERCENT", min=0, max=100, help="Least branch coverage.")
    ] = 0,
    unreached: Annotated[
        bool, typer.Option("--unreached", "-u", help="List the branches that no case goes.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Tell each run as it goes.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", "-r", metavar="FILE", help="Of one case: write its report.")
    ] = None,
    xml: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rehearse runbooks on recorded evidence; nothing is looked at or changed."""
    paths = cases.find(words or ())
    if report is not None and len(paths) != 1:
        raise UsageError(f"a report is of one case, and these are {len(paths)}", fix="name one case")
    if report is not None:
        reports.check_writable(report)
    done = suite.run_all(paths, catalog.installed(), _shown() if show else None)
    if report is not None and done.runs:
        reports.write(done.runs[0], report)
    if xml is not None:
        files.write(xml, junit.document(done))
    emit(_document(done)) if as_json else _tell(done, least, unreached=unreached)
    short = any(one.percent < least for one in done.coverages)
    raise typer.Exit(max(_CODES[done.worst], int(short)))


def _shown() -> Watcher:
    """Who tells runs as they go, plainly labelled."""
    from engine.terminal.live import Plain  # noqa: PLC0415 - only where it is shown

    typer.echo("REHEARSAL from recorded evidence. Nothing on this machine is looked at or changed.\n")
    sys.stdout.flush()
    return Plain(sys.stdout)


def _tell(done: Suite, least: float, *, unreached: bool) -> None:
    """A line per case, what differs below it; then the coverage."""
    for result in done.results:
        mark = {"ok": "ok", "differs": "DIFFERS", "wrong": "WRONG"}[result.result]
        typer.echo(text.plain(f"{mark:<8}{_name(result)}"))
        for line in (*map(str, result.differences), *result.complaints):
            typer.echo(text.plain(f"  {line}"))
    typer.echo("")
    for one in done.coverages:
        _tell_coverage(one, least, unreached=unreached)
    good = sum(result.result == "ok" for result in done.results)
    typer.echo(f"{text.several(len(done.results), 'case')}, {good} as expected")


def _name(result: Result) -> str:
    return f"{result.runbook}: {result.case}  ({result.file})" if result.case else result.file


def _tell_coverage(one: Coverage, least: float, *, unreached: bool) -> None:
    short = one.percent < least
    wanted = f", at least {least:g} % wanted" if short else ""
    typer.echo(
        text.plain(
            f"{one.runbook}: {one.reached} of {len(one.branches)} branches ({one.percent:.0f} %{wanted})"
        )
    )
    for branch in one.branches if unreached or short else ():
        if not branch.reached:
            typer.echo(text.plain(f"  {branch.where}: not reached: {branch.what}"))


def _document(done: Suite) -> dict[str, object]:
    """For machines."""
    return {
        "result": done.worst,
        "cases": done.results,
        "coverage": [
            {
                "runbook": one.runbook,
                "file": one.file,
                "branches": len(one.branches),
                "reached": one.reached,
                "unreached": [branch for branch in one.branches if not branch.reached],
            }
            for one in done.coverages
        ],
    }
