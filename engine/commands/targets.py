"""``runbook targets``: the eBPF agents that run here."""

from __future__ import annotations

from typing import Annotated

import typer

from engine import catalog, text
from engine.agents import targets as finding
from engine.commands.printing import Json, emit, new_app, table
from engine.errors import RunbookError
from engine.values import Inventory, Knob, Target

app = new_app()


@app.command(epilog="Example: runbook targets --explain")
def targets(
    explain: Annotated[
        bool, typer.Option("--explain", help="Also the settings that can be changed, as they are now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the eBPF agents that run on this host."""
    finder = finding.on_this_host()
    running = finder.find_all()
    found = (*running, *finder.stopped(running))
    if as_json:
        emit({"targets": found, "notes": finder.notes})
        return
    head = ("name", "profile", "pids", "comm", "programs", "maps", "rings", "fill")
    table(head, (row(target, finder.inventory) for target in found)) if found else typer.echo(_NONE)
    for target in found if explain else ():
        explain_one(target)
    for note in finder.notes:
        typer.echo(f"note: {text.plain(note)}", err=True)


_NONE = "no eBPF agent runs here; practise with: runbook lab start --fault burst"


def row(target: Target, inventory: Inventory | None) -> list[str]:
    """One line of the table; ``?`` for what could not be listed, which a note explains."""
    pids = [str(process.pid) for process in target.processes]
    shown = ",".join(pids[:3]) + (",…" if len(pids) > 3 else "") or "stopped"
    comm = target.processes[0].comm if target.processes else "-"
    held = (target.program_ids, target.map_ids, target.rings)
    counts = [str(len(ids)) if ids or inventory is not None else "?" for ids in held]
    name = target.name if target.processes else target.ref
    return [name, target.profile, shown, comm, *counts, _fill(target, inventory)]


def _fill(target: Target, inventory: Inventory | None) -> str:
    """How full its event rings are at this moment, the fullest; ``-`` where the kernel does not say."""
    if inventory is None:
        return "?"
    rings = [one for one in (inventory.maps if inventory else ()) if one.id in target.rings]
    fills = [
        ring.fill_bytes / ring.max_entries
        for ring in rings
        if ring.fill_bytes is not None and ring.max_entries
    ]
    return text.share(max(fills)) if fills else "-"


def explain_one(target: Target) -> None:
    """Print one target's addresses and its knobs with their present values."""
    typer.echo(f"\n{text.plain(target.name)}  ({text.plain(target.ref)})")
    places = {"settings": target.config_file, "metrics": target.metrics_url, "log": target.log_file}
    for name, place in places.items():
        typer.echo(f"  {name:<10} {text.plain(place) or '-'}")
    typer.echo(f"  {'own loss':<10} it can show {target.drop_visibility} of it")
    for knob in target.knobs.values():
        now = _value(knob, target)
        if knob.live is not None:
            now += f", live: {_value(knob.live, target)}"
        where = "" if now.startswith("unknown") else text.plain(_where(knob))
        typer.echo(f"  {knob.name:<18} {now:<16} {where}".rstrip())


def _value(knob: Knob, target: Target) -> str:
    """What stands there now; what rules when nothing does; why it can't be read."""
    try:
        now = catalog.installed().knob_backend(knob.backend).read(knob, target)
    except RunbookError as error:
        return f"unknown: {text.plain(error.problem)}"
    if now.missing:
        return f"unknown: {text.plain(now.missing)}"
    if now.value is None:
        return f"not set ({text.setting(knob.default)})" if knob.default is not None else "not set"
    return text.plain(now.raw) if now.raw is not None else text.setting(now.value)


def _where(knob: Knob) -> str:
    return f"{knob.file}: {knob.path}" if knob.file else f"{knob.backend} {knob.path}".strip()
