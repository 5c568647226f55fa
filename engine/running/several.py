"""Several watchers of one run, as one.

One promise: one that breaks is left behind, and the others see on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.record import Asked, Event, RunHead, Watcher
from engine.values import Decision, Plan


class Several:
    """Shows everything to each; the first that has an answer gives it."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = list(watchers)

    def begin(self, head: RunHead) -> None:
        """The run's head is on disk."""
        self._each(lambda one: one.begin(head))

    def event(self, event: Event) -> None:
        """Something was recorded."""
        self._each(lambda one: one.event(event))

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """A number as a probe sees it."""
        self._each(lambda one: one.number(step, label, value, unit))

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """The first answer of anybody."""
        for one in tuple(self._watchers):
            if (said := one.ask(plan, decisions)) is not None:
                return said
        return None

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """The first answer of anybody."""
        for one in tuple(self._watchers):
            if (said := one.answer(asked, problem)) is not None:
                return said
        return None

    def _each(self, show: Callable[[Watcher], None]) -> None:
        for one in tuple(self._watchers):
            try:
                show(one)
            except Exception:  # noqa: BLE001 - whoever watches must not stop a run, nor blind the others
                self._watchers.remove(one)
