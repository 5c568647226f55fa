"""Whoever watches a run, told of it without the secrets in it.

Not here: what is a secret (``engine.redaction``), watching (``engine.terminal.live``, ``engine.server``).
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.record import Asked, Event, RunHead, Watcher
from engine.redaction import HERE
from engine.values import Decision, Plan


class Discreet:
    """A watcher before another one; what passes is as the journal has it."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def begin(self, head: RunHead) -> None:
        """The run's head."""
        self._watcher.begin(HERE.struct(head))

    def event(self, event: Event) -> None:
        """What was recorded."""
        self._watcher.event(HERE.struct(event))

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """A number as a probe sees it."""
        self._watcher.number(step, label, value, unit)

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """A change must be asked for."""
        return self._watcher.ask(HERE.struct(plan), [HERE.struct(one) for one in decisions])

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """A runbook's own question."""
        return self._watcher.answer(HERE.struct(asked), HERE.text(problem))
