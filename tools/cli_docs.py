"""Writes docs/cli.md from the commands' own ``--help``: ``.venv/bin/python tools/cli_docs.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from engine.cli import COMMANDS, app

PLACE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# Commands

Written by `tools/cli_docs.py` from the commands' own `--help`; a test holds it to them.
Exit codes: 0 done (healthy, fixed, mitigated, or a dry-run that ran), 1 unfixed, 2 wrong usage or runbook,
3 waiting for approval or refused, 4 failed, 130 interrupted (143 by SIGTERM, 129 by a lost terminal).
"""


def page() -> Iterator[str]:
    """The page, section by section."""
    root = get_command(app)
    yield HEAD
    with root.make_context("runbook", [], resilient_parsing=True) as context:
        yield f"```\n{root.get_help(context)}\n```\n"
        for name in COMMANDS:
            command = root.get_command(context, name)
            with command.make_context(name, [], parent=context, resilient_parsing=True) as inner:
                yield f"## {name}\n\n```\n{command.get_help(inner)}\n```\n"


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"  # whatever the terminal's width is
    PLACE.write_text("\n".join(page()))
