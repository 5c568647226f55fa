"""What preflight answers: findings, and the verdicts of programs and objects that follow from them.

Its promise: a verdict is never better than its worst finding, and *unknown* is never hidden in *works*.

Not here: how a finding comes about (``bpf.preflight.judge``), printing (``bpf.preflight.telling``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Outcome = Literal["works", "fails", "unknown"]
Stage = Literal["load", "attach"]
About = Literal[
    "relocation", "attach", "program type", "map type", "helper", "kfunc", "symbol", "config", "instruction"
]
_WORST: tuple[Outcome, ...] = ("works", "unknown", "fails")


class Answer(msgspec.Struct, frozen=True):
    """Whether a place to attach to is there; ``stage`` says where its absence shows."""

    outcome: Outcome
    stage: Stage
    reason: str
    advice: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that an object needs of the kernel.

    Attributes:
        item: What is needed: ``struct task_struct.state``, ``fentry tcp_v4_connect`` …
        stage: Where a failure shows: the program is refused, or it loads and attaches nowhere.
        reason: Why, in words, with the kernel's side.
        advice: What to do about a failure; empty for none.
        program: Empty when it is the whole object's.
        place: ``file.c:42``, or where in the code.
        value: What CO-RE writes into the instruction.
        uses: How often the program needs it.
    """

    about: About
    item: str
    outcome: Outcome
    stage: Stage = "load"
    reason: str = ""
    advice: str = ""
    program: str = ""
    place: str = ""
    value: int | None = None
    uses: int = 1


class ProgramVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One program: whether it loads, and whether it attaches once loaded.

    Attributes:
        optional: The agent loads it only when it asks for it (``SEC("?…")``), so a failure is its own
            to handle.
    """

    name: str
    section: str
    load: Outcome
    attach: Outcome
    optional: bool = False


class ObjectVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One object on one kernel.

    Attributes:
        notes: What could not be looked at, and what that means.
    """

    path: str
    kernel: str
    programs: tuple[ProgramVerdict, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The worst of all programs that are loaded without being asked for, and of the maps."""
        optional = {program.name for program in self.programs if program.optional}
        return worst(found.outcome for found in self.findings if found.program not in optional)

    def count(self, outcome: Outcome) -> int:
        """How many findings have this outcome."""
        return sum(1 for found in self.findings if found.outcome == outcome)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """``fails`` before ``unknown`` before ``works``; nothing at all works."""
    return max(outcomes, key=_WORST.index, default="works")


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each thing of each program, the worst first; equal ones are counted."""
    found: dict[tuple[object, ...], Finding] = {}
    for one in findings:
        key = (one.program, one.about, one.item, one.outcome, one.stage, one.reason, one.value)
        before = found.get(key)
        found[key] = msgspec.structs.replace(before, uses=before.uses + one.uses) if before else one
    return tuple(sorted(found.values(), key=lambda one: -_WORST.index(one.outcome)))
