"""The queue's one thread: offers that come together are written together.

One promise: whoever is told ``Taken`` finds its alerts on disk, and the runs that they ask for in the same
transaction; ``Busy`` means that nothing of the offer was taken; no more runs than ``runs.queue`` are queued.

Where there is room for some run, an offer is taken whole: alerts whose runs find no room are kept as ``full``
and get their runs as soon as there is room, before anything that comes later. Where there is none, an offer
with news that asks for a run is ``Busy``.
Not here: decisions (``intake``), rows (``queue``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from engine.redaction import HERE
from engine.running.runner import new_id
from engine.server.alerts.alert import Alert
from engine.server.messages import Busy, Offer, Taken, Taking
from engine.server.settings import Runs
from engine.server.worker import intake
from engine.server.worker.intake import Decided
from engine.server.worker.job import Job
from engine.server.worker.queue import Queue, QueueUnavailable, explained
from engine.server.worker.triggers import Triggers

T = TypeVar("T")

#: So many alerts share a commit at most, so that reads of the queue come in between.
AT_ONCE = 1000
#: So many alerts that joined a run, or have resolved, are told in its journal; the queue knows all.
TOLD, RUNS_COUNTED = 20, 1000
#: An alert that was not heard of for so long is not judged again before it comes.
STALE_S = 86400.0
_FULL = "the queue is full: {queued} runs wait for their turn"


class _Full(Exception):
    """The queue has no room for what an offer asks for."""


def of_sender(sender: str, alert: Alert) -> Alert:
    """An alert under a fingerprint that no other sender can give: nobody ends, or hides, another's alerts."""
    return msgspec.structs.replace(alert, fingerprint=f"{sender}/{alert.fingerprint}")


