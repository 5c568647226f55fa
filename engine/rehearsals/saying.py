"""What people, guards and commands said in a past run, as a case tells it.

Not here: what was seen (``engine.rehearsals.recording``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from engine import record
from engine.record import Event
from engine.rehearsals.steps import own_id
from engine.rehearsals.thinning import Thinner
from engine.values import Setting

Document = dict[str, Any]


def said(events: Iterable[Event], thinner: Thinner | None) -> Document:
    """What people, guards and commands said, and what could not be written."""
    found: dict[str, Document] = {"answers": {}, "guards": {}, "breaks": {}, "runs": {}}
    meant: dict[int, str] = {}
    applied: set[int] = set()
    for event in events:
        if isinstance(event, record.Judged):
            _judged(event, found)
        elif isinstance(event, record.Asked):
            found["answers"][own_id(event.step)] = "nobody"
        elif isinstance(event, record.Answered):
            parts = {name: _word(value) for name, value in event.values.items()}
            found["answers"][own_id(event.step)] = "late" if event.expired else parts
        elif isinstance(event, record.Ran):
            found["runs"].setdefault(shlex.join(event.argv), []).append(_ended(event, thinner))
        elif isinstance(event, record.Intended):
            meant[event.attempt] = event.remediation
        elif isinstance(event, record.Applied):
            applied.add(event.attempt)
        elif isinstance(event, record.Settled) and event.attempt not in applied and event.attempt in meant:
            found["breaks"][meant[event.attempt]] = event.because
    return dict(found)


def _judged(event: record.Judged, found: Mapping[str, Document]) -> None:
    """Who held a change back: a human, nobody, or a guard."""
    denied = [one for one in event.decisions if one.answer == "deny"]
    if any(one.guard == "operator" for one in denied):
        found["answers"][event.remediation] = "no"
    elif event.answer == "deny":
        found["guards"][event.remediation] = "deny"
    elif event.answer == "ask" and not event.by:
        found["answers"][event.remediation] = "nobody"


def _ended(event: record.Ran, thinner: Thinner | None) -> Document:
    """How a command ended, as a case tells it."""
    text = thinner.text if thinner else str
    told: Document = {"exit": event.exit_code, "stdout": text(event.stdout), "stderr": text(event.stderr)}
    if event.exit_code is None:
        told = {"late": True}
    return {key: value for key, value in told.items() if value not in ("", 0)}


def _word(value: Setting) -> str:
    """A part of an answer as somebody would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
