"""Cases from what was really seen: from a past run's record, or from a live target.

One promise: a case of a run holds all that the run saw, in its order and by what was in force, and
expects what the run did; so replayed with the same runbook and parts it comes out the same.

Not here: leaving out what should not be kept (``engine.rehearsals.thinning``), looking
(``engine.rehearsals.live``), YAML (``engine.rehearsals.writing``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from engine import record
from engine.language.model import Runbook
from engine.record import Event, Run
from engine.redaction import MASK
from engine.rehearsals import happened
from engine.rehearsals.saying import said
from engine.rehearsals.sights import Sight
from engine.rehearsals.stage import BEFORE
from engine.rehearsals.steps import placed
from engine.rehearsals.thinning import Thinner
from engine.values import Evidence, KnobValue, Reading, Setting, Target

#: Case documents are plain data here: the keys of ``engine.rehearsals.model``.
Document = dict[str, Any]


def of_run(run: Run, runbook: Runbook, *, thin: bool = True) -> Document:
    """The case of a past run, as it stood at its end: what was taken back later is not of it.

    Args:
        run: It must have ended.
        runbook: The document that it ran.
        thin: Fewer samples, no secrets, no names of others; else all as it was.
    """
    run = happened.until_its_end(run)
    events = list(_flat(run))
    seen = [event.evidence for event in events if isinstance(event, record.Seen)]
    target = next((event.target for event in events if isinstance(event, record.TargetFound)), None)
    thinner = Thinner(seen, target) if thin else None
    before, after = _phases(events, thinner)
    head = run.head
    words = thinner.text(head.sentence) if thinner else head.sentence
    found: Document = {
        "case": f"As it was on kernel {'.'.join(head.kernel.split('.')[:2])}: {words}",
        "runbook": head.runbook,
        "inputs": {name: value for name, value in head.inputs.items() if value != MASK},
        "dry_run": head.dry_run,
        "target": target_of(target, _knobs(events)),
        **said(events, thinner),
        "before": before,
        "after": after,
        "expect": expected(run, runbook),
    }
    return {key: value for key, value in found.items() if value not in ({}, False)}


def of_sights(
    runbook: str, inputs: Mapping[str, Setting], target: Document, seen: Iterable[Evidence]
) -> Document:
    """The case of what is seen now; what to expect is for a rehearsal of it to fill in."""
    return {
        "case": f"What {runbook} sees here",
        "runbook": runbook,
        "inputs": dict(inputs),
        "dry_run": True,
        "target": target,
        "before": {one.short: written(_sight(one), None) for one in seen},
        "expect": {"outcome": "rehearsed"},
    }


def target_of(target: Target | None, knobs: Mapping[str, KnobValue]) -> Document:
    """The agent: its profile, and its settings as they were read."""
    if target is None:
        return {}
    told: Document = {"profile": target.profile} if target.profile != "generic" else {"name": "agent"}
    if not target.processes:
        told["pid"] = 0
    values: Document = {}
    for name, one in knobs.items():
        known = target.knobs.get(name.removesuffix(".live"))
        if one.missing and one.value is None:
            values[name] = {"missing": one.missing}
        elif one.value is not None or known is None:
            more = {} if known is None or target.profile != "generic" else {"unit": known.unit}
            values[name] = {"value": one.value, **more} if more else one.value
    return {**told, **({"knobs": values} if values else {})}


def expected(run: Run, runbook: Runbook) -> Document:
    """What a run did, as a case would expect it."""
    taken, skipped = happened.taken(run), happened.skipped(run)
    ids = [one.step.id for one in placed(runbook)]
    causes = happened.causes(run)
    found: Document = {
        "outcome": run.head.outcome,
        "taken": [_step(one) for one in ids if one in taken],
        "skipped": [_step(one) for one in ids if one in skipped and one not in taken],
        "misses": list(happened.misses(run)),
        "plans": [_plan(turn) for turn in happened.turns(run) if turn.plan.changes],
        "calls": {event.runbook: event.outcome for event in run.events if isinstance(event, record.Returned)},
    }
    if causes is not None:
        found["causes"] = list(causes)
    return {key: value for key, value in found.items() if value or key == "causes"}


def _step(step: str) -> str | int:
    """A step's id as people write it."""
    return int(step) if step.isdigit() else step


def _plan(turn: happened.Turn) -> Document:
    changes, foretold = turn.plan.changes, turn.plan.predictions
    to: Any = changes[0].after if len(changes) == 1 else {one.knob.name: one.after for one in changes}
    told: Document = {"change": turn.plan.remediation, "to": to, "ends": turn.ends}
    if foretold:
        told["predicts"] = {one.measure: float(f"{one.after:.6g}") for one in foretold}
    return told


