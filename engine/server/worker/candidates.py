"""Which triggers fit an alert, and what run each would ask for: all considered, none chosen.

One promise: what an alert holds is data. Templates stand in runbooks only; a target's name and inputs are
typed and bounded before anything is made of them.

Not here: reading runbooks (``triggers``), what becomes of the alert (``intake``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from engine.errors import RunbookError, UsageError
from engine.language import expressions, inputs, scope
from engine.server.alerts.alert import Alert
from engine.server.messages import Considered
from engine.server.worker.triggers import Ready

#: What a target's name may be, or a label of an alert that a trigger puts into one.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,199}")
#: The whole of it may hold what the trigger's own text says further: `k8s:…?context=prod`.
_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+?&=-]{0,399}")
#: What no label brings into an input: it would part the query of a target that is made of it.
_PARTING = frozenset("?&=#")
MAX_VALUE = 1000
_PLAIN_WORDS = "a name of at most 200 letters, digits and _.:/@+-"


class Wanted(NamedTuple):
    """The run that an alert asks for."""

    runbook: str
    path: str
    target: str
    inputs: dict[str, str]


class Candidate(NamedTuple):
    """A trigger held against an alert; ``wanted`` where it fits."""

    considered: Considered
    wanted: Wanted | None
    rank: tuple[bool, int, str]


def consider(alert: Alert, ready: Sequence[Ready]) -> list[Candidate]:
    """All triggers for an alert of this name, the best that fits first."""
    return sorted((_candidate(alert, one) for one in ready), key=lambda one: one.rank)


def _candidate(alert: Alert, ready: Ready) -> Candidate:
    fits, told, wanted, target = True, [], None, ""
    for matcher in ready.matchers:
        holds, words = matcher.fits(alert.labels)
        fits = fits and holds
        told.append(words)
    if fits:
        try:
            wanted = _wanted(alert, ready)
            target = wanted.target
        except RunbookError as error:
            fits = False
            told.append(error.problem)
    because = "; ".join(told) or "its name fits"
    considered = Considered(runbook=ready.runbook, fits=fits, because=because, target=target)
    named = alert.labels.get("runbook") == ready.runbook
    return Candidate(considered, wanted, (not named, -len(ready.matchers), ready.runbook))


def _wanted(alert: Alert, ready: Ready) -> Wanted:
    """Target and inputs from the alert. Raises ``RunbookError`` where they are missing or no plain values."""
    names = scope.of_alert(alert.name, alert.labels, alert.annotations)
    target = expressions.strict(ready.trigger.target, names).strip()
    if target and not _PLAIN.fullmatch(target):
        odd = [value for value in _read(alert, ready.trigger.target) if not _PLAIN.fullmatch(value)]
        if odd or not _TARGET.fullmatch(target):
            raise _odd("the target", target, _PLAIN_WORDS)
    inputs.from_outside(ready.inputs, ready.trigger.inputs)
    given = {}
    for name, template in ready.trigger.inputs.items():
        spec = ready.inputs.get(name)
        if spec is None or spec.secret:
            raise _odd(f"input {name}", "", "an input of the runbook that is not secret")
        if spec.default is not None and not _tells(alert, template):
            continue
        value = expressions.strict(template, names)
        if _PARTING & set(value) and any(_PARTING & set(one) for one in _read(alert, template)):
            raise _odd(f"input {name}", value, "without ? & = # from a label")
        if len(value) > MAX_VALUE or not value.isprintable():
            raise _odd(f"input {name}", value, f"at most {MAX_VALUE} characters in one line")
        inputs.typed(spec, value)
        given[name] = value
    missing = [name for name, spec in ready.inputs.items() if spec.default is None and name not in given]
    if missing:
        raise _odd(f"input {missing[0]}", "", "given by the trigger: it has no default")
    return Wanted(ready.runbook, ready.path, target, given)


def _tells(alert: Alert, template: str) -> bool:
    """Whether the alert bears one of the labels that a template reads, or it reads none."""
    reads = expressions.names_in(template, template=True)
    labels = [name.removeprefix("alert.labels.") for name in reads if name.startswith("alert.labels.")]
    return not labels or any(name in alert.labels for name in labels)


def _read(alert: Alert, template: str) -> list[str]:
    """The values that a template reads of an alert; all of them where that can't be told."""
    reads = expressions.names_in(template, template=True)
    whole = [f"{one}." for one in ("alert", "alert.labels", "alert.annotations") if one in reads]
    values = {f"alert.labels.{name}": value for name, value in alert.labels.items()}
    values |= {f"alert.annotations.{name}": value for name, value in alert.annotations.items()}
    values["alert.name"] = alert.name
    return [value for name, value in values.items() if name in reads or name.startswith(tuple(whole))]


def _odd(what: str, value: str, wanted: str) -> UsageError:
    shown = f" is {value[:60]!r}, which" if value else ""
    return UsageError(
        f"{what}{shown} is not {wanted}", fix="correct the runbook's trigger, or the alert's labels"
    )
