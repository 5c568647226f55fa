"""The worker's own entries in the journal, and what it asks of it: all in one thread.

One promise: answers, expiries and ends are written by the functions that commands use too
(``engine.running.approval``, ``unanswered``), so that the first answer counts wherever it comes from.

Not here: runs (they write for themselves), reads for the page (``engine.server.worker.reads``).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from engine import host, pending
from engine.errors import Refused, UnknownName
from engine.journal import Journal, locks
from engine.record import Alerted, Ended, Outcome, Run
from engine.running import unanswered
from engine.server.alerts.alert import Alert
from engine.server.worker.carry import head_of
from engine.server.worker.job import Job
from engine.server.worker.order import Order
from engine.server.worker.standing import Standing

T = TypeVar("T")

#: How long a run that is being worked on is waited for, and how often it is looked at, in seconds.
PATIENCE_S, PAUSE_S = 3.0, 0.05


class News(NamedTuple):
    """An alert that its run's journal is to know of."""

    id: str
    run: str
    fate: str
    alert: Alert
    sender: str


class Books:
    """The journal, in a thread of its own. Its methods raise ``RunbookError``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._thread = ThreadPoolExecutor(1, "journal")
        self._journal: Journal | None = None

    async def do(self, what: Callable[[Journal], T]) -> T:
        """Something with the journal."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: what(self._opened()))

    async def do_alone(self, run: str, what: Callable[[Journal], T]) -> T:
        """As ``do``, once nobody works on a run; it is waited for outside the thread, which others need.

        Raises:
            Refused: Somebody does, for ``PATIENCE_S``.
        """
        outermost, ends = run.partition(".")[0], time.monotonic() + PATIENCE_S
        while locks.run_is_held(self.directory, outermost):
            if time.monotonic() >= ends:
                raise Refused(
                    f"run {outermost} is being worked on", fix="try again when it waits or has ended"
                )
            await asyncio.sleep(PAUSE_S)
        return await self.do(what)

    async def close(self) -> None:
        """Let the journal go."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = Journal.open(self.directory)
        return self._journal

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    # ── how runs stand ──────────────────────────────────────────────────────────

    async def standing(self, run: str) -> Standing:
        """How a run stands now; one whose time to be answered is up is ended."""
        return await self.do(lambda journal: standing(run, journal, time.time()))

    async def tell(self, news: Sequence[News]) -> list[str]:
        """Write down what alerts did to runs that are in the journal; gives the ids of those alerts."""
        return await self.do(lambda journal: _tell_all(news, journal))

    async def withdraw(self, run: str, because: str) -> bool:
        """End the waiting of a run whose alert has resolved; False where it waits for nothing."""

        def do(journal: Journal) -> bool:
            with suppress(Refused, UnknownName):
                return unanswered.withdraw(run, because, journal, time.time())
            return False

        return await self.do(do)

    async def end_unbegun(self, job: Job, outcome: Outcome, sentence: str) -> None:
        """Write down why a run did not begin."""
        order = Order(
            run=job.id, runbook=job.runbook, target=job.target, inputs=job.inputs, alert=job.alert,
            by=job.by, dry_run=job.dry_run, state=str(self.directory),
        )  # fmt: skip
        ended = Ended(at=time.time(), outcome=outcome, sentence=sentence)
        await self.do(lambda journal: journal.begin(head_of(order, ended.at)).record(ended))

    async def stop_waiting(self, run: str, by: str) -> bool:
        """End a run that waits; False where it waits for nothing."""
        return await self.do(lambda journal: unanswered.stop(run, by, journal, time.time()) is not None)


def standing(run: str, journal: Journal, now: float) -> Standing:
    """How a run stands, by its rows and locks."""
    directory = journal.directory
    if locks.run_is_held(directory, run) or locks.run_is_held(directory, f"job-{run}"):
        return Standing(held=True)  # whoever works on it says how it ends
    found = _run(run, journal)
    if found is None:
        return Standing()
    due = pending.due(found) if found.head.outcome == "waiting" else None
    if due is not None and due <= now:
        with suppress(Refused):  # somebody is at it: it is looked at again
            if unanswered.expire(run, journal, now) is not None:
                found = journal.run(run)
    head = found.head
    return Standing(
        begun=True,
        outcome=head.outcome or "",
        ended_at=head.ended_at,
        due=due,
        answered=pending.answered(found),
    )


def _run(run: str, journal: Journal) -> Run | None:
    """A run by its whole id; None for one that has not begun, which is asked for again and again."""
    return journal.run(run) if journal.has(run) else None


def _tell_all(news: Sequence[News], journal: Journal) -> list[str]:
    """Alerts into their runs' journals; those of runs that have not begun are left."""
    told: list[str] = []
    for run in dict.fromkeys(one.run for one in news):
        found = _run(run, journal)
        if found is None:
            continue
        known = {event.alert for event in found.events if isinstance(event, Alerted)}
        for one in (one for one in news if one.run == run):
            told.append(one.id)
            if one.id not in known:
                journal.continue_(run).record(_alerted(one))
    return told


def _alerted(news: News) -> Alerted:
    did: Literal["asked", "joined", "resolved"] = "joined"
    if news.fate != "joined":
        did = "resolved" if news.fate == "resolved" else "asked"
    return Alerted(
        at=time.time(),
        alert=news.id,
        name=news.alert.name,
        sender=news.sender,
        did=did,
        summary=news.alert.summary[:500],
    )


def stop_elsewhere(directory: Path, run: str) -> bool:
    """Ask a process that we did not start to stop a run; False where none works on it."""
    if not locks.run_is_held(directory, run):
        return False
    with suppress(OSError, msgspec.DecodeError):
        holder = msgspec.json.decode((directory / "locks" / f"run-{run}").read_bytes(), type=locks.Holder)
        if holder.boot_id == host.boot_id():
            os.kill(holder.pid, signal.SIGTERM)
            return True
    return False
