"""What changes for an object between two kernels: outcomes that differ, and what CO-RE moves.

Not here: the verdicts themselves (``bpf.preflight.judge``).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bpf.preflight.result import Finding, ObjectVerdict, Outcome


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the two kernels answer differently.

    Attributes:
        before, after: Outcomes; equal for a value that CO-RE adjusts by itself.
        value_before, value_after: Offsets, sizes or values; None where there is none.
        reason: The new kernel's side, or the old one's when the new one works.
    """

    program: str
    item: str
    before: Outcome
    after: Outcome
    value_before: int | None = None
    value_after: int | None = None
    reason: str = ""


def changes(old: ObjectVerdict, new: ObjectVerdict) -> Iterator[Changed]:
    """Differences of two verdicts on the same object, those that break first."""
    before = {_key(one): one for one in old.findings}
    found = []
    for one in new.findings:
        was = before.get(_key(one))
        if was is not None and (was.outcome != one.outcome or was.value != one.value):
            found.append(
                Changed(
                    program=one.program,
                    item=f"{one.about} {one.item}",
                    before=was.outcome,
                    after=one.outcome,
                    value_before=was.value,
                    value_after=one.value,
                    reason=(was if one.outcome == "works" else one).reason,
                )
            )
    yield from sorted(found, key=lambda one: (one.after != "fails", one.before == one.after, one.item))


def _key(one: Finding) -> tuple[str, str, str, str]:
    return one.program, one.about, one.item, one.place
