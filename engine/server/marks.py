"""What a trace says of a run's head and of its events: names and values, bounded.

Not here: which span an event belongs to (``engine.server.spans``).
"""

from __future__ import annotations

import msgspec

from engine import record
from engine.record import Event, RunHead

Attributes = dict[str, str | int | float | bool]

#: What one text may take.
LONGEST = 500


class Mark(msgspec.Struct, frozen=True):
    """Something that happened at one moment within a span."""

    at: float
    name: str
    attributes: Attributes


def of_head(head: RunHead) -> Attributes:
    """Who runs what on what."""
    facts: Attributes = {
        "runbook.run": head.id,
        "runbook.name": head.runbook,
        "runbook.target": head.target,
        "runbook.target_ref": head.target_ref,
        "runbook.by": head.by,
        "runbook.alert": head.alert,
        "runbook.called_by": head.called_by,
        "runbook.dry_run": head.dry_run,
    }
    return {name: value for name, value in facts.items() if value != ""}


def said(event: Event) -> Attributes | None:  # noqa: PLR0911 - one line for each kind
    """What a mark says of an event; None for what is a span, or says nothing by itself."""
    match event:
        case record.GoalMeasured():
            holds = "unknown" if event.holds is None else event.holds
            values = {f"runbook.{name}": value for name, value in event.values.items() if value is not None}
            return {"runbook.phase": event.phase, "runbook.holds": holds, **values}
        case record.Decided(verdict=verdict):
            first = verdict.causes[0] if verdict.causes else None
            named: Attributes = (
                {"runbook.cause": first.name, "runbook.confidence": first.confidence} if first else {}
            )
            return {
                "runbook.diagnosis": verdict.diagnosis,
                "runbook.sentence": cut(verdict.sentence),
                **named,
            }
        case record.Planned():
            return {"runbook.remediation": event.plan.remediation, "runbook.changes": len(event.plan.changes)}
        case record.Judged():
            return {"runbook.remediation": event.remediation, "runbook.answer": event.answer}
        case record.Ruled():
            return {
                "runbook.answer": event.answer,
                "runbook.by": event.by,
                "runbook.because": cut(event.because),
            }
        case record.Told():
            return {"runbook.sentence": cut(event.sentence), "runbook.level": event.level}
        case record.ProbeMissed():
            return {"runbook.probe": event.probe, "runbook.problem": cut(event.problem)}
        case record.StepSkipped():
            return {"runbook.step": event.step, "runbook.because": cut(event.because)}
        case record.StepStarted() | record.Seen() | record.Intended() | record.Settled():
            return None
        case _:
            return {}


def cut(words: str) -> str:
    """A text that fits."""
    clean = words.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"
