"""Runs that may begin become children; each is carried until its child has ended.

One promise: a run is carried by one child of ours at a time, and a wish to stop it reaches it however far it
has come: before its child is there, while that starts, and afterwards.

Not here: which may begin (``schedule``), processes (``children``), how jobs stand after them (``jobs``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.errors import RunbookError
from engine.server.log import Log
from engine.server.settings import Settings
from engine.server.worker import schedule, standing, tables
from engine.server.worker.children import Children
from engine.server.worker.desk import Desk
from engine.server.worker.job import Job
from engine.server.worker.jobs import Jobs
from engine.server.worker.order import BUSY, DONE, Line, Order

#: How long children may take to stop in good order.
PATIENCE_S = 60.0


class Carrying:
    """Carries runs. ``heard`` is called with each line of each child."""

    def __init__(
        self, jobs: Jobs, desk: Desk, settings: Settings, log: Log, heard: Callable[[str, Line], None]
    ) -> None:
        self._jobs = jobs
        self._desk = desk
        self._settings = settings
        self._log = log
        self._heard = heard
        self.children = Children(self._hear)
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_start: dict[str, float] = {}

    async def recover(self) -> None:
        """Which target had its turn when."""
        self._last_start = dict(await self._desk.do(lambda queue: queue.rows(tables.LAST_STARTS)))

    def begin(self, directory: Path) -> None:
        """Begin what may begin now."""
        now, jobs = time.time(), self._jobs
        running = [job for job in jobs.open.values() if job.state == "running"]
        for job in schedule.choose(jobs.ready(), running, self._settings.runs.at_once, self._last_start):
            begun = msgspec.structs.replace(job, state="running", started_at=now)
            jobs.open[job.id] = begun
            jobs.carried.add(job.id)
            self._last_start[job.target] = now
            task = asyncio.create_task(self._carry(begun, directory))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Stop all in good order, and wait for them."""
        self.children.stop_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_S)

    def stop_run(self, run: str, by: str) -> bool:
        """Ask a run to stop in good order, begun or not; False where no child of ours carries it."""
        if run not in self._jobs.carried:
            return False
        self._jobs.unwanted[run] = by
        self.children.stop(run)
        return True

    def _hear(self, run: str, line: Line) -> None:
        if line.behind:
            self._jobs.behind[run] = line.behind
        else:
            self._heard(run, line)

    async def _carry(self, job: Job, directory: Path) -> None:
        """One child from its start to how the job stands after it."""
        code = DONE
        self._jobs.behind.pop(job.id, None)
        try:
            await self._desk.do(lambda queue: queue.change_job(job))
            unwanted = job.id in self._jobs.unwanted
            if not unwanted or job.doing == "resume":
                self._log.info(
                    "run begins", run=job.id, runbook=job.runbook, target=job.target, doing=job.doing
                )
                code = await self.children.carry(self._order(job, directory), unwanted=unwanted)
                if code not in {DONE, BUSY} and job.id not in self._jobs.unwanted:
                    self._log.error("a child ended before its run", run=job.id, code=code)
        except (OSError, RunbookError) as error:
            self._log.error("a child could not be started", run=job.id, error=error)
        finally:
            self._jobs.carried.discard(job.id)
        with suppress(RunbookError):  # else it stays `running`, and is looked after
            await self._jobs.settle(job.id, busy=code == BUSY)

    def _order(self, job: Job, directory: Path) -> Order:
        return Order(
            run=job.id,
            runbook=job.path or job.runbook,
            target=job.target,
            inputs=job.inputs,
            alert=job.alert,
            by=job.by,
            dry_run=job.dry_run,
            state=str(directory.absolute()),
            last=job.tries >= standing.TRIES,
            trace_to=self._settings.tracing.endpoint,
        )
