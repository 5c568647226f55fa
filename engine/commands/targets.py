"""``runbook targets``: the eBPF agents that run here."""

from __future__ import annotations

from typing import Annotated

import typer

from engine import catalog, text
from engine.agents import targets as finding
from engine.commands.printing import Json, emit, new_app, table
from engine.errors import UnknownName
from engine.values import Inventory, Target

app = new_app()


@app.command(epilog="Example: runbook targets lab --explain")
def targets(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Only this profile, or this agent.", show_default=False)
    ] = "",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Why each process fits a profile or not; what an agent answers now."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the eBPF agents that run on this host."""
    finder = finding.on_this_host()
    running = finder.find_all()
    found = [one for one in (*running, *finder.stopped(running)) if not name or _means(name, one)]
    if name and not found and name not in finder.known.files:
        known = {*finder.known.files, *(one.name for one in running)}
        raise UnknownName("agent or profile", name, known)
    if as_json:
        emit(
            {"targets": found, "notes": finder.notes, **(_explained(finder, found, name) if explain else {})}
        )
        return
    head: tuple[str, ...] = ("name", "profile", "pids", "comm", "programs", "maps", "rings", "fill")
    rows = [row(target, finder.inventory) for target in found]
    if len({target.name for target in found if target.processes}) < sum(bool(one.processes) for one in found):
        head = (*head, "config")  # what tells agents of one name apart
        rows = [[*cells, target.config_file or "-"] for cells, target in zip(rows, found, strict=True)]
    table(head, rows) if found else typer.echo(_NONE)
    if explain:
        _tell(finder, found, name)
    for note in finder.notes:
        typer.echo(f"note: {text.plain(note)}", err=True)


def _means(name: str, target: Target) -> bool:
    return name in (target.name, target.profile, target.ref) or any(
        name in (f"{target.profile}:{one.pid}", one.comm) for one in target.processes
    )


def _explained(finder: finding.Finder, found: list[Target], name: str) -> dict[str, object]:
    """Why, and what they answer, as data."""
    from engine.agents import answers  # noqa: PLC0415 - only where it is asked for

    known = {one.profile: one for one in finder.known.profiles}
    parts = catalog.installed()
    return {
        "profiles": finder.explain(name if name in known else ""),
        "answers": [answers.ask(one, known.get(one.profile), finder.inventory, parts) for one in found],
    }


def _tell(finder: finding.Finder, found: list[Target], name: str) -> None:
    from engine.agents import answers  # noqa: PLC0415
    from engine.commands import explained  # noqa: PLC0415

    known = {one.profile: one for one in finder.known.profiles}
    asked = name if name in known else ""
    if not name or asked:
        explained.tell_profiles(finder.explain(asked), all_of_them=bool(asked))
    for one in found:
        told = answers.ask(one, known.get(one.profile), finder.inventory, catalog.installed())
        explained.tell_target(one, told)


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
