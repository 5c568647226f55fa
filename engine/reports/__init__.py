"""Reports: a run told again from its journal, as HTML, Markdown, text or JSON.

``render(run, "html")`` gives a report's text; ``format_of(path)`` the format that a file's name
asks for; ``check_writable(path)`` refuses a path before a run starts, not after it.

Not here: reading the journal (``engine.journal``).
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.record import Run

#: Format → the endings of file names that ask for it. Each format is a module here with ``render``.
FORMATS = {
    "html": (".html", ".htm"),
    "markdown": (".md", ".markdown"),
    "text": (".txt", ".text"),
    "json": (".json",),
}
_SHORT = {"md": "markdown", "txt": "text"}


def format_named(word: str) -> str:
    """The format that an operator means by ``html``, ``md``, ``text``, ``json``.

    Raises:
        UsageError: There is no such format.
    """
    name = _SHORT.get(word.lower(), word.lower())
    if name not in FORMATS:
        raise UsageError(f"there is no report format {word!r}", fix="one of: html, md, text, json")
    return name


def format_of(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        UsageError: Its ending says nothing.
    """
    for name, endings in FORMATS.items():
        if path.suffix.lower() in endings:
            return name
    raise UsageError(
        f"the ending of {str(path)!r} does not say which kind of report it should be",
        fix="end the name with .html, .md, .txt or .json",
    )


def render(run: Run, name: str) -> str:
    """The report in one of ``FORMATS``. Only that format's libraries are loaded."""
    return str(import_module(f"engine.reports.{name}").render(run))


def check_writable(path: Path, *, named: bool = False) -> None:
    """Refuse a report file that can't be written, before anything else is done.

    Args:
        path: The file, which may be there already.
        named: The format is named elsewhere, so the file's ending need not tell it.

    Raises:
        UsageError: With what is in the way.
    """
    if not named:
        format_of(path)
    parent = path.parent
    if path.is_dir():
        raise UsageError(f"{path} is a directory", fix=f"name a file in it: {path / 'report.html'}")
    if not parent.is_dir():
        raise UsageError(f"there is no directory {parent}", fix=f"mkdir -p {parent}")
    if not os.access(path if path.exists() else parent, os.W_OK):
        raise UsageError(
            f"{path} can't be written by this user", fix="name another file, or run as its owner"
        )


def write(run: Run, path: Path, name: str | None = None) -> None:
    """Write the report to ``path``, whole or not at all; ``name`` is a format of ``FORMATS``.

    Raises:
        UsageError: It could not be written; the run is in the journal all the same.
    """
    words = render(run, name or format_of(path))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(words, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"the report could not be written to {path}: {error.strerror}",
            fix=f"the run is on record: runbook report {run.head.id} -o FILE",
        ) from None
