"""Accepted runs that have not ended: how each stands, in memory as on disk.

One promise: what stands here of a job was written to the queue first or is written again after a restart,
and follows the journal: a job ends when its run has, and nothing that somebody asked for is forgotten when
writing it down fails.

Not here: beginning them (``carrying``), when it is looked at (``keeper``), the choice (``standing``).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable

import msgspec

from engine import text
from engine.errors import Refused
from engine.record import Outcome
from engine.server.log import Log
from engine.server.worker import standing
from engine.server.worker.books import Books
from engine.server.worker.desk import Desk
from engine.server.worker.job import Job
from engine.server.worker.standing import Standing


class Jobs:
    """The open jobs.

    Attributes:
        open: By id.
        carried: Those that a child of ours carries now; they are left alone until it has ended.
        unwanted: Run → who asked it to stop, while a child may not have heard of it.
        not_before: Run → when it may begin again (monotonic).
        behind: Run → the one that works on its target, under whatever name, as its child has found.
        untouched: Those that must not begin now: somebody is ending them.
        stopping: The worker ends, or looks what has become of runs since one ended; what broke off for
            that begins anew.
    """

    def __init__(self, books: Books, desk: Desk, log: Log, changed: Callable[[], None]) -> None:
        self._books = books
        self._desk = desk
        self._log = log
        self._changed = changed
        self.open: dict[str, Job] = {}
        self.carried: set[str] = set()
        self.unwanted: dict[str, str] = {}
        self.not_before: dict[str, float] = {}
        self.behind: dict[str, str] = {}
        self.untouched: set[str] = set()
        self.stopping = False
        self._resolved: set[str] = set()
        self._settling = asyncio.Lock()

    async def recover(self) -> None:
        """How everything stands after whatever ended the worker before."""
        self.open = {job.id: job for job in await self._desk.do(lambda queue: queue.open_jobs())}
        self._resolved.update(self.open)

    def ready(self) -> list[Job]:
        """Those that may begin now."""
        now = time.monotonic()
        return [
            job
            for job in self.open.values()
            if job.state == "queued"
            and job.id not in self.untouched
            and standing.is_free(self._ahead(job))
            and self.not_before.get(job.id, 0.0) <= now
        ]

    def _ahead(self, job: Job) -> Job | None:
        """The open one that was found at work on its target."""
        return self.open.get(self.behind.get(job.id, ""))

    def resolved(self, runs: Iterable[str]) -> None:
        """Alerts of these runs are over."""
        self._resolved.update(runs)

    # ── how they stand ──────────────────────────────────────────────────────────

    async def look_after(self) -> None:
        """Runs that nobody of ours carries: a child of an earlier worker does, or they are due."""
        now = time.time()
        for job in list(self.open.values()):
            adopted = job.state == "running" and job.id not in self.carried
            if adopted or (job.state == "waiting" and job.due is not None and job.due <= now):
                await self.settle(job.id)
        await self._look_after_resolved()

    async def _look_after_resolved(self) -> None:
        """Runs some alert of which is over; that is forgotten once it was looked at."""
        while self._resolved:
            run = self._resolved.pop()
            try:
                job = self.open.get(run)
                if job is not None and job.state == "waiting":
                    await self.settle(run)
                elif job is not None and self._may_drop(job) and await self._is_needless(job):
                    await self._end_unbegun(job, "refused", "The alert resolved before the run began.")
            except BaseException:
                self._resolved.add(run)
                raise

    async def settle(self, run: str, *, busy: bool = False) -> None:
        """Write down how a job that nobody of ours carries stands, by its run.

        ``busy``: its child found another run at work on the target.
        """
        async with self._settling:
            job = self.open.get(run)
            if job is None or run in self.carried or job.state == "queued":
                return
            stands, now = await self._books.standing(run), time.time()
            after = standing.after(job, stands, now, busy=busy)
            if after.state == "waiting" and await self._is_over(job):
                after = standing.after(job, await self._books.standing(run), now)
            after = await self._stopped(job, after, stands)
            pause_s = standing.pause_s(after.tries) if not busy else standing.busy_s(self._ahead(job))
            if after.state == "queued" and pause_s > 1:
                self.not_before[run] = time.monotonic() + pause_s
            await self.change(after, job)

    async def _stopped(self, job: Job, after: Job, stands: Standing) -> Job:
        """The job as it stands where somebody asked it to stop, and no child has heard of it.

        One that has begun and broke off goes on only to stop in good order: its next child is asked at once.
        """
        by = self.unwanted.get(job.id, "")
        if by and after.state == "queued" and not stands.begun:
            await self._books.end_unbegun(job, "interrupted", _stopped(by))
            return _ended(job, "interrupted")
        if by and after.state == "waiting" and await self._books.stop_waiting(job.id, by):
            return standing.after(job, await self._books.standing(job.id), time.time())
        return after

    async def _is_over(self, job: Job) -> bool:
        """Whether a run's alerts have all resolved while it waits: what it waits with is withdrawn."""
        if not await self._is_needless(job):
            return False
        return await self._books.withdraw(job.id, "the alert that asked for it has resolved")

    async def _is_needless(self, job: Job) -> bool:
        return bool(job.alert) and not await self._desk.do(lambda queue: queue.is_still_firing(job.id))

    async def change(self, after: Job, before: Job) -> None:
        """How a job stands now, on disk and here."""
        if after == before:
            return
        anew = await self._anew(after)
        if anew is None:
            await self._desk.do(lambda queue: queue.change_job(after))
        else:
            self.open[anew.id] = anew
        if after.state == "ended":
            for kept in (self.open, self.not_before, self.unwanted, self.behind):
                kept.pop(after.id, None)
            self._log.info("run ended", run=after.id, outcome=after.outcome)
        else:
            self.open[after.id] = after
        if after.state in {"waiting", "queued"}:
            self._log.info(f"run {after.state}", run=after.id, due=text.moment(after.due), tries=after.tries)
            self._changed()

    async def _anew(self, after: Job) -> Job | None:
        """The run in place of one that broke off only because the worker stops, or has stopped."""
        if not self.stopping or after.outcome != "interrupted" or after.id in self.unwanted:
            return None
        head = await self._books.do(lambda journal: journal.head(after.id))
        if head.signal != signal.SIGTERM:
            return None  # a person has ended it: answered no, taken it back
        return await self._desk.begin_anew(after)

    # ── more of them, fewer of them ─────────────────────────────────────────────

    async def drop(self, job: Job, by: str) -> None:
        """A run that has not begun shall not begin. Raises ``Refused`` when it has."""
        if not self._may_drop(job):
            raise Refused(f"run {job.id} has begun", fix="ask it to stop")
        self.unwanted[job.id] = by
        await self._end_unbegun(job, "interrupted", _stopped(by))

    def _may_drop(self, job: Job) -> bool:
        """Whether it has not begun, and nobody is ending it."""
        is_ours = self.open.get(job.id) is job and job.id not in self.untouched
        return is_ours and job.state == "queued" and job.doing == "start"

    async def _end_unbegun(self, job: Job, outcome: Outcome, sentence: str) -> None:
        self.untouched.add(job.id)  # it must not begin while this is written down
        try:
            await self._books.end_unbegun(job, outcome, sentence)
            await self.change(_ended(job, outcome), job)
        finally:
            self.untouched.discard(job.id)
            self.unwanted.pop(job.id, None)

    async def adopt(self, run: str) -> None:
        """A run that a command has begun waits: from now on it is kept like the others."""
        head = await self._books.do(lambda journal: journal.head(run))
        job = Job(
            id=run, runbook=head.runbook, target=head.target, alert=head.alert, by=head.by,
            dry_run=head.dry_run, doing="resume", state="waiting", queued_at=head.started_at,
        )  # fmt: skip
        if await self._desk.do(lambda queue: queue.job(run)) is None:
            await self._desk.do(lambda queue: queue.add_job(job))
        else:
            await self._desk.do(lambda queue: queue.change_job(job))
        self.open[run] = job


def _ended(job: Job, outcome: Outcome) -> Job:
    return msgspec.structs.replace(job, state="ended", outcome=outcome, ended_at=time.time())


def _stopped(by: str) -> str:
    return f"Stopped by {by} before it began."
