"""``runbook audit --verify``: what the examination of a journal found, for people and machines.

Not here: the examination (``engine.journal.examining``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine import text

if TYPE_CHECKING:
    from engine.journal import Journal


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--verify`` found.

    Attributes:
        whole: Everything was checked, and nothing was altered.
        tip_row, tip_hash: The end of the chain: copied elsewhere, it detects a journal that was put back.
        unchecked: What could not be checked, a sentence each.
        keyed_from: The first row that was made with a key; 0 for none.
        pruned: Rows whose content was dropped after its time, by somebody who is on record.
        keys: Ids of the keys that rows were made with.
    """

    whole: bool
    tip_row: int
    tip_hash: str
    damages: tuple[dict[str, object], ...] = ()
    unchecked: tuple[str, ...] = ()
    keyed_from: int = 0
    pruned: int = 0
    keys: tuple[str, ...] = ()


def verify(
    journal: Journal, keys: Iterable[Path] = (), tip: tuple[int, str] | None = None, *, complete: bool = True
) -> Verified:
    """Check the chain over all rows. Cost: reads the whole journal.

    Args:
        journal: In its place, or a copy (then not ``complete``).
        keys: Files with keys, besides those in their places.
        tip: Row and hash that were kept elsewhere.
        complete: It lies in its place, with its anchor.

    Raises:
        UsageError: A key can't be read.
    """
    row, digest = journal.tip()
    found = journal.examine(keys, tip, complete=complete)
    return Verified(
        whole=not found.damages and not found.unchecked,
        tip_row=row,
        tip_hash=digest,
        damages=tuple(msgspec.to_builtins(damage) for damage in found.damages),
        unchecked=found.unchecked,
        keyed_from=found.keyed_from,
        pruned=found.dropped,
        keys=found.keys,
    )


def sentence(verdict: Verified) -> str:
    """What was found, for people."""
    if verdict.damages:
        lines = [f"  {_place(damage)}{damage['sentence']}" for damage in verdict.damages]
        head = f"ALTERED: {text.several(len(lines), 'place')}"
        return "\n".join([head, *map(text.plain, lines), *_limits(verdict)])
    rows = text.several(verdict.tip_row, "row")
    head = "whole" if verdict.whole else "NOT SHOWN TO BE WHOLE"
    lines = [f"{head}: {rows}, none altered, removed or moved", *_limits(verdict)]
    lines += [f"  tip: {verdict.tip_row}:{verdict.tip_hash}"]
    lines += ["  keep the tip elsewhere: with --tip it shows a journal that was put back to an earlier state"]
    return "\n".join(lines)


def _place(damage: dict[str, object]) -> str:
    return f"row {damage['seq']}: " if damage["seq"] else ""


def _limits(verdict: Verified) -> list[str]:
    """What the verdict stands on."""
    lines = [f"  not checked: {text.plain(one)}" for one in verdict.unchecked]
    if verdict.keyed_from > 1:
        lines.append(f"  rows 1 to {verdict.keyed_from - 1} were written by a release that had no key")
    elif not verdict.keyed_from and verdict.tip_row:
        lines.append("  no row has a key: it was written by a release that had none")
    if verdict.keys:
        lines.append(f"  made with the key {', '.join(verdict.keys)}")
    if verdict.pruned:
        gone = text.several(verdict.pruned, "row")
        lines.append(f"  {gone} of old runs without content; who dropped it is on record")
    return lines
