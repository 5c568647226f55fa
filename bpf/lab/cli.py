"""``runbook lab``: practice agents from the command line.

Not here: anything but parsing, handing over and printing (``lab``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpf.lab import lab
from bpf.lab.down import deaths
from bpf.lab.fault_list import as_json, as_text
from bpf.lab.faults import FAULTS, faults_of
from bpf.lab.rates import measure
from engine.errors import RunbookError

app = typer.Typer(
    help="A small real eBPF agent to practise on, with faults to switch on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command(epilog="Example: runbook lab start --fault burst")
def start(
    fault: Annotated[str, typer.Option(help=f"One of: {', '.join(FAULTS)}.", show_default=False)] = "",
    config: Annotated[
        Path | None, typer.Option(help="Your own configuration, in place of the fault's.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the instance; else the fault's name.")] = "",
    seconds: Annotated[int, typer.Option("--for", help="Seconds to live.")] = lab.LIFETIME_S,
) -> None:
    """Start an agent with its event generator, and wait until it is healthy."""
    try:
        started = lab.start(fault, config_file=config, name=name, seconds=seconds)
    except RunbookError as error:
        _fail(error)
    typer.echo(_state(started))
    typer.echo(f"  config {started.config_file}\n  log    {started.log_file}")
    typer.echo(f"  stop   runbook lab stop {started.name}")


@app.command("list", epilog="Example: runbook lab list --json")
def list_instances(
    json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """List the agents, with the events they watch and lose, over one second."""
    rows = measure(lab.instances())
    if json:
        typer.echo(rows.as_json())
    else:
        typer.echo(rows.as_text())


@app.command(epilog="Example: runbook lab faults high-cpu")
def faults(
    runbook: Annotated[str, typer.Argument(help="Only those that this runbook is practised on.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """List the faults by the runbook they are practice for, with their cause and what mends it."""
    try:
        chosen = faults_of(runbook)
    except RunbookError as error:
        _fail(error)
    typer.echo(as_json(chosen) if json else as_text(chosen))


@app.command(epilog="Example: runbook lab restart missing-capability")
def restart(
    name: Annotated[str, typer.Argument(help="Which one; not needed when there is only one.")] = "",
    config: Annotated[
        str, typer.Option(help="Which one, by its configuration file.", show_default=False)
    ] = "",
) -> None:
    """Start an agent and its generator anew, and wait until it is healthy or has said why not."""
    try:
        started = lab.restart(lab.instance_named(name) if not config else lab.instance_of(Path(config)))
    except RunbookError as error:
        _fail(error)
    typer.echo(_state(started))


@app.command(epilog="Example: runbook lab stop burst")
def stop(
    name: Annotated[str, typer.Argument(help="Which one; not needed when there is only one.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Stop an agent and its generator, and remove all that belongs to them."""
    try:
        for instance in lab.instances() if everything else (lab.instance_named(name),):
            lab.stop(instance)
            typer.echo(f"{instance.name}: stopped")
    except RunbookError as error:
        _fail(error)


def _state(started: lab.Instance) -> str:
    state = started.metrics_url
    if deaths(started):
        state = "it dies, and its supervisor starts it again"
    elif not started.alive:
        state = "it is down"
    elif lab.fails(started):
        state = "its programs do not load; it tries again"
    return f"{started.name}: lab-agent, pid {started.pid}; {state}"


def _fail(error: RunbookError) -> None:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(error.exit_code) from None
