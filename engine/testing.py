"""Fakes for tests of parts and runbooks, ours and strangers': no root, no BPF, no waiting.

One promise: what passes with these passes with the real ones as far as the contracts go:
``rehearse`` runs a runbook through the real runner, journal and guards; ``check_remediation``
puts a remediation through every promise that the engine relies on.

Not here: the fakes' own code (``engine.fakes``; they are given out here), recorded evidence (an
author's own), the lab (``bpf/lab``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine import catalog
from engine.clock import Cancel
from engine.contracts import Probe, Remediation
from engine.errors import ChangedSince
from engine.fakes import (
    START,
    FakeClock,
    FakeDiagnosis,
    FakeProbe,
    FakeRemediation,
    FakeTarget,
    FakeWatcher,
    failing,
)
from engine.guarding.policy import Policy
from engine.journal import Journal
from engine.language import inputs
from engine.language.model import Runbook
from engine.record import Run
from engine.running.runner import Order, run
from engine.running.scene import Tools
from engine.values import Case, Change, Evidence, Host, Plan, Setting, Target

__all__ = [
    "START",
    "FakeClock",
    "FakeDiagnosis",
    "FakeProbe",
    "FakeRemediation",
    "FakeTarget",
    "FakeWatcher",
    "check_probe",
    "check_remediation",
    "failing",
    "fake_tools",
    "rehearse",
]

#: What only a part of this kind can do → the kind.
_KINDS = {
    "collect": "probe",
    "decide": "diagnosis",
    "apply": "remediation",
    "judge": "guard",
    "tell": "notifier",
}


# ── whole runs ──────────────────────────────────────────────────────────────────


def fake_tools(
    directory: Path,
    parts: Sequence[object],
    target: FakeTarget | None = None,
    **further: Any,  # noqa: ANN401
) -> Tools:
    """Tools for a run in a directory of its own, with the given fake parts.

    Args:
        directory: For the journal.
        parts: Probes, diagnoses, remediations, guards, notifiers; told apart by what they can do.
        target: Found by its ref.
        further: Fields of ``Tools`` to be different (``yes=True``, ``policy=…``).
    """
    by_kind: dict[str, dict[str, Any]] = {}
    for part in parts:
        kind = next(kind for word, kind in _KINDS.items() if hasattr(part, word))
        by_kind.setdefault(kind, {})[part.name] = part  # type: ignore[attr-defined]
    ours: dict[str, Any] = {
        "clock": FakeClock(),
        "cancel": Cancel(),
        "policy": Policy(),
        "yes": True,
        "by": "tester",
        "host": Host(cpus=2, memory_bytes=2**33),
        "available_memory": lambda: 2**32,
        "find": lambda _ref: target.target if target else Target(name="none", ref="none"),
    }
    journal = further.pop("journal", None) or Journal.open(directory)
    return Tools(journal=journal, parts=catalog.of(by_kind), **(ours | further))


def rehearse(  # noqa: PLR0913 - what a run needs, most of it optional
    runbook: Runbook,
    parts: Sequence[object],
    target: FakeTarget | None = None,
    *,
    given: Mapping[str, Setting] | None = None,
    dry_run: bool = False,
    directory: Path | None = None,
    **further: Any,  # noqa: ANN401
) -> Run:
    """Run a runbook through the real runner, with fake parts and a clock that does not wait.

    Args:
        runbook: The document.
        parts: Fakes, or real parts that need no machine (a diagnosis).
        target: The agent.
        given: Inputs, as an operator would give them.
        dry_run: Hands tied.
        directory: For the journal; by default one that is thrown away.
        further: Fields of ``Tools`` to be different (``watcher=…``, ``policy=…``).
    """
    with tempfile.TemporaryDirectory() as thrown_away:
        tools = fake_tools(directory or Path(thrown_away), parts, target, **further)
        order = Order(
            runbook=runbook,
            inputs=inputs.resolve(runbook, given or {}),
            target=target.target if target else None,
            dry_run=dry_run,
        )
        with tools.journal:
            return run(order, tools)


# ── contract checks ─────────────────────────────────────────────────────────────


def check_remediation(remediation: Remediation, target: Target, case: Case) -> Plan:
    """Put a remediation through every promise that the engine relies on; changes and undoes for real.

    Args:
        remediation: The part.
        target: A target that may be changed, a test's own.
        case: Evidence from which it plans at least one change.

    Raises:
        AssertionError: It breaks one; the text says which.
    """
    knobs = remediation.read(target)
    _must(remediation.read(target) == knobs, "read() twice gives the same: it must not change anything")
    whole = msgspec.structs.replace(case, knobs=knobs)
    plan = remediation.plan(whole)
    _must(plan == remediation.plan(whole), "plan() is pure: the same case gives the same plan")
    _must(plan.remediation == remediation.name, "a plan bears the name of its remediation")
    _must(bool(plan.changes), f"the case must lead to a change; the plan says: {plan.reason}")
    _must(remediation.read(target) == knobs, "plan() must not change anything")
    for change in plan.changes:
        _check_change(remediation, change, target)
    _must(remediation.read(target) == knobs, "after undo every knob reads as before")
    return plan


def _check_change(remediation: Remediation, change: Change, target: Target) -> None:
    captured = remediation.capture(change, target)
    _must(remediation.state(change, target, captured) == "before", "before apply the state is 'before'")
    remediation.undo(change, target, captured)
    _must(remediation.state(change, target, captured) == "before", "undo of what was never made does nothing")
    remediation.apply(change, target, captured)
    _must(remediation.state(change, target, captured) == "after", "after apply the state is 'after'")
    try:
        remediation.apply(change, target, captured)
    except ChangedSince:
        pass
    else:
        _must(False, "apply() over a value that is no longer 'before' raises ChangedSince")
    remediation.undo(change, target, captured)
    _must(remediation.state(change, target, captured) == "before", "after undo the state is 'before'")
    remediation.undo(change, target, captured)
    _must(remediation.state(change, target, captured) == "before", "undo twice is undo once")


def check_probe(probe: Probe, evidence: Evidence) -> None:
    """What a probe gave must be what it said it could give.

    Raises:
        AssertionError: A reading or a table that it does not declare, a table given as a reading, or a
            missing value without a reason.
    """
    unknown = set(evidence.readings) - set(probe.fields)
    _must(not unknown, f"{probe.name} gives readings it does not declare: {sorted(unknown)}")
    is_open = getattr(probe, "open_fields", False)
    tables = set() if is_open else set(evidence.tables) - set(probe.fields)
    _must(not tables, f"{probe.name} gives tables it does not declare (type: rows): {sorted(tables)}")
    rows = [name for name in evidence.readings if name in probe.fields and probe.fields[name].type == "rows"]
    _must(not rows, f"{probe.name} gives as readings what it declares as tables: {rows}")
    silent = [name for name, one in evidence.readings.items() if one.value is None and not one.missing]
    _must(not silent, f"{probe.name} does not say why it has no {silent}")
    _must((evidence.probe, evidence.short) == (probe.name, probe.short), "evidence bears its probe's names")


def _must(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)
