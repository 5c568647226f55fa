"""``runbook list``, ``show``, ``check`` and ``schema``: the documents, nothing of the machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine import catalog, text
from engine.commands.printing import Json, emit, new_app, table
from engine.errors import DocumentError, RunbookError
from engine.language import loader

app = new_app()

#: Kind of document → the key that names it; a case names its runbook too.
_NAMED = {"case": "case: …", "runbook": "runbook: …", "profile": "profile: …", "policy": "policy: 1"}
#: Directory, or ``policy`` for a file of that name → the kind of document that lies there.
_PLACES = {"policy": "policy", "policies": "policy", "agents": "profile", "rehearsals": "case"}


def known_runbooks(incomplete: str) -> list[str]:
    """Names for the shell's completion."""
    return [name for name in loader.available() if name.startswith(incomplete)]


RunbookName = Annotated[
    str,
    typer.Argument(
        metavar="RUNBOOK", help="A runbook's name, or a YAML file.", autocompletion=known_runbooks
    ),
]


@app.command("list", epilog="Example: runbook list")
def list_runbooks(as_json: Json = False) -> None:
    """List the runbooks that can be run here."""
    rows = [_row(name, path) for name, path in loader.available().items()]
    if as_json:
        emit(rows)
    elif rows:
        table(("runbook", "summary"), ((row["name"], row["summary"]) for row in rows))
    else:
        typer.echo("no runbooks here; put YAML files into ./runbooks or /etc/runbook/runbooks")
    for refused in loader.passed_over():
        typer.echo(f"left out: {refused.problem}\n  fix: {refused.fix}", err=True)


def _row(name: str, path: Path) -> dict[str, str]:
    """One runbook as ``list`` shows it; a broken one says so instead of hiding the others."""
    try:
        summary = loader.load(path, only_looks=True).document.summary
    except RunbookError:
        summary = f"! it is broken: runbook check {path}"
    return {"name": name, "summary": summary, "file": str(path)}


@app.command(epilog="Example: runbook show events-dropped")
def show(runbook: RunbookName, as_json: Json = False) -> None:
    """Tell in words what a runbook looks at and what it may change."""
    from engine.language.describe import describe  # noqa: PLC0415 - only this command's

    loaded = loader.load(loader.find(runbook))
    if as_json:
        emit(loaded.document)
    else:
        typer.echo("\n".join(describe(loaded.document, catalog.installed(), loaded.path.parent)))


@app.command(epilog="Example: runbook check runbooks/*.yaml")
def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Runbooks, cases, agent profiles or policies.")
    ],
    as_json: Json = False,
) -> None:
    """Check runbook files: every complaint at once, with its line."""
    found = {name: _complaints(name) for name in files}
    wrong = [line for lines in found.values() for line in lines if " warning: " not in line]
    if as_json:
        emit({"ok": not wrong, "files": found})
    else:
        _tell_complaints(found)
    raise typer.Exit(2 if wrong else 0)


def _tell_complaints(found: dict[str, list[str]]) -> None:
    """Complaints on stderr, as compilers give them; what is right on stdout."""
    for name, lines in found.items():
        for line in lines:
            typer.echo(text.plain(line), err=True)
        if not lines:
            typer.echo(f"{text.plain(name)}: ok")


def _complaints(name: str) -> list[str]:
    """All that is wrong with one document, whichever kind it is."""
    try:
        path = loader.find(name)
        kind, why = _kind(path, loader.read_bytes(path))
    except RunbookError as error:
        return [f"{error.problem} ({error.fix})"]
    taken = f"{name}: warning: taken for a {kind} by its {why}: write `{_NAMED[kind]}` at its top to say so"
    return [*_found(path, kind), *([taken] if why else [])]


def _found(path: Path, kind: str) -> list[str]:
    """All that is wrong with a document of this kind."""
    try:
        return _judge(path, kind)
    except DocumentError as error:
        return list(error.complaints)
    except RunbookError as error:
        return [f"{error.problem} ({error.fix})"]


def _kind(path: Path, raw: bytes) -> tuple[str, str]:
    """Which kind of document a file is, and by what it was told where the key that names it is missing."""
    from engine.language.schema import keys  # noqa: PLC0415

    there = {key.decode() for key in re.findall(rb"^([a-z_-]+):", raw, re.MULTILINE)}
    named = [kind for kind in _NAMED if kind in there]
    if named == ["runbook"] and "expect" in there:
        return "case", "keys"
    if named:
        return named[0], ""
    by_place = _PLACES.get("policy" if path.stem == "policy" else path.absolute().parent.name)
    if by_place:
        return by_place, "place"
    fits = {kind: len(there & keys(kind)) for kind in ("runbook", "profile", "policy", "case")}
    return max(fits, key=lambda kind: fits[kind]), "keys"


def _judge(path: Path, kind: str) -> list[str]:
    """Load one document and give what else is to be said of it.

    Raises:
        RunbookError: It is wrong.
    """
    if kind == "profile":
        from engine.agents import profile_check  # noqa: PLC0415

        return profile_check.check(path, catalog.installed())
    if kind == "policy":
        from engine.guarding import policy  # noqa: PLC0415

        policy.load(path, only_looks=True)
    elif kind == "case":
        from engine.rehearsals import cases  # noqa: PLC0415

        cases.load(path, catalog.installed())
    else:
        from engine.language.check import complaints  # noqa: PLC0415

        return complaints(path, catalog.installed(), _allows())
    return []


def _allows() -> Callable[[Sequence[str], bool], str] | None:
    """Why this machine's policy does not allow a command; None where the policy itself can't be read."""
    from engine.guarding import commands, policy  # noqa: PLC0415

    try:
        listed = policy.load().commands
    except RunbookError:
        return None
    return lambda argv, reads: commands.why_not(listed, argv, reads=reads)


@app.command(epilog="Example: runbook schema > runbook.schema.json")
def schema(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="runbook, profile, policy or case.")
    ] = "runbook",
) -> None:
    """Print the JSON Schema of runbooks, profiles and cases, for editors."""
    from engine.language.schema import as_json  # noqa: PLC0415
    from engine.language.schema import schema as build  # noqa: PLC0415

    typer.echo(as_json(build(kind)), nl=False)
