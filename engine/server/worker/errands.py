"""Short things that a child does for the worker, which has none of the parts in its memory.

One promise: each ends with one answer of ``engine.server.messages``; what goes wrong is a ``No``.

Not here: runs (``carry``), who may ask (``answering``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from engine import catalog
from engine.agents import targets as finding
from engine.audit import Entry, entries
from engine.errors import RunbookError
from engine.journal import Journal, retention
from engine.language import loader
from engine.launch import Wish, needs_target, tools
from engine.record import Settled
from engine.running import leases, resume
from engine.server.messages import (
    Answer,
    AuditFound,
    Done,
    GetAudit,
    LeaseEnd,
    LeaseRow,
    Leases,
    LeasesEnded,
    No,
    RunbookRow,
    Runbooks,
    TargetRow,
    Targets,
)
from engine.server.worker.order import Order
from engine.server.worker.refusals import told
from engine.text import several
from engine.values import Target

#: So many rows of the audit are given at most.
MOST_ROWS = 10_000
#: So many old runs lose their details in one errand, at some 50 ms each.
RUNS_AT_ONCE = 500


def run(order: Order) -> Answer:
    """Do an errand."""
    try:
        return _ERRANDS[order.doing](order)
    except RunbookError as error:
        return told(error)


# ── doing ───────────────────────────────────────────────────────────────────────


def _undo(order: Order) -> Answer:
    with tools(_wish(order)) as everything:
        return _done(resume.undo(order.run, everything), "nothing of it is in force")


def _overdue(order: Order) -> Answer:
    with tools(_wish(order)) as everything:
        journal, now = everything.journal, time.time()
        due = [one for one in leases.standing(journal, everything.parts) if one.until <= now]
        leases.end_leases(everything)
        return LeasesEnded(rows=tuple(_stands(one, journal) for one in due))


def _stands(lease: leases.Lease, journal: Journal) -> LeaseEnd:
    """How a lease stands by the journal, with what was said of it last."""
    state = next(one.state for one in journal.attempts(lease.run) if one.number == lease.attempt)
    said = [
        one
        for one in journal.run(lease.run).events
        if isinstance(one, Settled) and one.attempt == lease.attempt and one.state == state
    ]
    row = msgspec.convert(lease, LeaseRow, from_attributes=True)
    last = said[-1] if said else None
    return LeaseEnd(
        lease=row,
        state=state,
        because=last.because if last else "",
        fix=last.undo_by_hand if last else "",
    )


def _extend(order: Order) -> Answer:
    with tools(_wish(order)) as everything:
        changed = leases.extend(order.run, everything, order.attempt, seconds=order.seconds)
    return Done(sentence=f"{several(len(changed), 'lease')} got another end")


def _end(order: Order) -> Answer:
    with tools(_wish(order)) as everything:
        return _done(leases.end_now(order.run, everything, order.attempt), "it was no lease any more")


def _keep(order: Order) -> Answer:
    with tools(_wish(order)) as everything:
        settled = leases.make_lasting(order.run, everything, order.attempt)
        lines = leases.lines_of(order.run, settled, everything)
    return _done(settled, "it was no lease any more", lines)


def _prune(order: Order) -> Answer:
    with Journal.open(Path(order.state)) as journal:
        done = retention.prune(
            journal, keep_s=order.seconds, now=time.time(), by=order.by, at_most=RUNS_AT_ONCE
        )
    return Done(sentence=f"the details of {several(done.runs, 'old run')} were dropped" if done.runs else "")


def _done(settled: Sequence[Settled], nothing: str, details: str = "") -> Answer:
    """How changes stand now; a change that is left to a human is a failure."""
    left = [one for one in settled if one.state in {"left", "failed"}]
    if left:
        return No(problem=left[0].because, fix=left[0].undo_by_hand, why="failed")
    told = "; ".join(f"change {one.attempt}: {one.state}" for one in settled)
    return Done(sentence=told or nothing, details=details)


def _wish(order: Order) -> Wish:
    policy = Path(order.policy) if order.policy else None
    return Wish(runbook="", state=Path(order.state), policy=policy, by=order.by)


# ── looking ─────────────────────────────────────────────────────────────────────


def _targets(order: Order) -> Answer:
    del order
    finder = finding.on_this_host()
    running = finder.find_all()
    rows = [_row(one) for one in (*running, *finder.stopped(running))]
    return Targets(rows=tuple(rows), problem="; ".join(finder.notes))


def _row(target: Target) -> TargetRow:
    first = target.processes[0].pid if target.processes else None
    return TargetRow(
        name=target.name,
        ref=target.ref,
        profile=target.profile,
        pid=first,
        programs=len(target.program_ids),
        maps=len(target.map_ids),
        health="well" if target.processes else "down",
        because="" if target.processes else "it does not run",
    )


def _leases(order: Order) -> Answer:
    with Journal.open(Path(order.state), write=False) as journal:
        found = leases.standing(journal, catalog.installed())
    rows = tuple(msgspec.convert(one, LeaseRow, from_attributes=True) for one in found)
    return Leases(rows=rows)


def _audit(order: Order) -> Answer:
    asked = msgspec.json.decode(order.asked, type=GetAudit)
    with Journal.open(Path(order.state), write=False) as journal:
        found = [
            one for one in entries(journal, since=asked.since, until=asked.until) if _is_wanted(one, asked)
        ]
    found.sort(key=lambda one: one.at, reverse=True)
    limit = max(0, min(asked.limit, MOST_ROWS))
    return AuditFound(rows=tuple(found[:limit]), more=len(found) > limit)


def _is_wanted(entry: Entry, asked: GetAudit) -> bool:
    at = datetime.fromisoformat(entry.at).timestamp()
    words = " ".join(str(value) for value in msgspec.structs.astuple(entry)).lower()
    return (
        asked.since <= at
        and (asked.until is None or at < asked.until)
        and all(word in words for word in (*asked.text.lower().split(), *asked.target.lower().split()))
    )


def _runbooks(order: Order) -> Answer:
    del order
    parts, rows = catalog.installed(), []
    for path in loader.available().values():
        with contextlib.suppress(RunbookError):  # a broken one is told about by the worker
            runbook = loader.load(path).document
            needs = tuple(name for name, spec in runbook.inputs.items() if spec.default is None)
            wants = not runbook.target and needs_target(runbook, parts, path.parent)
            rows.append(RunbookRow(name=path.stem, summary=runbook.summary, needs=needs, needs_target=wants))
    return Runbooks(rows=tuple(rows))


_ERRANDS = {
    "undo": _undo,
    "overdue": _overdue,
    "extend": _extend,
    "end": _end,
    "keep": _keep,
    "prune": _prune,
    "audit": _audit,
    "targets": _targets,
    "leases": _leases,
    "runbooks": _runbooks,
}
