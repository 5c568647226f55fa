"""``runbook alerts``: what came, and what was decided about it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from engine import text
from engine.commands.printing import Json, State, emit, new_app, table

if TYPE_CHECKING:
    from engine.server.messages import AlertRow, Considered

app = new_app()


@app.command(epilog="Example: runbook alerts 3f9e --json")
def alerts(
    alert: Annotated[
        str, typer.Argument(metavar="[ID]", help="Only this one, with all that was decided about it.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    as_json: Json = False,
    state: State = None,
) -> None:
    """List alerts that came, what became of each, and why."""
    from engine.errors import UnknownName  # noqa: PLC0415
    from engine.journal import default_directory  # noqa: PLC0415
    from engine.server.messages import GetAlerts  # noqa: PLC0415
    from engine.server.worker.queue import Queue  # noqa: PLC0415

    place = state or default_directory()
    found: list[AlertRow] = []
    if (place / "queue.db").exists():
        queue = Queue.open(place, write=False)
        found = queue.alerts(GetAlerts(alert=alert, limit=limit))
        queue.close()
    if alert and not found:
        raise UnknownName("alert", alert, (), fix="runbook alerts lists the alerts that came")
    if as_json:
        emit(found)
    elif alert:
        for row in found:
            _tell(row)
    elif found:
        head = ("id", "received", "alert", "status", "fate", "run", "because")
        table(head, (_cells(row) for row in found))
    else:
        typer.echo("no alert has come yet; runbook serve takes them")


def _cells(row: AlertRow) -> tuple[str, ...]:
    came = time.strftime("%m-%d %H:%M:%S", time.gmtime(row.received_at))
    seen = f"{row.fate} ×{row.seen}" if row.seen > 1 else row.fate
    return (row.id[:8], came, row.alert.name, row.alert.status, seen, row.run or "-", row.because)


def _tell(row: AlertRow) -> None:
    """One alert with its trace."""
    alert = row.alert
    lines = [
        f"alert {row.id}",
        f"  {alert.name} {alert.status}, from {row.sender} at {text.day_and_time(row.received_at)}"
        + (f", {row.seen} times until {text.day_and_time(row.last_at)}" if row.seen > 1 else ""),
        f"  {row.fate}: {row.because}" + (f" (run {row.run})" if row.run else ""),
    ]
    lines += [f"  {name} = {value}" for name, value in sorted(alert.labels.items())]
    for considered in row.trace:
        lines += _considered(considered)
    for line in lines:
        typer.echo(text.plain(line))


def _considered(one: Considered) -> list[str]:
    fits = "fits" if one.fits else "does not fit"
    head = f"  {one.runbook or 'intake'} {fits}: {one.because}" + (f" → {one.target}" if one.target else "")
    return [head, *(f"    {guard.guard}: {guard.answer}, {guard.because}" for guard in one.guards)]
