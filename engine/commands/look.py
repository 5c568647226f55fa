"""``runbook look``: one probe alone."""

from __future__ import annotations

from typing import Annotated

import typer

from engine import catalog, reports, text, units
from engine.commands.printing import Folded, Json, emit, new_app, pairs
from engine.commands.run import Pid, Target
from engine.commands.seen import tell
from engine.errors import UsageError
from engine.reports import folded
from engine.terminal.glance import Glance, glance

app = new_app()
#: The longest look: all that a probe sees in it is kept in memory, and nothing is told before its end.
LONGEST_S = 3600.0


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
    if window > LONGEST_S:
        raise UsageError(
            f"a look of {text.span(window)} is too long: one hour is the most",
            fix="--for 1h; to follow an agent for longer: runbook exporter",
        )
    wanted = Glance(probe=probe, target=target, pid=pid, seconds=window, options=pairs(options or ()))
    seen = glance(wanted, quiet=as_json)
    problem: UsageError | None = None
    if stacks is not None:  # before anything is printed: whoever reads may close the pipe
        try:
            folded.write(seen, stacks)
        except UsageError as error:
            problem = error
    if as_json:
        emit(seen)
    else:
        tell(seen)
    if problem is not None:
        raise problem
    if stacks is not None:
        typer.echo(f"stacks: {stacks}", err=as_json)