# ── what a run saw and was told ─────────────────────────────────────────────────


def _flat(run: Run) -> Iterator[Event]:
    """The events of a run with those of the runs that it called in their places."""
    called = {one.head.id: one for one in run.called}
    for event in run.events:
        yield event
        if isinstance(event, record.Called) and event.run in called:
            yield from _flat(called[event.run])


def _phases(events: Iterable[Event], thinner: Thinner | None) -> tuple[Document, dict[str, Document]]:
    """Evidence before any change, and by the newest change in force."""
    told: dict[str, dict[str, list[Document]]] = {BEFORE: {}}
    last: dict[tuple[str, str], Sight] = {}
    for phase, event in _in_force(events):
        if isinstance(event, record.Seen):
            seen = thinner.evidence(event.evidence) if thinner else event.evidence
            sight, probe = _sight(seen), seen.probe
        else:
            sight, probe = Sight(fails=event.problem), event.probe
        base = last.get(
            (phase, probe)
        )  # the first look of a phase is told in full: others may follow before it
        told.setdefault(phase, {}).setdefault(probe, []).append(written(sight, base))
        last[phase, probe] = sight
    by_phase = {
        phase: {probe: looks[0] if len(looks) == 1 else looks for probe, looks in by_probe.items()}
        for phase, by_probe in told.items()
    }
    return by_phase.pop(BEFORE), by_phase


def _in_force(events: Iterable[Event]) -> Iterator[tuple[str, record.Seen | record.ProbeMissed]]:
    """Each look with the newest change in force at its time."""
    force: list[tuple[int, str]] = []
    meant: dict[int, str] = {}
    for event in events:
        if isinstance(event, record.Intended):
            meant[event.attempt] = event.remediation
        elif isinstance(event, record.Applied):
            force.append((event.attempt, meant.get(event.attempt, "")))
        elif isinstance(event, record.Settled) and event.state in {"undone", "not-made"}:
            force = [one for one in force if one[0] != event.attempt]
        elif isinstance(event, record.Seen | record.ProbeMissed):
            yield force[-1][1] if force else BEFORE, event


def _sight(seen: Evidence) -> Sight:
    """A piece of evidence with the times of its series from the start of the window."""
    series = {
        name: msgspec.structs.replace(
            each, times=tuple(round(time - seen.started_at, 4) for time in each.times)
        )
        for name, each in seen.series.items()
    }
    return Sight(readings=seen.readings, tables=seen.tables, series=series, notes=seen.notes)


def written(sight: Sight, base: Sight | None) -> Document:
    """One look as a case tells it: only what differs from the look that it is read over."""
    if sight.fails:
        return {"fails": sight.fails}
    old = base if base is not None and not base.fails else Sight()
    told: Document = {}
    for name, one in sight.readings.items():
        if one != old.readings.get(name):
            told[name] = _reading(one)
    for name in old.readings.keys() - sight.readings.keys():
        told[name] = None
    for name, rows in sight.tables.items():
        if name in sight.readings and (rows != old.tables.get(name) or name in told):
            told[name] = {**_long(sight.readings[name]), "rows": list(rows)}
        elif rows != old.tables.get(name):
            told[name] = list(rows)
    for name, each in sight.series.items():
        if each != old.series.get(name):
            line = {"unit": each.unit, "times": list(each.times), "values": list(each.values)}
            shared = any(name in one for one in (sight.readings, sight.tables, old.readings, old.tables))
            told[name] = {**_beside(told, name), "series": line} if shared else line
    if sight.notes and sight.notes != old.notes:
        told["notes"] = list(sight.notes)
    return told


def _beside(told: Document, name: str) -> Document:
    """What is told already under a name that a series has as well, so that both stand there."""
    if name not in told:
        return {}
    value = told[name]
    if isinstance(value, dict):
        return value
    return {"rows": value} if isinstance(value, list) else {"value": value}


def _reading(one: Reading) -> object:
    """A value alone; its source only where that tells how it was got."""
    if one.value is None:
        return {"missing": one.missing} if one.missing else None
    return one.value


def _long(one: Reading) -> Document:
    """A reading whose name a table has as well."""
    return {"missing": one.missing} if one.value is None else {"value": one.value}


def _knobs(events: Iterable[Event]) -> dict[str, KnobValue]:
    """Settings as the run first read them."""
    found: dict[str, KnobValue] = {}
    for event in events:
        if isinstance(event, record.Planned):
            for name, value in event.knobs.items():
                found.setdefault(name, value)
            for change in event.plan.changes:
                name = f"{change.knob.name}.live" if change.live else change.knob.name
                found.setdefault(name, KnobValue(value=change.before))
    return found
