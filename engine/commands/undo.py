"""``runbook undo`` and ``resume``: what a later process does with a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine import text
from engine.commands.printing import Json, State, emit, new_app, pairs
from engine.commands.record import RunId
from engine.commands.traced import traced
from engine.launch import Wish, go_on, policy_of, tools
from engine.record import Settled
from engine.reports import json as machine
from engine.running import leases as temporary
from engine.running import resume as later
from engine.terminal import live

app = new_app()


@app.command(epilog="Example: runbook resume last")
def resume(  # noqa: PLR0913, PLR0917 - each is an option
    run: RunId = "last",
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", "-a", metavar="NAME=VALUE", help="The answer to what the run asked."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Answer yes where the policy lets --yes answer.")
    ] = False,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="A policy file in place of the one it was started with."),
    ] = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Finish a run that was interrupted, or that waits for an answer."""
    wish = Wish(runbook="", yes=yes, policy=policy or policy_of(run, state), state=state)
    with traced(live.watcher(quiet=as_json)) as watcher:
        done = go_on(run, wish, watcher, pairs(answer or ()))
    if as_json:
        emit(machine.document(done))
    raise typer.Exit(machine.exit_code(done))


@app.command(epilog="Example: runbook undo 20261122-0301")
def undo(
    run: RunId = "last",
    leases: Annotated[
        bool, typer.Option("--leases", help="Only temporary changes whose time is up, of all runs.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With --leases: wait for each until none is left.")
    ] = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Take back what a run changed, exactly."""
    with tools(Wish(runbook="", state=state)) as everything:
        if wait:
            temporary.keep_leases(everything)
        settled = temporary.end_leases(everything) if leases or wait else later.undo(run, everything)
        others = later.runs_in_force(everything) if run == "last" and not (settled or leases or wait) else []
    emit(settled) if as_json else _tell(settled)
    for other in others:
        typer.echo(f"in force from an earlier run; take it back with: runbook undo {other}", err=as_json)
    raise typer.Exit(4 if any(one.state in {"left", "failed"} for one in settled) else 0)


def _tell(settled: Sequence[Settled]) -> None:
    """A line per change, and the way by hand where we could not."""
    for one in settled:
        typer.echo(f"change {one.attempt}: {one.state}: {text.plain(one.because)}")
        if one.undo_by_hand:
            typer.echo(f"  by hand: {text.plain(one.undo_by_hand)}")
    if not settled:
        typer.echo("nothing to take back: no change of it is in force")
