"""``runbook run``: the main job."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from engine import reports
from engine.commands.documents import RunbookName
from engine.commands.printing import Json, State, emit, new_app, pairs
from engine.commands.traced import traced
from engine.launch import Wish, launch
from engine.reports import json as machine
from engine.terminal import live

app = new_app()

Target = Annotated[
    str, typer.Option("--target", "-t", help="Which agent: its name, NAME:PID, or a process name.")
]
Pid = Annotated[int | None, typer.Option("--pid", min=1, help="Which agent: one of its processes.")]
Policy = Annotated[
    Path | None, typer.Option("--policy", help="A policy file in place of /etc/runbook/policy.yaml.")
]


@app.command(epilog="Example: runbook run events-dropped --target falco --dry-run --report plan.html")
def run(  # noqa: PLR0913, PLR0917 - each is an option
    runbook: RunbookName,
    target: Target = "",
    pid: Pid = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input of the runbook.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Answer yes where the policy lets --yes answer.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look and plan; change nothing.")] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", "-r", metavar="FILE", help="Write a report: .html, .md, .txt, .json."),
    ] = None,
    as_json: Json = False,
    policy: Policy = None,
    state: State = None,
) -> None:
    """Run a runbook on an agent: evidence, cause, guarded change, proof."""
    for path in report or ():
        reports.check_writable(path)
    wish = Wish(
        runbook=runbook, target=target, pid=pid, inputs=pairs(given or ()), yes=yes,
        dry_run=dry_run, policy=policy, state=state,
    )  # fmt: skip
    with traced(live.watcher(quiet=as_json)) as watcher:
        done = launch(wish, watcher)
    for path in report or ():
        reports.write(done, path)
        with suppress(OSError):  # a terminal that has gone takes nothing from the outcome
            typer.echo(f"  report: {path}", err=as_json)
    if as_json:
        with suppress(OSError):
            emit(machine.document(done))
    raise typer.Exit(machine.exit_code(done))
