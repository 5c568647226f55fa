"""Many cases, run one after the other: what came of each, and how much of each runbook they cover.

One promise: a case that is wrong or breaks is a result like any other and stops no other case.

Not here: printing (``engine.commands.rehearsals``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from engine.catalog import Catalog
from engine.errors import DocumentError, RunbookError
from engine.language.loader import LoadedRunbook
from engine.record import Run, Watcher
from engine.rehearsals.cases import LoadedCase, load
from engine.rehearsals.coverage import Coverage, coverage
from engine.rehearsals.expectations import Difference, differences
from engine.rehearsals.play import play


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one case.

    Attributes:
        result: ``ok``, ``differs``, or ``wrong`` (it could not be run).
        complaints: Why it is wrong, line by line.
        took_s: Seconds that it took.
    """

    file: str
    case: str = ""
    runbook: str = ""
    result: Literal["ok", "differs", "wrong"]
    differences: tuple[Difference, ...] = ()
    complaints: tuple[str, ...] = ()
    outcome: str = ""
    took_s: float = 0.0


class Suite(msgspec.Struct, frozen=True):
    """What came of all cases.

    Attributes:
        coverages: By runbook, of those cases that could be run.
        runs: Of those cases, in order.
    """

    results: tuple[Result, ...]
    coverages: tuple[Coverage, ...]
    runs: tuple[Run, ...]

    @property
    def worst(self) -> Literal["ok", "differs", "wrong"]:
        """The worst result of all."""
        found = {result.result for result in self.results}
        return "wrong" if "wrong" in found else "differs" if "differs" in found else "ok"


def run_all(paths: Iterable[Path], catalog: Catalog, watcher: Watcher | None = None) -> Suite:
    """Run every case and count the branches."""
    results: list[Result] = []
    runs: dict[str, tuple[LoadedRunbook, list[Run]]] = {}
    for path in paths:
        began = time.monotonic()
        try:
            case = load(path, catalog)
            result, run = run_one(case, catalog, watcher)
        except RunbookError as error:
            lines = error.complaints if isinstance(error, DocumentError) else (f"{path}: {error.problem}",)
            results.append(Result(file=str(path), result="wrong", complaints=lines))
            continue
        results.append(msgspec.structs.replace(result, took_s=time.monotonic() - began))
        runs.setdefault(str(case.runbook.path), (case.runbook, []))[1].append(run)
    coverages = tuple(coverage(loaded, done) for loaded, done in runs.values())
    return Suite(tuple(results), coverages, tuple(run for _, done in runs.values() for run in done))


def run_one(case: LoadedCase, catalog: Catalog, watcher: Watcher | None = None) -> tuple[Result, Run]:
    """Run one case and compare.

    Raises:
        RunbookError: The run could not begin.
    """
    run = play(case, catalog, watcher).run
    runbook = case.runbook.document
    differ = tuple(differences(case.document, case.source, runbook, run))
    result = Result(
        file=str(case.path),
        case=case.document.case,
        runbook=runbook.runbook,
        result="differs" if differ else "ok",
        differences=differ,
        outcome=run.head.outcome or "",
    )
    return result, run
