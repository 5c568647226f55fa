"""``runbook leases`` and ``keep``: temporary changes, given more time, ended now, or kept for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from engine import catalog, text, units
from engine.commands.printing import Json, State, emit, new_app, table
from engine.commands.record import RunId
from engine.errors import UsageError
from engine.journal import Journal
from engine.launch import Wish, tools
from engine.record import Extended, Settled
from engine.running import leases as temporary
from engine.running import watch

app = new_app()
leases = typer.Typer(rich_markup_mode=None, add_completion=False, invoke_without_command=True)
app.add_typer(leases, name="leases", help="List temporary changes; give them more time, end or keep them.")

Attempt = Annotated[
    int | None,
    typer.Argument(metavar="ATTEMPT", help="The number of one change; all of the run's when left out."),
]


@leases.callback(epilog="Example: runbook leases extend last --by 1h")
def listed(context: typer.Context, as_json: Json = False, state: State = None) -> None:
    """List temporary changes; give them more time, end or keep them."""
    if context.invoked_subcommand is not None:
        return
    with Journal.open(state, write=False) as journal:
        found = temporary.standing(journal, catalog.installed())
    if as_json:
        emit(found)
    elif found:
        rows = (
            (one.run, str(one.attempt), one.target, one.where, f"{one.before} → {one.after}",
             text.moment(one.until) or "")
            for one in found
        )  # fmt: skip
        table(("run", "attempt", "target", "where", "change", "until"), rows)
    else:
        typer.echo("no change is temporary")


@leases.command(epilog="Example: runbook leases extend last 1 --by 1h")
def extend(  # noqa: PLR0913, PLR0917 - each is an option
    run: RunId,
    attempt: Attempt = None,
    by: Annotated[
        str, typer.Option("--by", metavar="TIME", help="How much more: 30m, 1h; -30m for less.")
    ] = "",
    comment: Annotated[str, typer.Option("--comment", help="Why, for the audit.")] = "",
    as_json: Json = False,
    state: State = None,
) -> None:
    """Give temporary changes more time."""
    seconds = _seconds(by)
    with tools(Wish(runbook="", state=state)) as everything:
        done = temporary.extend(run, everything, attempt, seconds=seconds, comment=comment)
        watch.start(everything.journal)
    emit(done) if as_json else _tell_extended(done)


@leases.command(epilog="Example: runbook leases end last")
def end(run: RunId, attempt: Attempt = None, as_json: Json = False, state: State = None) -> None:
    """Undo temporary changes now."""
    with tools(Wish(runbook="", state=state)) as everything:
        settled = temporary.end_now(run, everything, attempt)
    emit(settled) if as_json else tell(settled)
    raise typer.Exit(4 if any(one.state in {"left", "failed"} for one in settled) else 0)


@app.command(epilog="Example: runbook keep last")
@leases.command(epilog="Example: runbook leases keep last 1")
def keep(run: RunId = "last", attempt: Attempt = None, as_json: Json = False, state: State = None) -> None:
    """Make temporary changes last; prints the lines for the configuration."""
    with tools(Wish(runbook="", state=state)) as everything:
        settled = temporary.make_lasting(run, everything, attempt)
        lines = temporary.lines_of(run, settled, everything)
    if as_json:
        emit(settled)
    elif settled:
        tell(settled)
        typer.echo(
            "into the configuration that this agent is set up from, or its next roll-out takes it back:\n"
        )
        for line in lines.splitlines():
            typer.echo(text.plain(line))
    else:
        typer.echo("no change of it is temporary")


def tell(settled: Sequence[Settled]) -> None:
    """A line per change, and the way by hand where we could not."""
    for one in settled:
        typer.echo(f"change {one.attempt}: {one.state}: {text.plain(one.because)}")
        if one.undo_by_hand:
            typer.echo(f"  by hand: {text.plain(one.undo_by_hand)}")


def _tell_extended(done: Sequence[Extended]) -> None:
    for one in done:
        typer.echo(f"change {one.attempt}: until {text.moment(one.lease_until)}")


def _seconds(written: str) -> float:
    """How much more time; less than nothing takes some away.

    Raises:
        UsageError: It is no time.
    """
    if not written:
        raise UsageError("how much more time is not said", fix="runbook leases extend RUN --by 1h")
    sign = -1.0 if written.startswith("-") else 1.0
    return sign * units.seconds(written.lstrip("+-"))
