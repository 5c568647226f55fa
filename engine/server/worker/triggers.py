"""The triggers of all runbooks that can be found, read again when a file changes.

One promise: a runbook that is wrong starts nothing, is told, and keeps no other from being started.

Files are looked at (``stat``) at most every ``LOOK_S``. Cost: 2 ms a look, 10 ms a runbook that is new.
Not here: which trigger fits an alert (``engine.server.worker.intake``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from engine.errors import RunbookError
from engine.language import loader
from engine.language.model import Input, Trigger
from engine.server.worker import matching
from engine.server.worker.matching import Matcher

#: How often files are looked at, in seconds.
LOOK_S = 3.0


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger of one runbook, ready to be held against alerts."""

    runbook: str
    path: str
    trigger: Trigger
    matchers: tuple[Matcher, ...] = ()
    inputs: Mapping[str, Input] = {}


class Triggers:
    """All triggers of this host's runbooks. Ask it from one thread.

    Attributes:
        problems: Runbook file → what is wrong with it.
    """

    def __init__(self, find: Callable[[], Mapping[str, Path]] = loader.available) -> None:
        self._find = find
        self._looked_at = float("-inf")
        self._read: dict[Path, tuple[tuple[int, int, int], tuple[Ready, ...], str]] = {}
        self.problems: dict[str, str] = {}

    def now(self) -> Mapping[str, tuple[Ready, ...]]:
        """Alert name → triggers for it, as the files stand now."""
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._look()
            self._looked_at = time.monotonic()
        return self._by_alert

    def _look(self) -> None:
        files = self._find()
        self._read = {path: self._fresh(path) for path in files.values()}
        self.problems = {str(path): wrong for path, (_, _, wrong) in self._read.items() if wrong}
        self._by_alert = _by_alert(one for _, ready, _ in self._read.values() for one in ready)

    def _fresh(self, path: Path) -> tuple[tuple[int, int, int], tuple[Ready, ...], str]:
        """What a file holds; read only when it is another than before."""
        try:
            state = path.stat()
            mark = (state.st_mtime_ns, state.st_size, state.st_ino)
            if (before := self._read.get(path)) and before[0] == mark:
                return before
            return mark, read(path), ""
        except RunbookError as error:
            return mark, (), error.problem
        except OSError as error:
            return (0, 0, 0), (), error.strerror or str(error)

    _by_alert: Mapping[str, tuple[Ready, ...]] = {}


def read(path: Path) -> tuple[Ready, ...]:
    """The triggers of one runbook file.

    Raises:
        RunbookError: It is wrong, or not to be trusted.
    """
    runbook = loader.load(path).document
    return tuple(
        Ready(
            runbook=runbook.runbook,
            path=str(path.absolute()),
            trigger=one,
            matchers=tuple(matching.read(text) for text in one.matchers),
            inputs={name: runbook.inputs[name] for name in runbook.inputs},
        )
        for one in runbook.triggers
    )


def _by_alert(found: Iterable[Ready]) -> dict[str, tuple[Ready, ...]]:
    by: dict[str, list[Ready]] = {}
    for one in found:
        by.setdefault(one.trigger.alert, []).append(one)
    return {name: tuple(ready) for name, ready in by.items()}
