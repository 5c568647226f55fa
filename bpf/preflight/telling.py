"""Verdicts in words for a terminal, and as JSON for a pipeline.

Its promise: what fails stands first, with the reason and the way out; what works is counted.

Not here: deciding anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from bpf.preflight.comparing import Changed
from bpf.preflight.kernel_config import Difference
from bpf.preflight.result import Finding, ObjectVerdict, Outcome, worst

_MOST_MOVED = 10
_SIGNS: dict[Outcome, str] = {"works": "works", "fails": "FAILS", "unknown": "unknown"}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """All that one call of preflight found.

    Attributes:
        against: The kernel that it is compared with; empty for none.
        config: Differences of the two kernels' configurations.
        config_known: Whether both configurations are known, so that none means none.
        changed: By object path, what changes from the old kernel; empty without another kernel.
    """

    kernel: str
    objects: tuple[ObjectVerdict, ...]
    against: str = ""
    changed: dict[str, tuple[Changed, ...]] = {}
    config: tuple[Difference, ...] = ()
    config_known: bool = False

    @property
    def outcome(self) -> Outcome:
        """The worst of all objects."""
        return worst(one.outcome for one in self.objects)


def as_json(answer: Answer) -> bytes:
    """One JSON object; outcomes that are computed stand in it too."""
    objects = [{"outcome": one.outcome, **_builtins(one)} for one in answer.objects]
    whole = {"outcome": answer.outcome, **_builtins(answer), "objects": objects}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2)


def _builtins(value: msgspec.Struct) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(value)
    return found


def as_text(answer: Answer, *, everything: bool = False) -> str:
    """For a terminal."""
    lines: list[str] = []
    for one in answer.objects:
        lines += _object(one, everything)
        if answer.against:
            lines += _changed(answer.changed.get(one.path, ()), answer.against, everything)
        lines.append("")
    if answer.config:
        lines.append(f"Kernel configuration, {answer.against} → {answer.kernel}:")
        lines += [f"  {one.option}: {one.before} → {one.after}   ({one.matters})" for one in answer.config]
        lines.append("")
    lines.append(summary(answer))
    return "\n".join(lines)


def summary(answer: Answer) -> str:
    """One sentence for all objects."""
    counts = dict.fromkeys(_SIGNS, 0)
    for one in answer.objects:
        counts[one.outcome] += 1
    told = [f"{count} {_WORDS[outcome]}" for outcome, count in counts.items() if count]
    return f"On {answer.kernel}, of {_plural(len(answer.objects), 'object')}: {', '.join(told)}."


_WORDS: dict[Outcome, str] = {
    "works": "find all that they need",
    "fails": "will fail",
    "unknown": "can't be told for sure",
}


def _object(one: ObjectVerdict, everything: bool) -> Iterator[str]:
    yield f"{one.path} on {one.kernel}: {_SIGNS[one.outcome]}"
    for program in one.programs:
        outcome = worst((program.load, program.attach))
        how = "" if outcome == "works" else f" (load {program.load}, attach {program.attach})"
        optional = "; loaded only when the agent asks" if program.optional else ""
        yield f"  {_SIGNS[outcome]:<8}{program.name}  {program.section}{how}{optional}"
    shown = [found for found in one.findings if everything or found.outcome != "works"]
    for found in shown:
        yield from _finding(found)
    works = one.count("works")
    if works and not everything:
        yield f"  and {_plural(works, 'need')} that it meets (--all shows them)"
    for note in one.notes:
        yield f"  note: {note}"


def _finding(found: Finding) -> Iterator[str]:
    times = f", {found.uses} times" if found.uses > 1 else ""
    who = f" [{found.program}]" if found.program else ""
    yield f"  {_SIGNS[found.outcome]:<8}{found.about}: {found.item}{who}{times}"
    if found.reason:
        yield f"          {found.reason}"
    if found.place and found.outcome != "works":
        yield f"          at {found.place}"
    if found.advice:
        yield f"          → {found.advice}"


def _changed(changed: Iterable[Changed], against: str, everything: bool) -> Iterator[str]:
    rows = list(changed)
    moved = [one for one in rows if one.before == one.after]
    changed_count = _plural(len(rows) - len(moved), "answer")
    yield f"  Against {against}: {changed_count} changed, {len(moved)} adjusted by CO-RE"
    for one in rows:
        who = f" [{one.program}]" if one.program else ""
        if one.before != one.after:
            yield f"    {one.before} → {one.after}: {one.item}{who}: {one.reason}"
    told = [f"{one.item}: {_number(one.value_before)} → {_number(one.value_after)}" for one in moved]
    lines = list(dict.fromkeys(told))  # programs share most of them
    for line in lines if everything else lines[:_MOST_MOVED]:
        yield f"    {line}"
    if len(lines) > _MOST_MOVED and not everything:
        yield f"    and {len(lines) - _MOST_MOVED} more (--all shows them)"


def _number(value: int | None) -> str:
    return "none" if value is None else str(value)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
