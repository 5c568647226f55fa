"""A runbook in words: when it is over, what it looks at, what it may change and at what risk.

One promise: everything the runbook can do to a machine is named, with the risk of the
remediation or the higher one that the author gave.

Not here: whether the runbook is right (``engine.language.check``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from engine import text
from engine.catalog import Catalog
from engine.errors import RunbookError
from engine.language import loader
from engine.language.model import Ask, Call, Change, Decide, Look, Run, Runbook, Step, all_steps
from engine.values import Risk

_INPUT = re.compile(r"\{\{\s*inputs\.(\w+)\s*\}\}")
_ORDER: tuple[Risk, ...] = ("low", "medium", "high")


def describe(runbook: Runbook, catalog: Catalog, directory: Path = Path()) -> Iterator[str]:
    """Lines for people; ``directory`` is the runbook's own, where those that it calls may lie."""
    yield f"{runbook.runbook}  (version {runbook.version})"
    if runbook.summary:
        yield f"  {text.plain(runbook.summary)}"
    yield from _goal(runbook)
    yield from _inputs(runbook)
    yield from _looks(runbook, catalog)
    yield from _decides(runbook, catalog)
    yield from _asks(runbook)
    yield from _changes(runbook, catalog)
    yield from _calls(runbook, catalog, directory, (runbook.runbook,))
    if runbook.triggers:
        yield "\nstarted by the alerts"
        yield from (f"  {one.alert}  {' '.join(one.matchers)}" for one in runbook.triggers)


def _goal(runbook: Runbook) -> Iterator[str]:
    if runbook.goal is None:
        yield "\ngoal: none; it only looks"
        return
    held = f", held for {_span(runbook.goal.hold, runbook)}" if runbook.goal.hold else ""
    yield f"\ngoal\n  {runbook.goal.until}{held}"


def _inputs(runbook: Runbook) -> Iterator[str]:
    if runbook.inputs:
        yield "\ninputs  (--input NAME=VALUE)"
    for name, one in runbook.inputs.items():
        default = "must be given" if one.default is None else text.typed(one.default, one.type)
        here = " (at this host only)" if one.local else ""
        yield f"  {name:<16} {one.type:<9} {default:<10} {text.plain(one.help)}{here}".rstrip()


def _looks(runbook: Runbook, catalog: Catalog) -> Iterator[str]:
    goal = runbook.goal.probes if runbook.goal else ()
    probes = dict.fromkeys(
        [
            *goal,
            *(name for step in all_steps(runbook.steps) if isinstance(step, Look) for name in step.probes),
        ]
    )
    if probes:
        yield "\nlooks at"
    for name in probes:
        yield f"  {name:<16} {_summary(catalog, 'probe', name)}".rstrip()


def _decides(runbook: Runbook, catalog: Catalog) -> Iterator[str]:
    for step in all_steps(runbook.steps):
        if isinstance(step, Decide) and step.cases:
            yield f"\ndecides {step.diagnosis} by its own cases"
            yield from (f"  {case.cause:<26} when {case.when}" for case in step.cases)
        elif isinstance(step, Decide):
            yield f"\ndecides with {step.diagnosis}, which tells apart"
            yield from (f"  {name:<26} {words}" for name, words in _causes(catalog, step.diagnosis).items())


def _changes(runbook: Runbook, catalog: Catalog) -> Iterator[str]:
    changes = [step for step in all_steps(runbook.steps) if _changing(step)]
    if not changes:
        yield "\nmay change\n  nothing" + (" itself" if _called(runbook) else "")
        return
    yield "\nmay change, in this order; each only if the guards and the policy agree"
    for number, change in enumerate(changes, 1):
        lease = f", taken back after {_span(change.lease, runbook)}" if change.lease is not None else ""
        yield f"  {number}. {_name(change):<18} risk {risk(change, catalog)}{lease}"
        summary = _summary(catalog, "remediation", change.remediation) if isinstance(change, Change) else ""
        yield from (f"     {words}" for words in (summary, change.when and f"when {change.when}") if words)
        if isinstance(change, Run):
            yield f"     taken back by {text.plain(' '.join(change.undo))}"


def _changing(step: Step) -> TypeGuard[Change | Run]:
    return isinstance(step, Change) or (isinstance(step, Run) and not step.reads)


def _name(step: Change | Run) -> str:
    return step.remediation if isinstance(step, Change) else text.plain(" ".join(step.argv))


def _asks(runbook: Runbook) -> Iterator[str]:
    """The commands that it reads with, and what it asks people."""
    every = list(all_steps(runbook.steps))
    reads = [_name(step) for step in every if isinstance(step, Run) and step.reads]
    if reads:
        yield "\nreads with these commands, if the policy lists them"
        yield from (f"  {name}" for name in dict.fromkeys(reads))
    for step in every:
        if isinstance(step, Ask):
            yield f"\nasks {text.plain(step.who) or 'people'}: {text.plain(step.question)}"
            parts = ", ".join(step.answers) or "yes"
            yield f"  {parts}; no answer within {_span(step.expires, runbook)} is a no"


def _called(runbook: Runbook) -> list[Call]:
    return [step for step in all_steps(runbook.steps) if isinstance(step, Call)]


def _calls(runbook: Runbook, catalog: Catalog, directory: Path, above: tuple[str, ...]) -> Iterator[str]:
    """Each called runbook with what it may change, and what those that it calls may."""
    for step in _called(runbook):
        when = f" when {step.when}" if step.when else ""
        yield f"\nmay hand over to {step.runbook}{when}"
        if step.runbook in above:
            yield "  ! it would go in circles"
            continue
        try:
            other = loader.called(step.runbook, directory, only_looks=True)
        except RunbookError as error:
            yield f"  ! {text.plain(error.problem.splitlines()[0])}"
            continue
        inner = other.document
        yield from (f"  {line}" for line in (text.plain(inner.summary),) if line)
        for change in (one for one in all_steps(inner.steps) if _changing(one)):
            yield f"  may change {_name(change):<18} risk {risk(change, catalog)}"
        yield from _calls(inner, catalog, other.path.parent, (*above, inner.runbook))


def risk(change: Change | Run, catalog: Catalog) -> str:
    """The author's risk or the remediation's, whichever is higher; ``unknown`` when it can't be loaded."""
    if isinstance(change, Run):
        return change.risk
    try:
        own = catalog.remediation(change.remediation).risk
    except RunbookError:
        return "unknown"
    return max(own, change.risk or "low", key=_ORDER.index)


def _summary(catalog: Catalog, kind: str, name: str) -> str:
    try:
        return text.plain(catalog.part(kind, name).summary)
    except RunbookError as error:
        return f"! {text.plain(error.problem)}"


def _causes(catalog: Catalog, name: str) -> dict[str, str]:
    try:
        return dict(catalog.diagnosis(name).causes)
    except RunbookError as error:
        return {"!": text.plain(error.problem)}


def _span(seconds: float | str, runbook: Runbook) -> str:
    """A duration; one that is an input as the input's default."""
    if not isinstance(seconds, str):
        return text.span(seconds)
    names = _INPUT.fullmatch(seconds.strip())
    known = runbook.inputs.get(names[1]) if names else None
    return (
        seconds
        if known is None
        else f"{text.typed(known.default, known.type)} (input {names[1] if names else ''})"
    )
