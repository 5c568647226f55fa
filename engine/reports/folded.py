"""Folded stacks: which evidence holds them, and as the file that flame graph tools read.

One promise: a line is one stack, outermost function first, joined by ``;``, then a space and its samples:
what ``flamegraph.pl``, speedscope and inferno take.

Not here: drawing (``engine.reports.flame``), sampling (a probe's).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine import text
from engine.errors import UsageError
from engine.record import Run, Seen
from engine.values import Evidence

ENDING = ".folded"
#: A table whose rows have these columns holds folded stacks.
COLUMNS = frozenset({"folded", "samples"})


def stacks_of(seen: Evidence) -> list[tuple[str, int]]:
    """Stacks and their samples, most first; none when the evidence has none."""
    return [
        (str(row["folded"]), int(row["samples"] or 0))
        for rows in seen.tables.values()
        for row in rows
        if row.keys() >= COLUMNS
    ]


def looks(evidence: Iterable[Evidence]) -> list[Evidence]:
    """The evidence that holds stacks, in its order."""
    return [seen for seen in evidence if stacks_of(seen)]


def lines(seen: Evidence) -> Iterator[str]:
    """The file, line by line."""
    for stack, samples in stacks_of(seen):
        yield f"{text.plain(stack)} {samples}\n"


def write(seen: Evidence, path: Path) -> None:
    """Write the stacks to ``path``, whole or not at all.

    Raises:
        UsageError: There are none, or the file can't be written.
    """
    if not stacks_of(seen):
        raise UsageError(
            f"{seen.probe} gave no stacks, so {path} was not written",
            fix="look with cpu-profile, at an agent that uses CPU",
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text("".join(lines(seen)), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"the stacks could not be written to {path}: {error.strerror}", fix="name another file"
        ) from None


def write_run(run: Run, path: Path) -> str:
    """Write the stacks of a run's first look, which its cause was found by; what was written, in words.

    Raises:
        UsageError: The run has none, or the file can't be written.
    """
    found = looks(event.evidence for event in run.events if isinstance(event, Seen))
    if not found:
        raise UsageError(
            f"run {run.head.id} looked at no stacks",
            fix="name a run with cpu-profile (runbook runs), or look now: "
            "runbook look cpu-profile --target NAME --folded FILE",
        )
    write(found[0], path)
    when = text.since(run.head.started_at, found[0].started_at)
    more = f", of {len(found)} looks the first ({when}); all are in --format json" if len(found) > 1 else ""
    return f"stacks: {path}{more}"
