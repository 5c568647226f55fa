"""What has its time: leases that end, old rows that go, people who are told that something is wrong.

One promise: a temporary change begins to be undone within ``LOOK_S`` of its end, by a child that was not
there before, across restarts; ``AGAIN_S`` later where one could not be ended, or its run is being worked on.
What is pruned goes in small parts, so that no alert waits for it.

Not here: undoing (``engine.running.leases``), runs (``keeper``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from engine.errors import Refused, RunbookError
from engine.journal import locks
from engine.running import watch
from engine.server.log import Log
from engine.server.messages import Done, LeaseEnd, LeaseRow, Leases, LeasesEnded, No
from engine.server.settings import seconds
from engine.server.worker import notices, outbox
from engine.server.worker.keeper import Keeper
from engine.server.worker.looks import ask_child
from engine.server.worker.notices import Draft
from engine.server.worker.order import Order
from engine.server.worker.people import People
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Triggers

#: How often leases are looked at, and old rows, in seconds; how long ending a lease may take.
LOOK_S, PRUNE_S, UNDO_S = 2.0, 60.0, 300.0
#: How often details of old runs go, in seconds.
RUNS_S = 3600.0
#: After a lease could not be ended because its run is being worked on.
AGAIN_S = 15.0


class Upkeep:
    """Does what has its time, until the keeper stops."""

    def __init__(self, keeper: Keeper, people: People, triggers: Triggers, log: Log) -> None:
        self._triggers = triggers
        self._told: dict[str, str] = {}
        self._keeper = keeper
        self._people = people
        self._log = log
        self._watching: locks.Lock | None = None
        self._not_before = float("-inf")
        self._pruned_at = 0.0
        self._runs_pruned_at = float("-inf")

    async def run(self) -> None:
        """Look after all of it, again and again."""
        while not self._keeper.stopping:
            try:
                await self._leases()
                self._runbooks()
                if time.monotonic() - self._pruned_at >= PRUNE_S:
                    await self._prune()
                    await self._soon()
                    self._pruned_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 - nothing may end it: it is tried again
                self._log.error("upkeep failed", error=error)
            await self._keeper.pause(LOOK_S)
        await self._hand_over()

    # ── leases ──────────────────────────────────────────────────────────────────

    async def _leases(self) -> None:
        """End what is due."""
        await asyncio.to_thread(self._stand_in)
        now = time.time()
        if time.monotonic() < self._not_before or not await self._keeper.books.do(
            lambda journal: journal.leases(now)
        ):
            return
        answer = await ask_child(self._keeper, self._order("overdue"), self._log, UNDO_S)
        self._not_before = time.monotonic() + AGAIN_S
        self._keeper.wake()
        if isinstance(answer, LeasesEnded):
            await self._ended(answer.rows, now)
        elif isinstance(answer, No):
            problem = f"leases that are due could not be ended: {answer.problem}"
            self._log.error(problem, fix=answer.fix)
            await self._tell([notices.of_trouble(problem, now, fix=answer.fix)])

    async def _ended(self, rows: Sequence[LeaseEnd], now: float) -> None:
        """Tell of each for itself; one whose run is being worked on is tried again."""
        for row in rows:
            facts = {"run": row.lease.run, "attempt": row.lease.attempt}
            if row.state in {"left", "failed"}:
                self._log.error("a lease could not be ended", **facts, problem=row.because, fix=row.fix)
                await self._tell([notices.of_lease_left(row.lease, row.because, now)])
            elif row.state != "leased":
                self._log.info("lease ended", **facts, state=row.state)

    async def _hand_over(self) -> None:
        """What is temporary still ends in time, though the worker does not run: a process waits for it."""
        if self._watching is not None:
            self._watching.release()
        with suppress(RunbookError, OSError):
            await self._keeper.books.do(watch.start)

    def _stand_in(self) -> None:
        """Hold the place of the process that ends leases where nobody else does: none has to stay for it."""
        if self._watching is None:
            with suppress(Refused):
                self._watching = locks.hold_run(self._keeper.directory, watch.LOCK, now=time.time())

    async def _soon(self) -> None:
        """Tell of leases that end soon, and of what is wrong."""
        notify = self._keeper.settings.notify
        if any("lease" in one.about for one in notify):
            now = time.time()
            if await self._keeper.books.do(lambda journal: journal.leases(float("inf"))):
                await self._tell(notices.of_lease(one, now) for one in await self._standing())
        if self._keeper.problem:
            await self._keeper.herald.tell([notices.of_trouble(self._keeper.problem, time.time())])

    async def _standing(self) -> tuple[LeaseRow, ...]:
        answer = await ask_child(self._keeper, self._order("leases"), self._log)
        return answer.rows if isinstance(answer, Leases) else ()

    async def _tell(self, drafts: Iterable[Draft | None]) -> None:
        await self._keeper.herald.tell([one for one in drafts if one is not None])

    def _order(self, doing: str) -> Order:
        return Order(doing=doing, state=str(self._keeper.directory.absolute()), by="its lease")

    def _runbooks(self) -> None:
        """Tell of runbooks that start nothing because they are wrong, or not to be trusted; once each."""
        problems = dict(self._triggers.problems)
        for path, problem in problems.items():
            if self._told.get(path) != problem:
                self._log.warning("a runbook starts nothing", file=path, problem=problem)
        self._told = problems

    # ── old rows ────────────────────────────────────────────────────────────────

    async def _prune(self) -> None:
        """Forget what is older than is kept."""
        runs, now = self._keeper.settings.runs, time.time()
        before = now - seconds(runs.alerts_kept)
        while await self._keeper.desk.do(lambda queue: queue.prune(before)):
            await asyncio.sleep(0.05)
        await self._keeper.desk.do(lambda queue: self._forget(queue, before, now))
        kept = seconds(runs.runs_kept)
        if kept and time.monotonic() - self._runs_pruned_at >= RUNS_S:
            self._runs_pruned_at = time.monotonic()
            order = msgspec.structs.replace(self._order("prune"), by="runbook serve", seconds=kept)
            answer = await ask_child(self._keeper, order, self._log, UNDO_S)
            if isinstance(answer, Done) and answer.sentence:
                self._log.info("old runs", did=answer.sentence)

    def _forget(self, queue: Queue, before: float, now: float) -> None:
        with queue.transaction():
            self._people.forget(queue.db)
            outbox.give_up(queue.db, self._keeper.settings.notify, now)
            outbox.forget(queue.db, before)
