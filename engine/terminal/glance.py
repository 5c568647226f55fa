"""A look with one probe, outside any run: nothing is recorded, nothing is changed.

Not here: windows and fallbacks (``engine.running.looking``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine import catalog
from engine.agents import targets
from engine.clock import Cancel, SystemClock, stop_on_signals
from engine.contracts import Probe
from engine.errors import Interrupted, UsageError, nearest
from engine.record import RunHead, StepStarted
from engine.running.looking import Missed, Request, View, look
from engine.terminal import live
from engine.values import Evidence, Setting


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to see.

    Attributes:
        options: Of the probe, as written: numbers, true, false or text.
    """

    probe: str
    target: str = ""
    pid: int | None = None
    seconds: float = 10.0
    options: Mapping[str, str] = {}


def glance(wanted: Glance, *, quiet: bool = False) -> Evidence:
    """Look for one window, with what is seen as it comes.

    Raises:
        RunbookError: The probe, the target or an option is unknown, or the probe could not look.
    """
    probe = catalog.installed().probe(wanted.probe)
    options = typed_options(probe, wanted.options)
    asked = wanted.target or wanted.pid is not None
    target = (
        targets.on_this_host().find(wanted.target or None, wanted.pid)
        if probe.needs_target or asked
        else None
    )
    cancel = Cancel()
    clock = SystemClock(cancel)
    name = target.name if target else ""
    with stop_on_signals(cancel), live.passing(quiet=quiet) as watcher:
        watcher.begin(RunHead(id="", runbook=f"look {probe.name}", target=name, started_at=clock.now()))
        started = StepStarted(at=clock.now(), title="look", action=probe.name, seconds=wanted.seconds)
        watcher.event(started)
        view = View(
            target,
            wanted.seconds,
            clock,
            cancel,
            show=watcher.number,
            say=lambda words: watcher.say(clock.now(), words),
            directory=str(Path.cwd()),
        )
        answers = list(look([Request(probe, options)], view))
    if cancel.signal and not answers:
        raise Interrupted("stopped before anything was seen", fix="look again")
    answer = answers[-1]
    if isinstance(answer, Missed):
        raise answer.error
    return answer


def typed_options(probe: Probe, given: Mapping[str, str]) -> dict[str, Setting]:
    """Options as the probe reads them.

    Raises:
        UsageError: The probe has no such option.
    """
    for name in given:
        if name not in probe.options:
            near = nearest(name, probe.options)
            known = ", ".join(probe.options) or "none"
            hint = f"did you mean {near!r}?" if near else f"its options: {known}"
            raise UsageError(f"{probe.name} has no option {name!r}", fix=hint)
    from engine.language.scalars import plain_value  # noqa: PLC0415 - reads YAML, and most looks have no options

    return {name: plain_value(value) for name, value in given.items()}
