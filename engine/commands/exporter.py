"""``runbook exporter``: the health of all agents as a Prometheus page."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

import typer

from engine import catalog
from engine.agents import targets
from engine.clock import Cancel, SystemClock, stop_on_signals
from engine.commands.printing import new_app
from engine.commands.run import Target
from engine.errors import RunbookError, UsageError
from engine.metering import exposition, gathering

app = new_app()
_EVERY_S = 3600.0


@app.command(epilog="Example: runbook exporter --listen 0.0.0.0:9436")
def exporter(
    listen: Annotated[str, typer.Option(metavar="ADDRESS:PORT", help="Where to answer.")] = "127.0.0.1:9436",
    target: Target = "",
    once: Annotated[bool, typer.Option("--once", help="Print the page once and end.")] = False,
    statistics: Annotated[
        bool,
        typer.Option("--statistics", help="Keep BPF run statistics on: totals, for 25 to 31 ns a BPF run."),
    ] = False,
) -> None:
    """Give the health of all eBPF agents to Prometheus."""
    need_root()
    address, port = place(listen)
    cancel = Cancel()
    clock = SystemClock(cancel)
    meters = gathering.installed(catalog.installed(), thorough=statistics)
    with (
        targets.followed_on_this_host() as finder,
        gathering.Gatherer(finder, meters, clock, target) as gatherer,
    ):
        if once:
            typer.echo(exposition.text(gatherer), nl=False)
            return
        gatherer.read()  # a wrong --target is told now, not at the first scrape
        server = exposition.serve(gatherer, address, port)
        typer.echo(f"http://{address}:{server.server_port}/metrics; end with Ctrl-C", err=True)
        with stop_on_signals(cancel), suppress(KeyboardInterrupt):
            while not cancel:
                clock.sleep(_EVERY_S)
        server.shutdown()
        server.server_close()


def need_root() -> None:
    """Raises ``RunbookError`` when we may not see other processes' BPF objects."""
    if os.geteuid() != 0:
        raise RunbookError("BPF objects of other processes can be seen by root only", fix="run it with sudo")


def place(listen: str) -> tuple[str, int]:
    """Address and port of ``ADDRESS:PORT``, ``[::1]:PORT`` or ``:PORT``.

    Raises:
        UsageError: It is none.
    """
    address, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{listen!r} is no ADDRESS:PORT", fix="write for example: --listen 127.0.0.1:9436")
    return address.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - as it was asked for
