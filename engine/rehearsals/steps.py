"""The steps of a runbook with their places in its text, whatever they are nested in.

Not here: what a step does (``engine.running.steps``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from engine.language.model import VERBS, Change, Run, Runbook


class Placed(NamedTuple):
    """A step or a rung.

    Attributes:
        path: Where it stands: ``steps[5].try[2]``.
    """

    step: Any
    path: str

    @property
    def words(self) -> tuple[str, ...]:
        """What a case may call it: its id, its name, and what it changes."""
        what = (self.changes,) if self.changes else ()
        return tuple(filter(None, (self.step.id, self.step.name, *what)))

    @property
    def changes(self) -> str:
        """What it changes, as a plan names it; empty when it changes nothing."""
        if isinstance(self.step, Change):
            return self.step.remediation
        if isinstance(self.step, Run) and not self.step.reads:
            return f"run {PurePath(self.step.argv[0]).name}" if self.step.argv else "run"
        return ""

    @property
    def title(self) -> str:
        """Its id, with what it does."""
        return f"{self.step.id} ({self.step.title})"


def placed(runbook: Runbook) -> Iterator[Placed]:
    """Every step, those inside others after the one they are in."""
    for place, step in enumerate(runbook.steps):
        yield from _below(step, f"steps[{place}]")


def _below(step: Any, path: str) -> Iterator[Placed]:  # noqa: ANN401 - any step of the language
    yield Placed(step, path)
    for info in msgspec.structs.fields(step):
        inner = getattr(step, info.name)
        for place, one in enumerate(inner if isinstance(inner, tuple) else ()):
            if isinstance(one, msgspec.Struct) and one.__struct_config__.tag in VERBS:
                yield from _below(one, f"{path}.{info.encode_name}[{place}]")


def own_id(step: str) -> str:
    """The id of a step as it stands in the runbook: ``2[3].look`` of an item is ``look``."""
    return re.sub(r"\[\d+\]$", "", re.sub(r"^.*\]\.", "", step))


def meant(runbook: Runbook, word: str) -> list[Placed]:
    """The steps that a case calls so; an id counts before names."""
    steps = list(placed(runbook))
    return [one for one in steps if one.step.id == word] or [one for one in steps if word in one.words]
