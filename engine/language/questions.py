"""What an ``ask`` step may say: the parts of an answer, each of a type.

Not here: asking (``engine.running.asking``).
"""

from __future__ import annotations

from engine.language import inputs, scope
from engine.language.findings import INPUT_SHAPES, Findings
from engine.language.model import Ask, Input
from engine.language.shapes import BOOL, NUMBER, TEXT, Shape

#: What is asked where a step names no answers.
YES = {"yes": Input(type="bool", help="Yes or no.")}


def wanted(step: Ask) -> dict[str, Input]:
    """The parts of the answer, bounds and choices typed."""
    return {name: inputs.typed_spec(spec)[0] for name, spec in (step.answers or YES).items()}


def check_ask(found: Findings, step: Ask, path: str) -> Shape:
    """Everything that can be said against a question; gives the shape of its answer."""
    found.template(step.question, f"{path}.ask")
    found.template(step.who, f"{path}.who")
    found.durations(step, path, "expires")
    for name, spec in step.answers.items():
        at = f"{path}.answers.{name}"
        if name in scope.ANSWERED:
            found.error(at, f"{name!r} means something else already ({', '.join(scope.ANSWERED)})")
        if spec.secret:
            found.error(f"{at}.secret", "an answer is recorded, so it can't be secret (make it an input)")
        if spec.local:
            found.error(
                f"{at}.local", "an answer may come from the page, so it can't be local (make it an input)"
            )
        for part, problem in inputs.typed_spec(spec)[1]:
            found.error(f"{at}.{part}", problem)
    shapes = {name: INPUT_SHAPES.get(spec.type, NUMBER) for name, spec in wanted(step).items()}
    return Shape("record", {**shapes, "answered": BOOL, "by": TEXT})
