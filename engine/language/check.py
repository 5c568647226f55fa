"""Whether a runbook means something here: names, types, ways through it.

One promise: a runbook without findings of level ``error`` will not stop for a name, a field, a
cause, an option or a type that could have been known before it ran. All findings at once, each
with its place. Nothing is looked at on the machine: only the catalog is asked.

Not here: the document's shape (``loader``), expressions (``shapes``), each kind of step
(``engine.language.step_checks``), the names that are there so far (``engine.language.findings``).
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.catalog import Catalog
from engine.errors import DocumentError, ExpressionError
from engine.language import loader
from engine.language.commands import Allows
from engine.language.findings import Finding, hint
from engine.language.loader import LoadedRunbook
from engine.language.model import Ask, Call, Decide, Goal, Look, Run, Runbook, Trigger, all_steps
from engine.language.shapes import TEXT, Shape
from engine.language.step_checks import StepChecks
from engine.language.syntax import parse

_MATCHER = re.compile(r'\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"\s*')
_MAPPING = Shape("record", open=True)


def check(
    loaded: LoadedRunbook,
    catalog: Catalog,
    *,
    above: tuple[str, ...] = (),
    allows: Allows | None = None,
    partial: bool = False,
) -> tuple[Finding, ...]:
    """Everything that can be said against a runbook before it runs, in the order of its text.

    Args:
        loaded: The runbook.
        catalog: The parts that it may name.
        above: The names of the runbooks that call it, the outermost first.
        allows: Why the policy of this machine does not allow a command; without it none is asked about.
        partial: Some of it could not be read: only what is wrong all the same is said.
    """
    checker = _Checker(loaded, catalog, partial=partial)
    checker.above, checker.allows = (*above, loaded.document.runbook), allows
    checker.judge = lambda other, callers: check(other, catalog, above=callers)
    checker.run()
    return tuple(sorted(one for one in checker.findings if one.level == "error" or not partial))


def complaints(path: Path, catalog: Catalog, allows: Allows | None = None) -> list[str]:
    """Everything that can be said against a runbook file in one go: its shape, and what it names.

    Raises:
        UsageError: It can't be read at all.
    """
    loaded, wrong = loader.parse_partly(loader.read_bytes(path), path)
    found = check(loaded, catalog, allows=allows, partial=bool(wrong)) if loaded else ()
    return sorted(dict.fromkeys((*wrong, *map(str, found))), key=_place)


def _place(complaint: str) -> tuple[int, int]:
    """Line and column of a complaint; those without a place come first."""
    match = re.search(r":(\d+):(\d+): ", complaint)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def require(loaded: LoadedRunbook, catalog: Catalog) -> tuple[Finding, ...]:
    """The warnings of a runbook that has no errors.

    Raises:
        DocumentError: It has errors; all of them at once.
    """
    findings = check(loaded, catalog)
    errors = [str(one) for one in findings if one.level == "error"]
    if errors:
        raise DocumentError(errors, fix=f"correct {loaded.source.file}; nothing was done")
    return findings


def given_names(runbook: Runbook, catalog: Catalog) -> tuple[str, ...]:
    """The names of all evidence, verdicts and results that some step or the goal may give."""
    names: dict[str, None] = {}
    every = list(all_steps(runbook.steps))
    looks: list[Goal | Look] = [step for step in every if isinstance(step, Look)]
    for look in [runbook.goal, *looks] if runbook.goal else looks:
        for probe in (*look.probes, *getattr(look, "fallback", ())):
            names[getattr(look, "label", "") or catalog.probe(probe).short] = None
    names |= {step.label: None for step in every if isinstance(step, Decide)}
    names |= {step.word: None for step in every if isinstance(step, Call)}
    names |= {step.label: None for step in every if isinstance(step, Run | Ask)}
    return tuple(names)


class _Checker(StepChecks):
    """Goes through one runbook from top to bottom."""

    def run(self) -> None:
        """Check all of it."""
        for index, trigger in enumerate(self.runbook.triggers):
            self._trigger(trigger, f"triggers[{index}]")
        self.template(self.runbook.target, "target", {"inputs": self.names["inputs"]})
        if self.runbook.goal is not None:
            self._goal(self.runbook.goal)
        if not self.runbook.steps and not self.partial:
            self.error("steps", "there are no steps")
        taken = {"goal": "", "stop": "", "continue": ""}
        self.steps(self.runbook.steps, "steps", taken)
        for name in self.runbook.inputs:
            if name not in self.used_inputs:
                self.warn(f"inputs.{name}", f"input {name!r} is never used")
        if self.loaded.path.stem != self.runbook.runbook:
            self.warn(
                "runbook",
                f"the file is named {self.loaded.path.stem!r}, the runbook {self.runbook.runbook!r}",
            )

    def _trigger(self, trigger: Trigger, path: str) -> None:
        for index, matcher in enumerate(trigger.matchers):
            if not _MATCHER.fullmatch(matcher):
                self.error(
                    f"{path}.matchers[{index}]",
                    f'{matcher!r} is no matcher (write label="value", or =~, !=, !~)',
                )
        names = {"alert": Shape("record", {"name": TEXT, "labels": _MAPPING, "annotations": _MAPPING})}
        self.template(trigger.target, f"{path}.target", names)
        for name, text in trigger.inputs.items():
            if name not in self.runbook.inputs:
                self.error(
                    f"{path}.inputs.{name}",
                    f"there is no input {name!r} ({hint(name, self.runbook.inputs)})",
                )
            elif self.runbook.inputs[name].local:
                self.error(f"{path}.inputs.{name}", f"input {name!r} is local: no alert may set it")
            self.template(text, f"{path}.inputs.{name}", names)

    def _goal(self, goal: Goal) -> None:
        self.looks(goal.probes, "goal.look")
        self.options(goal.options, self.probe_options(goal.probes), "goal.with")
        mine = {name for name, shape in self.names.items() if name not in self.reserved}
        self.condition(goal.until, "goal.until")
        self.durations(goal, "goal", "hold", "timeout")
        try:
            used = {name.split(".")[0] for name in parse(goal.until).names()}
        except ExpressionError:
            return
        if mine and not used & mine:
            self.error("goal.until", f"the goal never reads what it looks at ({', '.join(sorted(mine))})")
