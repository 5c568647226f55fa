"""One case, run by the real engine on the stage, in a journal that is thrown away.

One promise: the same case gives the same run on any machine (but for the order of probes within one
window), and leaves nothing behind.

Not here: comparing (``engine.rehearsals.expectations``), counting branches (``engine.rehearsals.coverage``).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from engine.catalog import Catalog
from engine.clock import Cancel
from engine.journal import Journal
from engine.record import Run, Watcher
from engine.rehearsals.cases import LoadedCase
from engine.rehearsals.others import CalledRunbooks, StagedCommands, policy_for
from engine.rehearsals.parts import StagedCatalog
from engine.rehearsals.people import StagedPeople
from engine.rehearsals.stage import Stage
from engine.rehearsals.steps import placed
from engine.running.runner import Order, run
from engine.running.scene import Tools

_SHM = Path("/dev/shm")  # noqa: S108 - a directory of our own in it, mode 0700
#: Who stands in the record of a rehearsal for whoever ran it.
BY = "a REHEARSAL from recorded evidence"


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A case with the run that came of it."""

    case: LoadedCase
    run: Run


def play(
    case: LoadedCase, catalog: Catalog, watcher: Watcher | None = None, *, scratch: Path | None = None
) -> Played:
    """Run a case.

    Args:
        case: Checked.
        catalog: The installed parts.
        watcher: Is shown the run as it goes; the case answers in its place.
        scratch: Where the journal is put and thrown away; by default in memory, where no write is waited for.
    """
    document = case.document
    stage = Stage(case.looks, case.knobs, document.breaks)
    guards: dict[str, Literal["deny", "ask"]] = document.guards
    called = {one.step.id: one.words for one in placed(case.runbook.document)}
    order = Order(
        runbook=case.runbook.document,
        text=case.runbook.text,
        sha256=case.runbook.sha256,
        directory=case.runbook.path.parent,
        inputs=case.inputs,
        target=case.target,
        dry_run=document.dry_run,
    )
    with (
        tempfile.TemporaryDirectory(prefix="runbook-rehearsal-", dir=scratch or _memory()) as thrown_away,
        Journal.open(Path(thrown_away)) as journal,
    ):
        tools = Tools(
            journal=journal,
            parts=StagedCatalog(catalog, stage, guards),
            policy=policy_for(case.runs),
            clock=stage.clock,
            cancel=Cancel(),
            find=lambda _ref: case.target,
            watcher=StagedPeople(document.answers, called, stage, watcher),
            by=BY,
            available_memory=lambda: case.available_bytes,
            host=case.host,
            execute=StagedCommands(case.runs, stage),
            unsafe=lambda _program: "",
            runbook=CalledRunbooks(document.calls),
        )
        return Played(case=case, run=run(order, tools))


def _memory() -> Path | None:
    """A file system in memory; None where there is none that we may write."""
    return _SHM if os.access(_SHM, os.W_OK | os.X_OK) else None
