"""What a rehearsal does not do itself: commands, and runbooks that are called but not rehearsed.

One promise: no command of a runbook is ever run; one that the case does not tell of is refused, as
by a policy that does not list it.

Not here: eyes and hands (``engine.rehearsals.stage``).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from engine.clock import Cancel
from engine.guarding.policy import Command as Allowed
from engine.guarding.policy import Policy
from engine.language import loader
from engine.language.loader import LoadedRunbook
from engine.language.model import EndOutcome, Stop
from engine.rehearsals.model import Command
from engine.rehearsals.stage import Stage
from engine.running.processes import Result

#: A command as a case tells it → how it ends, one time after the other.
Told = Mapping[str, tuple[Command, ...]]


def policy_for(told: Told) -> Policy:
    """The built-in policy, with the commands that a case tells of."""
    entries = []
    for text in told:
        program, *arguments = shlex.split(text)
        entries.append(Allowed(run=program, arguments=tuple(arguments), dry_run=True, owner="the case"))
    return Policy(commands=tuple(entries))


class StagedCommands:
    """Says what the case tells of commands; the last again and again."""

    def __init__(self, told: Told, stage: Stage) -> None:
        self._told, self._stage = told, stage
        self._taken: dict[str, int] = {}

    def __call__(self, argv: Sequence[str], seconds: float, cancel: Cancel | None = None) -> Result:
        """How this command ends."""
        del cancel
        text = shlex.join(argv)
        ends = self._told.get(text, (Command(exit=127, stderr="the case tells nothing of it"),))
        one = ends[min(self._taken.get(text, 0), len(ends) - 1)]
        self._taken[text] = self._taken.get(text, 0) + 1
        took = seconds if one.late else 0.0
        self._stage.clock.sleep(took)
        if one.exit == 0 and not one.late:
            self._stage.ran(text)
        return Result(tuple(argv), None if one.late else one.exit, took, one.stdout, one.stderr)


class CalledRunbooks:
    """Finds called runbooks: the real ones, but for those of which the case tells how they end."""

    def __init__(self, told: Mapping[str, EndOutcome]) -> None:
        self._told = told

    def __call__(self, name: str, directory: Path) -> LoadedRunbook:
        """The runbook, or one that takes the same inputs and ends as the case tells."""
        found = loader.called(name, directory, only_looks=True)
        if name not in self._told:
            return found
        end = Stop(id="1", outcome=self._told[name], because=f"The case tells how {name} ends.")
        document = msgspec.structs.replace(found.document, goal=None, steps=(end,))
        return LoadedRunbook(document, found.source, found.path, found.sha256)
