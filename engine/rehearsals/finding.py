"""The files of cases: those of the runbooks beside them, ``rehearsals/NAME/*.yaml``.

Not here: reading them (``engine.rehearsals.cases``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engine.errors import UnknownName, UsageError
from engine.language import loader

#: Beside the runbooks; in it a directory for each.
FOLDER = "rehearsals"
SUFFIXES = (".yaml", ".yml")


def find(words: Iterable[str]) -> list[Path]:
    """The files of all cases that are meant: by case, directory, or runbook; all shipped ones by no word.

    Raises:
        UsageError: One is not there, or has no cases.
    """
    chosen = list(words)
    if not chosen:
        return _within(loader.shipped() / FOLDER, "the program")
    found: list[Path] = []
    for word in chosen:
        found += [path for path in _meant(word) if path not in found]
    return found


def _meant(word: str) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        return _within(path, word)
    if path.is_file() and is_case(path):
        return [path]
    try:
        runbook = loader.find(word)
    except UnknownName as error:
        raise UsageError(
            f"there is no case, directory or runbook {word!r}",
            fix=f"{error.fix}; runbook test takes all three",
        ) from error
    return _within(runbook.parent / FOLDER / runbook.stem, runbook.stem)


def is_case(path: Path) -> bool:
    """Whether a file is a case, by its first keys."""
    return any(line.startswith(b"case:") for line in loader.read_bytes(path).splitlines())


def _within(folder: Path, whose: str) -> list[Path]:
    """All cases below a folder, by path."""
    files = [
        Path(place) / name for place, _, names in os.walk(folder) for name in names if name.endswith(SUFFIXES)
    ]
    cases = sorted(path for path in files if is_case(path))
    if not cases:
        raise UsageError(
            f"{whose} has no rehearsals (looked in {folder})",
            fix="runbook record makes one from a live target; docs/rehearsals.md tells how to write one",
        )
    return cases