class Desk:
    """Takes alerts.

    Attributes:
        taken: Called in the loop with the runs that a commit has queued.
        problem: Why the last offers were not written; empty once something was written again.
    """

    taken: Callable[[Sequence[Job]], None] = staticmethod(lambda _: None)

    def __init__(self, queue: Queue, triggers: Triggers, runs: Runs) -> None:
        self.queue = queue
        self._triggers = triggers
        self._runs = runs
        self._thread = ThreadPoolExecutor(1, "queue")
        self._offers: list[tuple[Offer, asyncio.Future[Taken | Busy]]] = []
        self._told_of: dict[str, dict[str, int]] = {"joined": {}, "resolved": {}}
        self._writing: asyncio.Task[None] | None = None
        self.problem = ""

    async def do(self, what: Callable[[Queue], T]) -> T:
        """Something else with the queue. Raises ``QueueUnavailable``, whatever SQLite said."""

        def do() -> T:
            with explained(self.queue.path):
                return what(self.queue)

        return await asyncio.get_running_loop().run_in_executor(self._thread, do)

    async def take(self, offer: Offer) -> Taken | Busy:
        """Decide on an offer's alerts and write all of it down."""
        future: asyncio.Future[Taken | Busy] = asyncio.get_running_loop().create_future()
        self._offers.append((offer, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await future

    async def health(self) -> str:
        """Why nothing could be written now; empty where it can, or nothing has failed."""
        if self.problem:
            try:
                await self.do(lambda queue: queue.count("writes", "tried"))
                self.problem = ""
            except QueueUnavailable as error:
                self.problem = error.problem
        return self.problem

    async def judge_again(self) -> bool:
        """Decide on alerts whose time has come: the cooldown is over, or there is room. True: on some.

        Raises:
            QueueUnavailable: Nothing of it was written.
        """
        jobs, changed = await self.do(lambda _: self._again(time.time()))
        if jobs:
            self.taken(jobs)
        return changed

    async def begin_anew(self, job: Job) -> Job | None:
        """A run that was broken off with the worker is queued anew for its alerts, where some fire still.

        Raises:
            QueueUnavailable: Nothing of it was written.
        """
        return await self.do(lambda _: self._anew(job, time.time()))

    async def close(self) -> None:
        """Write what is under way; then the file is let go."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self.do(lambda queue: queue.close())
        self._thread.shutdown()

    async def _write_all(self) -> None:
        while self._offers:
            batch = self._next()
            try:
                answers, jobs = await self.do(lambda _, batch=batch: self._commit([one for one, _ in batch]))  # type: ignore[misc]
                self.problem = ""
            except Exception as error:  # noqa: BLE001 - whatever broke, each is told that nothing was taken
                why = (
                    error.problem
                    if isinstance(error, QueueUnavailable)
                    else f"{type(error).__name__}: {error}"
                )
                self.problem = why
                answers, jobs = [Busy(because=why)] * len(batch), []
            if jobs:
                self.taken(jobs)
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _next(self) -> list[tuple[Offer, asyncio.Future[Taken | Busy]]]:
        """The offers of one commit, in order: at least one."""
        count, alerts = 0, 0
        for offer, _ in self._offers:
            if count and alerts + len(offer.alerts) > AT_ONCE:
                break
            count, alerts = count + 1, alerts + len(offer.alerts)
        batch, self._offers = self._offers[:count], self._offers[count:]
        return batch

    # ── in the thread ───────────────────────────────────────────────────────────

    def _commit(self, offers: Sequence[Offer]) -> tuple[list[Taken | Busy], list[Job]]:
        """Several offers in one transaction; each whole or not at all."""
        answers: list[Taken | Busy] = []
        jobs: list[Job] = []
        with self.queue.transaction():
            queued = self.queue.queued()
            room = self._runs.queue - queued - self.queue.without_room()
            for offer in offers:
                try:
                    with self.queue.part():
                        takings, new = self._take(offer, room)
                except _Full:
                    self.queue.count("alerts", "full", len(offer.alerts))
                    answers.append(Busy(because=_FULL.format(queued=queued)))
                    continue
                jobs += new
                queued += len(new)
                room -= len(new) + sum(one.fate == "full" for one in takings)
                answers.append(Taken(takings=tuple(takings)))
        return answers, jobs

    def _take(self, offer: Offer, room: int) -> tuple[list[Taking], list[Job]]:
        ready, now = self._triggers.now(), time.time()
        takings: list[Taking] = []
        jobs: list[Job] = []
        for told in map(HERE.struct, offer.alerts):  # before anything is made of it
            alert = of_sender(offer.sender, told)
            decided = intake.decide(alert, ready, self.queue, now, self._runs)
            if decided.wanted is not None and len(jobs) >= room:
                if room <= 0 and not decided.again:
                    raise _Full
                decided = intake.without_room(decided)
            decided, new = self._carry_out(alert, offer.sender, decided, now)
            jobs += new
            self._write(alert, offer.sender, decided, now)
            because = decided.because
            if decided.still:
                because = f"it is known already; still {decided.still}: {because}"
            taking = Taking(alert=alert.key, fate=decided.fate, run=decided.run, because=because)
            takings.append(taking)
        return takings, jobs

    def _carry_out(
        self, alert: Alert, sender: str, decided: Decided, now: float
    ) -> tuple[Decided, list[Job]]:
        """Queue the run that a decision asks for; the decision names it then."""
        if decided.wanted is None:
            return decided, []
        job = self._job(alert, sender, decided, now)
        return decided._replace(run=job.id), [job]

    def _again(self, now: float) -> tuple[list[Job], bool]:
        """Judge what is due; whether anything has another fate now."""
        room = self._runs.queue - self.queue.queued()
        due = self.queue.due(now, AT_ONCE, has_room=room > 0)
        if not due:
            return [], False
        ready, jobs, changed = self._triggers.now(), list[Job](), False
        with self.queue.transaction():
            for alert, sender, last_at in due:
                decided = intake.decide(alert, ready, self.queue, now, self._runs)
                if last_at < now - STALE_S or not (decided.again or decided.still):
                    self.queue.not_due(alert.key)  # it is over, or nobody speaks of it any more
                    continue
                if decided.wanted is not None and len(jobs) >= room:
                    if room > 0:
                        break  # the rest keeps its turn
                    decided = intake.without_room(decided)
                decided, new = self._carry_out(alert, sender, decided, now)
                jobs += new
                self.queue.change_alert(alert.key, decided)
                if decided.again and decided.fate != "full":
                    self.queue.count("alerts", decided.fate)
                    changed = True
        return jobs, changed

    def _anew(self, job: Job, now: float) -> Job | None:
        if not job.path or not self.queue.is_still_firing(job.id):  # one that a command began is not ours
            return None
        new = msgspec.structs.replace(
            job, id=new_id(job.runbook, now), doing="start", state="queued", tries=0, queued_at=now,
            started_at=None, ended_at=None, outcome="", due=None,
        )  # fmt: skip
        with self.queue.transaction():
            self.queue.change_job(job)
            self.queue.add_job(new)
            because = f"run {job.id} was broken off when the worker stopped: it begins anew"
            self.queue.move_alerts(job, new, because)
        return new

    def _job(self, alert: Alert, sender: str, decided: Decided, now: float) -> Job:
        wanted = decided.wanted
        assert wanted is not None  # noqa: S101 - asked for above
        job = Job(
            id=new_id(wanted.runbook, now),
            runbook=wanted.runbook,
            path=wanted.path,
            target=wanted.target,
            inputs=wanted.inputs,
            alert=alert.key,
            by=f"alert {alert.name} ({sender})",
            dry_run=self._runs.dry_run,
            queued_at=now,
        )
        self.queue.add_job(job)
        return job

    def _write(self, alert: Alert, sender: str, decided: Decided, now: float) -> None:
        self.queue.count("alerts", decided.fate)
        if decided.fate == "duplicate" or decided.again:
            self.queue.see_again(alert.key, now)
            if decided.again or decided.still:
                self.queue.change_alert(alert.key, decided)
        else:
            told = not decided.run or not self._is_told(decided)
            self.queue.add_alert(alert, sender, decided, now, told=told)

    def _is_told(self, decided: Decided) -> bool:
        """Whether a run's journal tells of an alert: of a storm only the beginning."""
        if decided.fate not in self._told_of:
            return True
        told = self._told_of[decided.fate]
        told[decided.run] = told.get(decided.run, 0) + 1
        if len(told) > RUNS_COUNTED:
            del told[next(iter(told))]
        return told.get(decided.run, 0) <= TOLD
