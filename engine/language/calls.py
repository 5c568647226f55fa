"""What a ``call`` hands over, checked before anything runs: the other runbook, its inputs, no circles.

One promise: a call without findings names a runbook that is there and right, gives it inputs that it
takes, and comes to an end: no runbook calls itself, however long the way round.

Not here: running it (``engine.running.calling``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from engine.errors import DocumentError, ExpressionError, RunbookError, UsageError
from engine.language import inputs
from engine.language.findings import Finding, Findings, hint
from engine.language.loader import LoadedRunbook
from engine.language.model import Call, Runbook
from engine.language.syntax import parse_template
from engine.values import Setting

#: So many runs may stand within each other.
DEEPEST = 5

#: Finds the runbook of this name for a caller in this directory.
FindRunbook = Callable[[str, Path], LoadedRunbook]
#: Judges a called runbook: its findings, given the names of all runbooks above it.
Judge = Callable[[LoadedRunbook, tuple[str, ...]], tuple[Finding, ...]]


def check_call(  # noqa: PLR0913, PLR0917 - what is checked, and the two ways to find out
    found: Findings, step: Call, path: str, above: tuple[str, ...], find: FindRunbook, judge: Judge
) -> None:
    """Everything that can be said against a call.

    Args:
        found: Takes the findings; its runbook is the caller.
        step: The call.
        path: Its place in the document.
        above: The names of the runbooks that lead here, the caller's last.
        find: Finds the other runbook.
        judge: Judges it.
    """
    where = f"{path}.call"
    if step.runbook in above:
        circle = " → ".join((*above[above.index(step.runbook) :], step.runbook))
        found.error(where, f"it would go in circles: {circle}")
        return
    if len(above) >= DEEPEST:
        found.error(where, f"more than {DEEPEST} runbooks would stand within each other")
        return
    try:
        other = find(step.runbook, found.loaded.path.parent)
    except DocumentError as error:
        found.error(where, f"{step.runbook} is wrong: {error.complaints[0]}")
        return
    except RunbookError as error:
        found.error(where, f"{error.problem} ({error.fix})")
        return
    wrong = [one for one in judge(other, above) if one.level == "error"]
    if wrong:
        found.error(where, f"{step.runbook} is wrong: {wrong[0]}")
    _check_inputs(found, step, f"{path}.with", other.document)


def _check_inputs(found: Findings, step: Call, path: str, other: Runbook) -> None:
    """Names, literal values, what must be given, and that no secret loses its cover."""
    for name, value in step.inputs.items():
        spec = other.inputs.get(name)
        if spec is None:
            found.error(
                f"{path}.{name}", f"{other.runbook} has no input {name!r} ({hint(name, other.inputs)})"
            )
        elif "{{" in str(value):
            exposed = sorted(secrets_in(value, found.runbook))
            if exposed and not spec.secret:
                found.error(f"{path}.{name}", f"input {exposed[0]!r} is secret, and {name!r} there is not")
        else:
            try:
                inputs.typed(spec, value)
            except UsageError as error:
                found.error(f"{path}.{name}", f"{error.problem} ({error.fix})")
    for name, spec in other.inputs.items():
        if spec.default is None and name not in step.inputs:
            found.error(path, f"{other.runbook} must be given {name!r}")


def secrets_in(value: Setting, runbook: Runbook) -> set[str]:
    """The secret inputs that the templates of a value read."""
    texts = (
        list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    )
    read: set[str] = set()
    for text in texts:
        try:
            names = parse_template(text).names() if isinstance(text, str) else ()
        except ExpressionError:
            continue  # said at its own place
        read |= {name.partition(".")[2] for name in names if name.startswith("inputs.")}
        if "inputs" in names:
            read |= set(runbook.inputs)
    return {name for name, spec in runbook.inputs.items() if spec.secret and name in read}
