"""``runbook preflight``: objects against a kernel, before the reboot.

Exit code: 0 all works (or can't be told), 1 something fails, 2 wrong usage.
Not here: anything but parsing, handing over and printing (``bpf.preflight.check``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpf.preflight.check import Wanted, check
from bpf.preflight.telling import as_json, as_text

app = typer.Typer()


@app.command(epilog="Example: runbook preflight agent.bpf.o --kernel 6.12.107+deb13-cloud-amd64")
def preflight(  # noqa: PLR0913, PLR0917 - each is an option
    objects: Annotated[
        list[Path], typer.Argument(metavar="OBJECT…", help="BPF objects, or executables that carry them.")
    ],
    btf: Annotated[
        list[Path] | None,
        typer.Option(
            help="Types of the kernel: vmlinuz, vmlinux or a BTF file; then .ko files of modules.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The kernel's build configuration; else the one beside its image.")
    ] = None,
    kernel: Annotated[
        str, typer.Option(help="A release installed in /boot, or a version (5.10); else the running kernel.")
    ] = "",
    symbols: Annotated[
        Path | None, typer.Option(help="The kernel's System.map or a copy of /proc/kallsyms.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another kernel's BTF or image: show what changes from it.")
    ] = None,
    optional: Annotated[
        list[str] | None,
        typer.Option(help="A program that the agent may leave out, or a pattern.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what works, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell which BPF objects load and attach on a kernel that is not running yet; change nothing."""
    answer = check(
        Wanted(
            objects=tuple(objects),
            btf=tuple(btf or ()),
            config=config,
            kernel=kernel,
            symbols=symbols,
            against=against,
            optional=tuple(optional or ()),
        )
    )
    typer.echo(as_json(answer).decode() if json else as_text(answer, everything=everything))
    raise typer.Exit(1 if answer.outcome == "fails" else 0)
