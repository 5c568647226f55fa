"""Who is told of what: runs of their alerts, people of runs, ``/metrics`` of both.

One promise: what is told of a row of the journal is on disk in one transaction with the place up to which
rows were told; after a kill nothing is told twice, and nothing is left out.

Not here: what is told (``notices``, ``counting``), keeping runs (``keeper``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from engine.journal import Journal
from engine.server.alerts.alert import Alert
from engine.server.log import Log
from engine.server.messages import GetNotices, Notice
from engine.server.settings import Settings
from engine.server.worker import counting, notices, outbox, tables
from engine.server.worker.books import Books, News
from engine.server.worker.desk import Desk
from engine.server.worker.links import Links
from engine.server.worker.notices import Draft
from engine.server.worker.queue import Queue
from engine.server.worker.tail import Row

#: Rows that answer what a run waits with.
ANSWERED = frozenset({"ruled", "answered"})
#: The longest that somebody waits for notices, and how often it is looked for those whose time comes.
LONGEST_WAIT_S, LOOK_S = 60.0, 15.0
#: So many alerts are told at once.
AT_ONCE = 200


class Herald:
    """Tells."""

    def __init__(self, books: Books, desk: Desk, settings: Settings, log: Log) -> None:
        self._books = books
        self._desk = desk
        self._notify = settings.notify
        self._log = log
        self._noticed = asyncio.Event()
        self._told_to = 0

    # ── rows of the journal ─────────────────────────────────────────────────────

    async def begin(self) -> int | None:
        """Up to which row was told; None at first."""
        at = await self._desk.do(counting.position)
        self._told_to = at or 0
        return at

    async def skip_to(self, at: int) -> None:
        """What stands in the journal before the worker was there is not told."""
        await self._desk.do(counting.advance(at))
        self._told_to = at

    async def note(self, found: Sequence[Row]) -> None:
        """Count rows, and keep what people are to be told of them; each row once, however often it comes."""
        rows = [row for row in found if row.seq > self._told_to]
        if not rows:
            return
        counts, drafts = await self._books.do(lambda journal: self._look(rows, journal))
        answered = {row.run.partition(".")[0] for row in rows if row.kind in ANSWERED}

        def write(queue: Queue) -> None:
            for run in answered:
                outbox.withdraw(queue.db, run, time.time())
            outbox.add(queue.db, drafts, self._notify)

        await self._desk.do(counting.advance(rows[-1].seq, counts, write))
        self._told_to = rows[-1].seq
        if drafts:
            self.wake()

    def _look(self, rows: Sequence[Row], journal: Journal) -> tuple[counting.Counts, list[Draft]]:
        ends = {row.run for row in rows if row.kind == "ended" and "." not in row.run}
        drafts = []
        for run in sorted(ends) if self._notify else ():
            try:
                draft = notices.of_run(journal.run(run))
            except Exception as error:  # noqa: BLE001 - people are not told, and runs go on
                self._log.error("nobody is told of a run", run=run, error=error)
                continue
            drafts += [draft] if draft is not None else []
        return counting.count(rows, journal), drafts

    # ── alerts ──────────────────────────────────────────────────────────────────

    async def tell_alerts(self) -> None:
        """Write into runs' journals which alerts asked for them, joined them, or have resolved."""
        after = 0
        while found := await self._desk.do(_untold(after)):
            after = found[-1][-1]
            news = [
                News(id_, run, fate, msgspec.json.decode(body, type=Alert), sender)
                for id_, run, fate, body, sender, _ in found
            ]
            told = await self._books.tell(news)
            await self._desk.do(_mark(told))

    # ── people ──────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """There is something to tell people, or nothing comes any more."""
        self._noticed.set()

    async def hand_out(self, asked: GetNotices, links: Links) -> tuple[Notice, ...]:
        """Notices that are to be sent now; when there are none, those that come soon."""
        ends, limit = time.monotonic() + min(asked.wait_s, LONGEST_WAIT_S), max(1, min(asked.limit, 100))

        def hand_out(queue: Queue) -> tuple[Notice, ...]:
            with queue.transaction():
                return outbox.hand_out(queue.db, self._notify, links, time.time(), limit)

        while True:
            self._noticed.clear()
            found = await self._desk.do(hand_out)
            left = ends - time.monotonic()
            if found or left <= 0:
                return found
            with suppress(TimeoutError):
                await asyncio.wait_for(self._noticed.wait(), min(left, LOOK_S))

    async def tell(self, drafts: Sequence[Draft]) -> None:
        """Keep what people are to be told."""

        def add(queue: Queue) -> None:
            with queue.transaction():
                outbox.add(queue.db, drafts, self._notify)

        if self._notify and drafts:
            await self._desk.do(add)
            self.wake()


def _untold(after: int) -> Callable[[Queue], list[tuple[str, str, str, bytes, str, int]]]:
    return lambda queue: queue.rows(tables.UNTOLD, after, AT_ONCE)


def _mark(told: Sequence[str]) -> Callable[[Queue], None]:
    def write(queue: Queue) -> None:
        with queue.transaction():
            for alert in told:
                queue.do(tables.TELL, alert)

    return write
