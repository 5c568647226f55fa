"""The steps of a runbook, each kind checked in a function of its own: what they name, and what they give.

One promise: names are known in the order in which steps are reached; what is seen of an item of a
list is not there after it.

Not here: the runbook around them (``engine.language.check``), expressions (``engine.language.findings``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.language import calls, loader, scope
from engine.language.calls import Judge
from engine.language.commands import RESULT, Allows, check_run
from engine.language.findings import Findings, hint
from engine.language.model import (
    Ask,
    Call,
    Change,
    Check,
    Decide,
    Each,
    Look,
    Run,
    Step,
    Stop,
    Tell,
    Try,
    Wait,
    all_steps,
)
from engine.language.questions import check_ask
from engine.language.shapes import ANY, LIST, NUMBER, TEXT, Shape

_CALLED = Shape("record", dict.fromkeys(scope.CALLED, TEXT))


class StepChecks(Findings):
    """Goes through steps from top to bottom.

    Attributes:
        judge: Judges a runbook that a step calls.
        above: The names of the runbooks that lead here, this one's last.
        allows: Why the policy does not allow a command.
    """

    judge: Judge
    above: tuple[str, ...] = ()
    allows: Allows | None = None

    def steps(self, steps: Sequence[Step], path: str, taken: dict[str, str]) -> None:
        """Steps that follow one another; ``taken``: the ids that they can't have."""
        for index, step in enumerate(steps):
            self._step(step, f"{path}[{index}]", steps[index + 1 :])
            if isinstance(step, Stop) and not step.when and index + 1 < len(steps):
                where = f"{path}[{index + 1}]"
                self.warn(where, f"never reached: the run always ends at step {index + 1}")
        self._ids(steps, path, taken)

    def _step(self, step: Step, path: str, following: Sequence[Step]) -> None:
        self._common(step, path, following)
        if isinstance(step, Look):
            self._look(step, path)
        elif isinstance(step, Decide):
            self._decide(step, path)
        elif isinstance(step, Change):
            self._change(step, path)
        elif isinstance(step, Try):
            self._try(step, path)
        elif isinstance(step, Check):
            self.condition(step.that, f"{path}.that")
            self.template(step.must, f"{path}.check")
            self.template(step.otherwise, f"{path}.otherwise")
        elif isinstance(step, Wait):
            self.durations(step, path, "seconds")
            self.condition(step.until, f"{path}.until")
            self.template(step.what, f"{path}.wait")
        elif isinstance(step, Tell):
            self.template(step.sentence, f"{path}.tell")
        elif isinstance(step, Stop):
            self.template(step.because, f"{path}.because")
        elif isinstance(step, Call):
            self._call(step, path)
        elif isinstance(step, Each):
            self._each(step, path)
        elif isinstance(step, Ask):
            self.gives(step.label, check_ask(self, step, path), path)
        elif isinstance(step, Run):
            check_run(self, step, path, self.allows)
            self.gives(step.label, RESULT, path)

    def _common(self, step: Any, path: str, following: Sequence[Step]) -> None:  # noqa: ANN401 - any step
        self.condition(step.when, f"{path}.when")
        self.template(step.name, f"{path}.name")
        self.durations(step, path, "timeout")
        if step.retry is not None:
            self.durations(step.retry, f"{path}.retry", "wait")
        words = ("stop", "continue", *(one.id for one in following))
        if step.on_failure not in words and not self.partial:
            if any(step.on_failure == one.id for one in all_steps(self.runbook.steps)):
                what = f"step {step.on_failure!r} is not after this one, so the run could go in circles"
            else:
                instead = hint(step.on_failure, words)
                what = f"{step.on_failure!r} is neither stop, continue nor a later step ({instead})"
            self.error(f"{path}.on_failure", what)

    def _look(self, step: Look, path: str) -> None:
        if step.label and len(step.probes) > 1:
            self.error(f"{path}.as", "one name can't stand for several probes (make them steps of their own)")
        if step.label in self.reserved:
            self.error(f"{path}.as", f"{step.label!r} means something else already")
        self.looks(step.probes, f"{path}.look", step.label)
        self.looks(step.fallback, f"{path}.fallback", step.label)
        self.options(step.options, self.probe_options((*step.probes, *step.fallback)), f"{path}.with")

    def _decide(self, step: Decide, path: str) -> None:
        if step.cases:
            self._cases(step, path)
            causes = tuple(case.cause for case in step.cases)
        else:
            causes = self._diagnosis(step, path)
        if step.label in self.reserved:
            self.error(f"{path}.as", f"{step.label!r} means something else already")
        fields = {
            **dict.fromkeys(scope.CAUSE, TEXT),
            "confidence": NUMBER,
            "explains": NUMBER,
            "ranked": LIST,
        }
        self.names[step.label] = Shape("record", fields, words=causes)

    def _cases(self, step: Decide, path: str) -> None:
        """Causes written in the runbook itself."""
        if step.evidence:
            self.error(f"{path}.from", "cases name what they read themselves (leave from out)")
        for index, case in enumerate(step.cases):
            at = f"{path}.cases[{index}]"
            self.condition(case.when, f"{at}.when")
            for field in ("sentence", "settles", "fix"):
                self.template(getattr(case, field), f"{at}.{field}")
            for name, facts in (("for", case.speaks_for), ("against", case.speaks_against)):
                for number, fact in enumerate(facts):
                    self.template(fact, f"{at}.{name}[{number}]")

    def _diagnosis(self, step: Decide, path: str) -> tuple[str, ...]:
        """A diagnosis; gives the causes that it can name."""
        part = self.part("diagnosis", step.diagnosis, f"{path}.decide")
        for index, name in enumerate(step.evidence if not self.partial else ()):
            if name not in self.names or name in self.reserved:
                known = [one for one in self.names if one not in self.reserved]
                self.error(
                    f"{path}.from[{index}]", f"{name!r} was not looked at before ({hint(name, known)})"
                )
        unseen = [name for name in getattr(part, "wants", ()) if name not in self.seen]
        if unseen and not step.evidence:
            self.warn(
                f"{path}.decide", f"{step.diagnosis} also reads {', '.join(unseen)}: look with it before"
            )
        return tuple(getattr(part, "causes", ()))

    def _call(self, step: Call, path: str) -> None:
        self.template(step.target, f"{path}.target")
        self.settings(step.inputs, f"{path}.with")
        calls.check_call(self, step, path, self.above, loader.called, self.judge)
        if self.names.get(step.word, _CALLED) is not _CALLED:
            self.error(f"{path}.as", f"{step.word!r} means something else already (write as: another_word)")
        self.names[step.word] = _CALLED

    def _change(self, step: Change, path: str) -> None:
        part = self.part("remediation", step.remediation, f"{path}.change")
        if part is not None:
            self.options(step.options, part.options, f"{path}.with")
        self.durations(step, path, "lease")
        self.provable(step.keep, path)
        if step.lease is None and getattr(part, "temporary", False) and step.keep != "never":
            self.warn(
                path,
                f"{step.remediation} loses or hides events on purpose (write lease: 2h, so that it ends)",
            )
        if step.lease is not None and step.keep == "never":
            self.warn(f"{path}.lease", "it is never kept, so its lease is never used")

    def _try(self, step: Try, path: str) -> None:
        if not step.rungs and not self.partial:
            self.error(f"{path}.try", "a ladder needs rungs")
        before: dict[tuple[object, ...], int] = {}
        for number, rung in enumerate(step.rungs):
            below = f"{path}.try[{number}]"
            self._common(rung, below, ())
            self._change(rung, below)
            same = (rung.remediation, rung.when, msgspec.json.encode(rung.options, order="sorted"))
            if same in before:
                self.warn(below, f"the same as rung {before[same] + 1}: it can't do more than that one did")
            before.setdefault(same, number)

    def _each(self, step: Each, path: str) -> None:
        self.items(step.items, f"{path}.in")
        if not step.steps and not self.partial:
            self.error(f"{path}.each", "there is nothing to do for each")
        if step.label in self.names:
            self.error(f"{path}.as", f"{step.label!r} means something else already")
        outside, self.names = self.names, {**self.names, step.label: ANY}
        self.steps(step.steps, f"{path}.each", {"stop": "", "continue": ""})
        self.names = outside  # what is seen of an item is not there after it
        for one in all_steps(step.steps) if step.at_once > 1 else ():
            if not (isinstance(one, Look | Check | Tell | Wait) or (isinstance(one, Run) and one.reads)):
                word = type(one).__struct_config__.tag
                self.error(f"{path}.at_once", f"only what looks can be done side by side, {word!r} can't")

    def _ids(self, steps: Sequence[Step], path: str, taken: dict[str, str]) -> None:
        paths = [(step.id, f"{path}[{index}]") for index, step in enumerate(steps)]
        for index, step in enumerate(steps):
            for number, rung in enumerate(step.rungs if isinstance(step, Try) else ()):
                paths.append((rung.id, f"{path}[{index}].try[{number}]"))
        for name, where in paths:
            if name in taken:
                self.error(f"{where}.id", f"the id {name!r} is taken already")
            taken[name] = where
