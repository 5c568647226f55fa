"""``runbook look``: one probe alone."""

from __future__ import annotations

from typing import Annotated

import typer

from engine import catalog, reports, units
from engine.commands.printing import Folded, Json, emit, new_app, pairs
from engine.commands.run import Pid, Target
from engine.commands.seen import tell
from engine.errors import UsageError
from engine.reports import folded
from engine.terminal.glance import Glance, glance

app = new_app()


def _known_probes(incomplete: str) -> list[str]:
    """Names for the shell's completion."""
    return [name for name in catalog.installed().names("probe") if name.startswith(incomplete)]


@app.command(epilog="Example: runbook look event-flow --target lab --for 10s")
def look(  # noqa: PLR0913, PLR0917 - each is an option
    probe: Annotated[str, typer.Argument(metavar="PROBE", help="Which eye.", autocompletion=_known_probes)],
    target: Target = "",
    pid: Pid = None,
    seconds: Annotated[str, typer.Option("--for", "--window", metavar="TIME", help="How long.")] = "10s",
    options: Annotated[
        list[str] | None, typer.Option("--with", "-w", metavar="NAME=VALUE", help="An option of the probe.")
    ] = None,
    stacks: Folded = None,
    as_json: Json = False,
) -> None:
    """Look with one probe alone; change nothing."""
    if stacks is not None:
        reports.check_writable(stacks, named=True)
    window = units.seconds(seconds)
    if window <= 0:
        raise UsageError("a look of no time sees nothing", fix="write for example: --for 10s")
    wanted = Glance(probe=probe, target=target, pid=pid, seconds=window, options=pairs(options or ()))
    seen = glance(wanted, quiet=as_json)
    if as_json:
        emit(seen)
    else:
        tell(seen)
    if stacks is not None:
        folded.write(seen, stacks)
        typer.echo(f"stacks: {stacks}", err=as_json)
