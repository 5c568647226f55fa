"""Whoever is asked in a rehearsal.

Not here: who may be asked, and when (``engine.running.proposal``, ``engine.running.asking``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.record import Answerable, Asked, Event, RunHead, Watcher
from engine.rehearsals.stage import Stage
from engine.rehearsals.steps import own_id
from engine.running.scene import Silent
from engine.values import Decision, Plan


class StagedPeople(Silent):
    """Whoever is asked in a rehearsal; what happens is shown to ``also``.

    Args:
        answers: By remediation, or a step's id or name: ``yes``, ``no``, ``nobody``, ``late``, or the
            parts of an answer.
        called: Step id → what else the case may call the step.
        stage: Whose clock is moved on when nobody answers in time.
        also: Another watcher, who is not asked.
    """

    def __init__(
        self,
        answers: Mapping[str, str | dict[str, str]],
        called: Mapping[str, tuple[str, ...]],
        stage: Stage,
        also: Watcher | None = None,
    ) -> None:
        self._answers, self._called, self._stage = answers, called, stage
        self._also = also or Silent()

    def begin(self, head: RunHead) -> None:
        """Shown on."""
        self._also.begin(head)

    def event(self, event: Event) -> None:
        """Shown on."""
        self._stage.learn(event)
        self._also.event(event)

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Shown on."""
        self._also.number(step, label, value, unit)

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """What the case lets people say of a change; yes when it does not tell."""
        del decisions
        said = self._answers.get(plan.remediation, "yes")
        return {"no": False, "nobody": None}.get(said, True) if isinstance(said, str) else True

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """What it lets people say to a question; a yes, and what is the default, when it does not tell."""
        if problem:
            return None  # what the case lets them say is no answer
        words = (own_id(asked.step), *self._called.get(own_id(asked.step), ()))
        said = next((self._answers[word] for word in words if word in self._answers), "yes")
        if isinstance(said, dict):
            return said
        if said == "late" and asked.expires_at is not None:
            self._stage.clock.reach(asked.expires_at)
        if said in {"nobody", "late"}:
            return None
        return {name: said for name, spec in asked.answers.items() if _takes(spec, said)}


def _takes(spec: Answerable, said: str) -> bool:
    """Whether one word may be meant for this part of an answer."""
    return spec.type == "bool" if said in {"yes", "no"} else spec.type != "bool"
