"""``runbook test``, ``record`` and ``new``: runbooks tried on evidence from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine import catalog, reports, text
from engine.commands.printing import Json, State, emit, new_app, pairs
from engine.commands.run import Pid, Target
from engine.errors import UsageError
from engine.journal import Journal
from engine.language import inputs, loader
from engine.language.check import require
from engine.launch import Wish, find_target
from engine.record import Watcher
from engine.rehearsals import files, finding, junit, skeleton, suite
from engine.rehearsals import replay as replays
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
    replay: Annotated[
        str,
        typer.Option(
            "--replay", metavar="RUN", help="Would the runbook, as it is now, do what a past run did?"
        ),
    ] = "",
    state: State = None,
    as_json: Json = False,
) -> None:
    """Rehearse runbooks on recorded evidence; nothing is looked at or changed."""
    chosen = words or []
    done = _replayed(replay, chosen, state) if replay else _rehearsed(chosen, report, show=show)
    if report is not None and done.runs:
        reports.write(done.runs[0], report)
    if xml is not None:
        files.write(xml, junit.document(done))
    emit(_document(done)) if as_json else _tell(done, least, unreached=unreached)
    short = any(one.percent < least for one in done.coverages)
    raise typer.Exit(max(_CODES[done.worst], int(short)))


def _rehearsed(words: list[str], report: Path | None, *, show: bool) -> Suite:
    """What came of the cases that are meant."""
    paths = finding.find(words)
    if report is not None and len(paths) != 1:
        raise UsageError(f"a report is of one case, and these are {len(paths)}", fix="name one case")
    if report is not None:
        reports.check_writable(report)
    return suite.run_all(paths, catalog.installed(), _shown() if show else None)


def _replayed(run: str, words: list[str], state: Path | None) -> Suite:
    """What came of a past run, replayed."""
    if len(words) > 1:
        raise UsageError("a run is replayed with one runbook", fix="name one, or none for that of the run")
    with Journal.open(state, write=False) as journal:
        past = journal.run(run)
    return replays.of_past(past, catalog.installed(), *words)


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


# ── record, new ─────────────────────────────────────────────────────────────────


@app.command(epilog="Example: runbook record --run last -o case.yaml")
def record(  # noqa: PLR0913, PLR0917 - each is an option
    runbook: Annotated[
        str, typer.Argument(metavar="[RUNBOOK]", help="Whose looks to take, of what is now.")
    ] = "",
    run: Annotated[
        str,
        typer.Option("--run", metavar="RUN", help="Take what a past run saw, before and after its changes."),
    ] = "",
    target: Target = "",
    pid: Pid = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input of the runbook.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this new file.")
    ] = None,
    state: State = None,
) -> None:
    """Make a case for `runbook test` of what a runbook sees here, or of what a past run saw."""
    if bool(runbook) == bool(run):
        raise UsageError("name either a runbook or a run", fix="runbook record events-dropped, or --run last")
    if output is not None and output.exists():
        raise UsageError(f"{output} is there already", fix="name another file; nothing was overwritten")
    if run:
        with Journal.open(state, write=False) as journal:
            past = journal.run(run)
        told = replays.case_of_run(past, catalog.installed())
    else:
        told = _seen_now(runbook, target, pid, pairs(given or ()))
    if output is None:
        typer.echo(told, nl=False)
    else:
        files.write(output, told, anew=True)
        typer.echo(f"written: {output}; read it, then: runbook test {output}")


def _seen_now(runbook: str, target: str, pid: int | None, given: dict[str, str]) -> str:
    """The case of a live target."""
    parts = catalog.installed()
    loaded = loader.load(loader.find(runbook))
    require(loaded, parts)
    typed = inputs.resolve(loaded.document, dict(given))
    found = find_target(Wish(runbook=runbook, target=target, pid=pid), loaded, parts, typed)
    word = str(loaded.path.absolute()) if "/" in runbook else loaded.path.stem
    return replays.case_of_target(loaded, typed, found, parts, word=word)


@app.command(epilog="Example: runbook new queue-runs-over --look event-flow --look process")
def new(  # noqa: PLR0913, PLR0917 - each is an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new runbook's name: its symptom.")],
    look: Annotated[
        list[str] | None,
        typer.Option("--look", metavar="PROBE", help="Look with it; the first shows the symptom."),
    ] = None,
    until: Annotated[
        str, typer.Option("--until", metavar="CONDITION", help="When the trouble is over.")
    ] = "",
    decide: Annotated[str, typer.Option("--decide", metavar="DIAGNOSIS", help="What names the causes.")] = "",
    change: Annotated[
        list[str] | None, typer.Option("--change", metavar="NAME", help="A rung of its ladder; in order.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", help="Where; else ./runbooks if it is there, else here."),
    ] = None,
) -> None:
    """Write a commented skeleton of a runbook, with its first cases; overwrites nothing."""
    wanted = skeleton.Wanted(
        name=name,
        probes=tuple(look or ("process",)),
        until=until,
        diagnosis=decide,
        changes=tuple(change or ()),
    )
    place = directory or (Path("runbooks") if Path("runbooks").is_dir() else Path())
    made = {place / path: told for path, told in skeleton.make(wanted, catalog.installed()).items()}
    for path in made:
        if path.exists():
            raise UsageError(f"{path} is there already", fix="name it otherwise; nothing was written")
    for path, told in made.items():
        files.write(path, told, anew=True)
        typer.echo(f"written: {path}")
    typer.echo(f"next: edit it, then: runbook check {place / name}.yaml && runbook test {place / name}.yaml")
