"""``runbook doctor``: what works on this machine."""

from __future__ import annotations

import sys

import typer

from engine import catalog, text
from engine import doctor as examining
from engine.commands.printing import Json, State, emit, new_app

app = new_app()

_SIGNS = {
    "yes": ("✓", typer.colors.GREEN),
    "no": ("✗", typer.colors.RED),
    "unknown": ("?", typer.colors.YELLOW),
}


@app.command(epilog="Example: runbook doctor --json")
def doctor(as_json: Json = False, state: State = None) -> None:
    """Say what works on this machine, and what mends the rest."""
    checks = list(examining.examine(catalog.installed(), state))
    healthy = examining.healthy(checks)
    if as_json:
        emit({"ok": healthy, "checks": checks})
    else:
        _tell(checks)
        typer.echo("\nall that is needed is there" if healthy else "\nsomething that is needed is missing")
    raise typer.Exit(0 if healthy else 1)


def _tell(checks: list[examining.Check]) -> None:
    """A line per check, with what mends it below."""
    group = ""
    for check in checks:
        if check.group != group:
            typer.echo(f"\n{check.group}" if group else check.group)
            group = check.group
        sign, colour = _SIGNS[check.support.answer]
        coloured = typer.style(sign, fg=colour) if sys.stdout.isatty() else sign
        typer.echo(f"  {coloured} {check.name:<18} {text.plain(check.support.why)}".rstrip())
        if check.support.fix and check.support.answer != "yes":
            typer.echo(f"      fix: {text.plain(check.support.fix)}")
