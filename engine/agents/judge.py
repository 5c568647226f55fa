"""Collecting what is wrong with a profile, each finding with its place.

Not here: what is looked at (``engine.agents.profile_check``, ``engine.agents.knob_check``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from engine.agents.matching import COMM_LENGTH
from engine.agents.placeholders import PLACEHOLDER, SOURCES
from engine.errors import nearest
from engine.language.documents import Document
from engine.language.findings import Finding


class Judge:
    """Collects findings about one profile."""

    def __init__(self, source: Document) -> None:
        self.source = source
        self.findings: list[Finding] = []

    def error(self, path: str, what: str) -> None:
        """What can't work."""
        self._add(path, "error", what)

    def warn(self, path: str, what: str) -> None:
        """What looks wrong, or is to be known."""
        self._add(path, "warning", what)

    def _add(self, path: str, level: Literal["error", "warning"], what: str) -> None:
        place = self.source.place(path)
        self.findings.append(Finding(place.line, place.column, level, what, self.source.file))

    def unknown(self, path: str, kind: str, name: str, known: Iterable[str], *, fatal: bool = True) -> None:
        """A name that is not among those known, with the nearest."""
        names = sorted(known)
        near = nearest(name, names)
        hint = f"did you mean {near!r}?" if near else f"one of: {', '.join(names)}"
        (self.error if fatal else self.warn)(path, f"there is no {kind} {name!r} ({hint})")

    def cut(self, path: str, names: Iterable[str]) -> None:
        """Names longer than the kernel keeps are matched by their beginning; that is told."""
        for name in names:
            if len(name) > COMM_LENGTH:
                self.warn(path, f"the kernel keeps {COMM_LENGTH} characters of it: {name[:COMM_LENGTH]!r}")

    def pattern(self, path: str, text: str) -> re.Pattern[str] | None:
        """A regular expression, or a complaint."""
        try:
            return re.compile(text)
        except re.error as error:
            self.error(path, f"{text!r} is no regular expression ({error})")
            return None

    def filled(self, path: str, text: str, *, fatal: bool = True) -> None:
        """Placeholders that nothing fills."""
        for found in PLACEHOLDER.finditer(text):
            if found[1] not in SOURCES:
                self.unknown(path, "placeholder", found[1], SOURCES, fatal=fatal)
            elif SOURCES[found[1]] and not found[2]:
                self.error(path, f"{found[0]} says not which: {{{found[1]}.NAME}}")
