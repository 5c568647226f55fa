"""The worker's heart: from accepted runs to children, and from what the journal tells to how jobs stand.

One promise: a run that was accepted is carried by one process at a time until the journal says that it has
ended, whatever is killed on the way; nothing here decides what a run may do.

queue → schedule → child → journal → how the job stands → queue. It wakes when something came, and looks at
the journal once a second (``tail``): commands and other processes write there too.
Not here: requests (``answering``), decisions on alerts (``intake``), rows (``queue``, ``books``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.errors import Refused, RunbookError
from engine.server.log import Log
from engine.server.messages import Happened, Number
from engine.server.settings import Settings
from engine.server.worker import counting, schedule, standing, tables
from engine.server.worker.books import Books
from engine.server.worker.children import Children
from engine.server.worker.desk import Desk
from engine.server.worker.herald import ANSWERED, Herald
from engine.server.worker.hub import Hub
from engine.server.worker.job import Job
from engine.server.worker.order import BUSY, DONE, Line, Order
from engine.server.worker.tail import Row, Tail

#: How often the journal is looked at, and alike while somebody follows a run, in seconds.
LOOK_S, FOLLOWED_S = 1.0, 0.4
#: How long children may take to stop in good order.
PATIENCE_S = 60.0


class Keeper:
    """Keeps the runs of one state directory.

    Attributes:
        jobs: Those that have not ended, by id.
        problem: What is wrong now, for the health's sake; empty when nothing is.
    """

    def __init__(self, books: Books, desk: Desk, settings: Settings, log: Log) -> None:
        self.books = books
        self.desk = desk
        self.settings = settings
        self._log = log
        self.herald = Herald(books, desk, settings, log)
        self.hub = Hub()
        self.children = Children(self._heard)
        self.jobs: dict[str, Job] = {}
        self.problem = ""
        self.stopping = False
        self._wake = asyncio.Event()
        self._carrying: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._last_start: dict[str, float] = {}
        self._untold = True
        self._resolved: set[str] = set()
        self._settling = asyncio.Lock()
        self._unwanted: dict[str, str] = {}
        self._tail: Tail | None = None
        self._stopped = asyncio.Event()
        desk.taken = self.queued

    @property
    def directory(self) -> Path:
        """The state directory."""
        return self.books.directory

    # ── the loop ────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep runs until ``stop``; whatever fails is tried again."""
        while not self.stopping:
            self._wake.clear()
            try:
                await self._turn()
                self.problem = ""
            except Exception as error:  # noqa: BLE001 - nothing may end it: it is tried again
                told = (
                    error.problem if isinstance(error, RunbookError) else f"{type(error).__name__}: {error}"
                )
                if told != self.problem:
                    self._log.error("runs can't be kept", error=error)
                self.problem = told
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), FOLLOWED_S if self.hub else LOOK_S)

    async def stop(self) -> None:
        """Begin nothing more, stop the children in good order, wait for them."""
        self.stopping = True
        self._stopped.set()
        self.herald.wake()
        self._wake.set()
        self.children.stop_all()
        if self._carrying:
            await asyncio.wait(self._carrying.values(), timeout=PATIENCE_S)
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
        jobs = await self.desk.do(lambda queue: queue.open_jobs())
        self.jobs = {job.id: job for job in jobs}
        self._last_start = dict(await self.desk.do(lambda queue: queue.rows(tables.LAST_STARTS)))
        await self.books.do(lambda _: None)  # makes the journal where there is none
        at = await self.herald.begin()
        self._tail = Tail(self.directory, at)
        if at is None:
            await self.herald.skip_to(self._tail.at)
        for job in jobs:
            await self._settle(job.id)

    async def _turn(self) -> None:
        await self._read()
        await self._look_after()
        if self._untold:
            self._untold = False
            try:
                await self.herald.tell_alerts()
            except BaseException:
                self._untold = True
                raise
        await self._schedule()

    # ── what the journal tells ──────────────────────────────────────────────────

    async def _read(self) -> None:
        """All that is new in the journal: counted, shown to followers, and acted on."""
        if self._tail is None or not self._tail.is_new():
            return
        try:
            while rows := self._tail.read():
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
            await self._adopt(outermost)
        if row.kind in {"ended", *ANSWERED}:
            await self._settle(outermost)

    async def _look_after(self) -> None:
        """Runs that nobody of ours carries: carried by a child of an earlier worker, or due."""
        now, resolved, self._resolved = time.time(), self._resolved, set()
        for job in list(self.jobs.values()):
            adopted = job.state == "running" and job.id not in self._carrying
            due = job.state == "waiting" and job.due is not None and job.due <= now
            if adopted or due or (job.state == "waiting" and job.id in resolved):
                await self._settle(job.id)

    async def _settle(self, run: str) -> None:
        """Write down how a job that nobody of ours carries stands, by its run."""
        async with self._settling:
            job = self.jobs.get(run)
            if job is None or run in self._carrying or job.state == "queued":
                return
            stands, now = await self.books.standing(run), time.time()
            after = standing.after(job, stands, now)
            if after.state == "waiting" and await self._is_over(job):
                after = standing.after(job, await self.books.standing(run), now)
            by = self._unwanted.pop(run, "")
            if by and after.state == "queued" and not stands.begun:  # stopped while its child was starting
                await self.books.end_unbegun(job, by)
                after = msgspec.structs.replace(job, state="ended", outcome="interrupted", ended_at=now)
            if after.state == "queued" and after.tries > 1:
                self._not_before[run] = now + standing.pause_s(after.tries)
            await self._change(after, job)

    async def _is_over(self, job: Job) -> bool:
        """Whether a run's alerts have all resolved while it waits: what it waits with is withdrawn."""
        if not job.alert or await self.desk.do(lambda queue: queue.is_still_firing(job.id)):
            return False
        return await self.books.withdraw(job.id, "the alert that asked for it has resolved")

    async def _change(self, after: Job, before: Job) -> None:
        if after == before:
            return
        await self.desk.do(lambda queue: queue.change_job(after))
        if after.state == "ended":
            self.jobs.pop(after.id, None)
            self._not_before.pop(after.id, None)
            self._log.info("run ended", run=after.id, outcome=after.outcome)
        else:
            self.jobs[after.id] = after
        if after.state in {"waiting", "queued"}:
            self._log.info(f"run {after.state}", run=after.id, due=after.due, tries=after.tries)
            self._wake.set()

    # ── carrying ────────────────────────────────────────────────────────────────

    async def _schedule(self) -> None:
        """Begin what may begin now."""
        now = time.time()
        ready = [
            job
            for job in self.jobs.values()
            if not self.stopping and job.state == "queued" and self._not_before.get(job.id, 0.0) <= now
        ]
        running = [job for job in self.jobs.values() if job.state == "running"]
        for job in schedule.choose(ready, running, self.settings.runs.at_once, self._last_start):
            begun = msgspec.structs.replace(job, state="running", started_at=now)
            self.jobs[job.id] = begun
            self._last_start[job.target] = now
            self._carrying[job.id] = asyncio.create_task(self._carry(begun))

    async def _carry(self, job: Job) -> None:
        """One child from its start to how the job stands after it."""
        try:
            await self.desk.do(lambda queue: queue.change_job(job))
            self._log.info("run begins", run=job.id, runbook=job.runbook, target=job.target, doing=job.doing)
            code = await self.children.carry(self._order(job))
            if code not in {DONE, BUSY}:
                self._log.error("a child ended before its run", run=job.id, code=code)
        except (OSError, RunbookError) as error:
            self._log.error("a child could not be started", run=job.id, error=error)
        finally:
            self._carrying.pop(job.id, None)
        with suppress(RunbookError):  # else it stays `running`, and is looked after
            await self._settle(job.id)

    def _order(self, job: Job) -> Order:
        return Order(
            run=job.id,
            runbook=job.path or job.runbook,
            target=job.target,
            inputs=job.inputs,
            alert=job.alert,
            by=job.by,
            dry_run=job.dry_run,
            state=str(self.directory.absolute()),
            last=job.tries >= standing.TRIES,
            trace_to=self.settings.tracing.endpoint,
        )

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
            self.jobs[job.id] = job
        self._wake.set()

    def alerts_came(self, resolved: Iterable[str]) -> None:
        """Alerts of runs were written down; ``resolved``: of these runs some are over."""
        self._untold = True
        self._resolved.update(resolved)
        self._wake.set()

    async def add(self, job: Job) -> None:
        """Accept a run that a person asks for, or take one up that a command has begun."""
        await self.desk.do(lambda queue: queue.add_job(job))
        self.queued([job])

    async def drop(self, job: Job, by: str) -> None:
        """A run that has not begun shall not begin. Raises ``Refused`` when it has."""
        if job.id in self._carrying or self.jobs.get(job.id) is not job:
            raise Refused(f"run {job.id} has begun", fix="ask it to stop")
        self.jobs.pop(job.id)  # it must not begin while this is written down
        await self.books.end_unbegun(job, by)
        ended = msgspec.structs.replace(job, state="ended", outcome="interrupted", ended_at=time.time())
        await self._change(ended, job)

    def stop_run(self, run: str, by: str) -> bool:
        """Ask a run to stop in good order, begun or not; False where no child of ours carries it."""
        if run not in self._carrying:
            return False
        self._unwanted[run] = by
        return self.children.stop(run)

    async def go_on(self, run: str, by: str) -> None:
        """A run was answered: whoever began it, it is taken up."""
        if run not in self.jobs:
            await self._adopt(run)
        await self._settle(run)
        self._log.info("run answered", run=run, user=by)
        self._wake.set()

    async def _adopt(self, run: str) -> None:
        """A run that a command has begun waits: from now on it is kept like the others."""
        head = await self.books.do(lambda journal: journal.head(run))
        job = Job(
            id=run, runbook=head.runbook, target=head.target, alert=head.alert, by=head.by,
            dry_run=head.dry_run, doing="resume", state="waiting", queued_at=head.started_at,
        )  # fmt: skip
        if await self.desk.do(lambda queue: queue.job(run)) is None:
            await self.desk.do(lambda queue: queue.add_job(job))
        else:
            await self.desk.do(lambda queue: queue.change_job(job))
        self.jobs[run] = job
