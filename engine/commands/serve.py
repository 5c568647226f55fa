"""``runbook serve``: alerts in, the page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.commands.printing import State, new_app

if TYPE_CHECKING:
    from engine.server.starting import Place

app = new_app()


@app.command(epilog="Example: runbook serve --settings serve.yaml")
def serve(
    part: Annotated[
        Literal["worker", "listener"] | None,
        typer.Option("--part", help="Only this part, for a service manager; else both."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="A file in place of /etc/runbook/serve.yaml.")
    ] = None,
    state: State = None,
    socket: Annotated[
        Path | None,
        typer.Option(
            "--socket", help="Where the parts meet; else /run/runbook/worker.sock for root without --state."
        ),
    ] = None,
    units: Annotated[
        Path | None,
        typer.Option(
            "--units", metavar="DIRECTORY", help="Only write systemd units for this installation into it."
        ),
    ] = None,
) -> None:
    """Take alerts, start their runs, show the page: unattended."""
    if units is not None:
        from engine.server import systemd  # noqa: PLC0415 - only once

        commands = systemd.units(units.absolute())
        typer.echo("\n".join(("written; to put them in force, as root:", *commands)))
        return
    from engine.server import settings as reading  # noqa: PLC0415 - only where it serves
    from engine.server import starting  # noqa: PLC0415

    starting.must_be_installed()
    chosen = reading.load(settings, starting.without_secret if part is None else lambda _: ())
    where = starting.place(chosen, state, socket, part)
    chosen = starting.at_home(chosen, where)
    if part == "worker":
        starting.work(chosen, where)
    elif part == "listener":
        starting.listen(chosen, where)
    else:
        starting.must_be_alone(where)
        terminal = sys.stdout.isatty()
        for line in starting.first_use(chosen, where, terminal=terminal):
            typer.echo(line)
        typer.echo(f"page: {starting.address(chosen)}/  (Ctrl-C ends it)")
        os.environ[starting.LENT] = str(where.uid)
        _watch(settings, where, own_state=state is not None, own_socket=socket is not None)


def _watch(settings: Path | None, where: Place, *, own_state: bool, own_socket: bool) -> None:
    """Become the process that keeps both parts running."""
    options: list[str] = []
    for name, value, given in (
        ("--settings", settings, settings is not None),
        ("--state", where.state, own_state),
        ("--socket", where.socket, own_socket),
    ):
        options += [name, str(value.absolute())] if value is not None and given else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "engine.server.watching", *options])  # noqa: S606 - no shell
