"""The worker's heart: from accepted runs to children, and from what the journal tells to how jobs stand.

One promise: a run that was accepted is carried by one process at a time until the journal says that it has
ended, whatever is killed on the way; nothing here decides what a run may do.

queue → schedule → child → journal → how the job stands → queue. It wakes when something came, and looks at
the journal once a second (``tail``): commands and other processes write there too.
Not here: how jobs stand (``jobs``), children (``carrying``), requests (``answering``), decisions on alerts
(``intake``), rows (``queue``, ``books``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.errors import RunbookError
from engine.server.log import Log, where
from engine.server.messages import Happened, Number
from engine.server.settings import Settings
from engine.server.worker import counting
from engine.server.worker.books import Books
from engine.server.worker.carrying import Carrying
from engine.server.worker.children import Children
from engine.server.worker.desk import Desk
from engine.server.worker.herald import ANSWERED, Herald
from engine.server.worker.hub import Hub
from engine.server.worker.job import Job
from engine.server.worker.jobs import Jobs
from engine.server.worker.order import Line
from engine.server.worker.tail import Row, Tail

#: How often the journal is looked at, and alike while somebody follows a run, in seconds.
LOOK_S, FOLLOWED_S = 1.0, 0.4


class Keeper:
    """Keeps the runs of one state directory.

    Attributes:
        problem: What is wrong now, for the health's sake; empty when nothing is.
    """

    def __init__(self, books: Books, desk: Desk, settings: Settings, log: Log) -> None:
        self.books = books
        self.desk = desk
        self.settings = settings
        self._log = log
        self.herald = Herald(books, desk, settings, log)
        self.hub = Hub()
        self.problem = ""
        self.stopping = False
        self._wake = asyncio.Event()
        self._jobs = Jobs(books, desk, log, self._wake.set)
        self._carrying = Carrying(self._jobs, desk, settings, log, self._heard)
        self._untold = True
        self._tail: Tail | None = None
        self._stopped = asyncio.Event()
        self._over = asyncio.Event()
        self._over.set()
        desk.taken = self.queued

    @property
    def directory(self) -> Path:
        """The state directory."""
        return self.books.directory

    @property
    def jobs(self) -> dict[str, Job]:
        """Those that have not ended, by id."""
        return self._jobs.open

    @property
    def children(self) -> Children:
        """Of all kinds."""
        return self._carrying.children

    # ── the loop ────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep runs until ``stop``; whatever fails is tried again."""
        self._over.clear()
        try:
            while not self.stopping:
                self._wake.clear()
                await self._try_turn()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), FOLLOWED_S if self.hub else LOOK_S)
        finally:
            self._over.set()

    async def _try_turn(self) -> None:
        try:
            await self._turn()
            self.problem = ""
        except Exception as error:  # noqa: BLE001 - nothing may end it: it is tried again
            told = error.problem if isinstance(error, RunbookError) else f"{type(error).__name__}: {error}"
            if told != self.problem:
                self._log.error("runs can't be kept", error=error, at=where(error))
            self.problem = told

    async def stop(self) -> None:
        """Begin nothing more, stop the children in good order, wait for them and for the turn under way."""
        self.stopping = self._jobs.stopping = True
        self._stopped.set()
        self.herald.wake()
        self._wake.set()
        await self._carrying.stop()
        await self._over.wait()
        with suppress(RunbookError):
            await self._read()
        self.hub.close()
        if self._tail is not None:
            self._tail.close()

    def wake(self) -> None:
        """Something came."""
        self._wake.set()

    async def pause(self, at_most_s: float) -> None:
        """Wait, or until it stops."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), at_most_s)

    async def recover(self) -> None:
        """How everything stands after whatever ended the worker before."""
        await self._jobs.recover()
        await self._carrying.recover()
        await self.books.do(lambda _: None)  # makes the journal where there is none
        at = await self.herald.begin()
        self._tail = await asyncio.to_thread(Tail, self.directory, at)
        if at is None:
            await self.herald.skip_to(self._tail.at)
        self._jobs.stopping = True
        for run in list(self.jobs):
            await self._jobs.settle(run)
        self._jobs.stopping = False

    async def _turn(self) -> None:
        await self._read()
        await self._jobs.look_after()
        self._untold = await self.desk.judge_again() or self._untold
        if self._untold:
            self._untold = False
            try:
                await self.herald.tell_alerts()
            except BaseException:
                self._untold = True
                raise
        if not self.stopping:
            self._carrying.begin(self.directory)

    # ── what the journal tells ──────────────────────────────────────────────────

    async def _read(self) -> None:
        """All that is new in the journal: counted, shown to followers, and acted on."""
        if self._tail is None or not await asyncio.to_thread(self._tail.is_new):
            return
        try:
            while rows := await asyncio.to_thread(self._tail.read):
                await self.herald.note(rows)
                for row in rows:
                    await self._heed(row)
                self._tail.at = rows[-1].seq
        except BaseException:
            self._tail.look_again()
            raise

    async def _heed(self, row: Row) -> None:
        """One row: passed on, and what follows from it for the job."""
        state = "running"
        outermost = row.run.partition(".")[0]
        if row.kind == "ended" and "." not in row.run:
            state = "waiting" if counting.outcome(row) == "waiting" else "ended"
        if row.kind != "begun":
            self.hub.tell(Happened(run=row.run, state=state, seq=row.seq, event=msgspec.Raw(row.body)))
        if "." not in row.run and row.kind in {"begun", "ended", "resumed"}:
            self.hub.tell_state(row.run, state)
            self._untold = self._untold or row.kind == "begun"
        if state == "waiting" and outermost not in self.jobs:
            await self._jobs.adopt(outermost)
        if row.kind in {"ended", *ANSWERED}:
            await self._jobs.settle(outermost)

    def _heard(self, run: str, line: Line) -> None:
        """A line from a child."""
        if line.step:
            self.hub.number(
                Number(
                    run=run, step=line.step, label=line.label, value=line.value, unit=line.unit, at=line.at
                )
            )
        else:
            self._wake.set()

    # ── what requests ask for ───────────────────────────────────────────────────

    def queued(self, jobs: Sequence[Job]) -> None:
        """Runs were accepted."""
        for job in jobs:
            self._jobs.open[job.id] = job
        self._wake.set()

    def alerts_came(self, resolved: Iterable[str]) -> None:
        """Alerts of runs were written down; ``resolved``: of these runs some are over."""
        self._untold = True
        self._jobs.resolved(resolved)
        self._wake.set()

    async def add(self, job: Job) -> None:
        """Accept a run that a person asks for."""
        await self.desk.do(lambda queue: queue.add_job(job))
        self.queued([job])

    async def drop(self, job: Job, by: str) -> None:
        """A run that has not begun shall not begin. Raises ``Refused`` when it has."""
        await self._jobs.drop(job, by)

    def stop_run(self, run: str, by: str) -> bool:
        """Ask a run to stop in good order, begun or not; False where no child of ours carries it."""
        return self._carrying.stop_run(run, by)

    async def go_on(self, run: str, by: str) -> None:
        """A run was answered: whoever began it, it is taken up."""
        if run not in self.jobs:
            await self._jobs.adopt(run)
        await self._jobs.settle(run)
        self._log.info("run answered", run=run, user=by)
        self._wake.set()
