"""``runbook explain``: what an error text, an agent's log or a verifier's log means.

Exit codes: 0 at least one cause is named, 1 none is, 2 the input is empty, binary or missing.

Not here: anything but reading, handing over and printing (``scoring``, ``telling``).
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from engine.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

app = typer.Typer(rich_markup_mode=None, add_completion=False)
NOTHING_NAMED = 1


@app.command(epilog="Example: journalctl -u my-agent | runbook explain --host")
def explain(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A text; '-' or none: standard input.")
    ] = None,
    host: Annotated[
        bool, typer.Option("--host", help="It failed on this host: let its facts count as well.")
    ] = False,
    pid: Annotated[
        int | None, typer.Option(help="With --host: the rights of this process, not of ours.", min=1)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every cause, with its points.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Name the likely causes of a failure text: the lines that speak, the fix, the check that settles it."""
    from bpf.explain import telling  # noqa: PLC0415 - the rules are not read for --help
    from bpf.explain.reading import Text, read  # noqa: PLC0415
    from bpf.explain.scoring import explain_text  # noqa: PLC0415

    with _open(file) as source:
        raw, notes = read(source, "standard input" if _is_stdin(file) else str(file))
    facts, missing = _facts(pid) if host or pid else ({}, ())
    text = Text.of(raw, notes + missing)
    answer = telling.Answer.of(explain_text(text, facts), text, raw)
    typer.echo(
        json.dumps(answer.as_json(), ensure_ascii=False) if as_json else answer.as_text(everything=everything)
    )
    raise typer.Exit(0 if answer.causes else NOTHING_NAMED)


def _is_stdin(file: Path | None) -> bool:
    return file is None or str(file) == "-"


def _open(file: Path | None) -> AbstractContextManager[BinaryIO]:
    """The input as a stream of bytes."""
    if file is None or _is_stdin(file):
        if sys.stdin.isatty():
            raise UsageError("there is nothing to explain", fix="runbook explain FILE, or pipe a log into it")
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        raise UsageError(
            f"{file} can't be read: {error.strerror}",
            fix="give a file, or pipe the text: runbook explain < FILE",
        ) from None


def _facts(pid: int | None) -> tuple[dict[str, str | int | float | bool | None], tuple[str, ...]]:
    """The facts of this host and what is unknown of it."""
    from bpf.explain.here import facts_of_this_host  # noqa: PLC0415 - only when asked for

    return facts_of_this_host(pid)
