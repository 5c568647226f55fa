"""What a runbook would look at, seen once at a live target: evidence for a case. Changes nothing.

One promise: all probes that the runbook names look in one shared window, and the settings that its
changes would turn are read; what can't be seen is told in the case with its reason.

Not here: the case (``engine.rehearsals.recording``), single looks (``engine.terminal.glance``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from engine import host as machine
from engine.catalog import Catalog
from engine.clock import Cancel, SystemClock, stop_on_signals
from engine.errors import ExpressionError, Interrupted, RunbookError
from engine.language import expressions, scope
from engine.language.loader import LoadedRunbook
from engine.language.model import Change, Goal, Look
from engine.rehearsals.steps import placed
from engine.running.looking import Missed, Request, View, look
from engine.values import Evidence, KnobValue, Setting, Target

#: Length of the window where the runbook names none, in seconds.
WINDOW_S = 10.0


class Sighted(msgspec.Struct, frozen=True):
    """What there was to see.

    Attributes:
        missed: Probe → why it could not look.
        knobs: Settings by knob.
    """

    evidence: tuple[Evidence, ...]
    missed: dict[str, str]
    knobs: dict[str, KnobValue]


def see(
    loaded: LoadedRunbook, inputs: Mapping[str, Setting], target: Target | None, catalog: Catalog
) -> Sighted:
    """Look with everything that a runbook looks with.

    Raises:
        Interrupted: It was asked to stop.
    """
    names = scope.names(inputs=inputs, target=target, host=machine.read_host())
    requests = list(_requests(loaded, names, catalog))
    windows = [float(w) for one in requests if isinstance(w := one.options.get("window"), int | float)]
    cancel = Cancel()
    clock = SystemClock(cancel)
    directory = str(loaded.path.parent)
    with stop_on_signals(cancel):
        view = View(target, max(windows, default=WINDOW_S), clock, cancel, directory=directory)
        answers = list(look(requests, view))
    if cancel:
        raise Interrupted("stopped before all was seen; nothing was written", fix="record it again")
    missed = {one.probe: one.error.problem for one in answers if isinstance(one, Missed)}
    seen = tuple(one for one in answers if not isinstance(one, Missed))
    return Sighted(seen, missed, _knobs(loaded, target, catalog))


def _requests(loaded: LoadedRunbook, names: Mapping[str, object], catalog: Catalog) -> Iterator[Request]:
    """Each probe once, with the options of the first step that names it."""
    steps: list[Look | Goal] = [one.step for one in placed(loaded.document) if isinstance(one.step, Look)]
    if loaded.document.goal is not None:
        steps.insert(0, loaded.document.goal)
    asked: set[str] = set()
    for step in steps:
        options = dict(_filled(step.options.items(), names))
        for name in step.probes:
            if name in asked:
                continue
            asked.add(name)
            probe = catalog.probe(name)
            known = {key: value for key, value in options.items() if key in probe.options or key == "window"}
            yield Request(probe, known)


def _filled(
    options: Iterable[tuple[str, Setting]], names: Mapping[str, object]
) -> Iterator[tuple[str, Setting]]:
    """Options as they are before anything was seen; those that need evidence are left out."""
    for name, value in options:
        try:
            yield name, expressions.render(value, names)
        except ExpressionError:
            continue


def _knobs(loaded: LoadedRunbook, target: Target | None, catalog: Catalog) -> dict[str, KnobValue]:
    """What the changes of a runbook would read."""
    found: dict[str, KnobValue] = {}
    if target is None:
        return found
    for one in placed(loaded.document):
        if isinstance(one.step, Change):
            remediation = catalog.remediation(one.step.remediation)
            try:
                found |= remediation.read(target)
            except RunbookError as error:
                found[remediation.knob or remediation.name] = KnobValue(missing=error.problem)
    return found
