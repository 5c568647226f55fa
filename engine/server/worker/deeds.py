"""Requests that do something: alerts taken, runs started, stopped, undone, answered; leases; notices.

One promise: answers to what a run waits with go through the functions that commands use; whoever tried
what they may not is written down.

Not here: who may (``answering``), keeping runs (``keeper``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import Refused, RunbookError, UnknownName, UsageError
from engine.language import inputs, loader
from engine.language.model import Runbook
from engine.record import Barred
from engine.redaction import HERE
from engine.running import answering, approval
from engine.running.runner import new_id
from engine.server import messages
from engine.server.log import Log
from engine.server.messages import Answer, Busy, Done, No, Session, Started
from engine.server.worker import outbox, reads
from engine.server.worker.books import stop_elsewhere
from engine.server.worker.job import Job
from engine.server.worker.keeper import Keeper
from engine.server.worker.links import Link, Links, answerable
from engine.server.worker.looks import ask_child
from engine.server.worker.order import Order
from engine.server.worker.people import People
from engine.server.worker.queue import Queue
from engine.server.worker.reads import Reads
from engine.server.worker.seldom import Seldom
from engine.units import YEAR_S

#: How long an undo or the end of a lease may take, in seconds.
UNDO_S = 300.0


class Deeds:
    """Does what is asked for. ``by``: request type → its answer; ``listener_uid``: whose offers are taken."""

    def __init__(  # noqa: PLR0913 - each by keyword
        self, keeper: Keeper, *, looking: Reads, people: People, links: Links, log: Log, listener_uid: int
    ) -> None:
        self.keeper = keeper
        self.listener_uid = listener_uid
        self._reads = looking
        self._people = people
        self._links = links
        self._log = log
        self._seldom = Seldom()
        self.by: dict[type, Callable[[Any, Session], Awaitable[Answer]]] = {
            messages.StartRun: self._start,
            messages.StopRun: self._stop,
            messages.UndoRun: self._undo,
            messages.ChangeLease: self._lease,
            messages.Rule: self._rule,
            messages.Reply: self._reply,
            messages.ReadLink: self._read_link,
            messages.GetNotices: self._notices,
            messages.NoticeTold: self._notice_told,
        }

    async def take(self, offer: messages.Offer) -> Answer:
        """Alerts of a sender that the listener has authenticated."""
        if self.keeper.stopping:
            return Busy(because="the worker stops", retry_after_s=10.0)
        taken = await self.keeper.desk.take(offer)
        if isinstance(taken, Busy):
            if times := self._seldom.times(("offer", offer.sender)):
                self._log.warning("alerts not taken", sender=offer.sender, because=taken.because, times=times)
        elif any(one.run and one.fate != "duplicate" for one in taken.takings):
            self.keeper.alerts_came(one.run for one in taken.takings if one.fate == "resolved")
        return taken

    async def bar(self, request: messages.Request, who: Session, because: str) -> None:
        """Write down what somebody tried without the right to: once a minute, with how often it was.

        In the log by user; what a known user tried with a run, in its journal too, and so in the audit.
        """
        run, kind = getattr(request, "run", ""), type(request).__name__
        if times := self._seldom.times(("log", who.user)):
            self._log.warning("refused", user=who.user, role=who.role, request=kind, run=run, times=times)
        if not (who.user and run and (times := self._seldom.times(("row", who.user, run)))):
            return
        if times > 1:
            because += f" ({times - 1} more tries since the last row)"
        barred = Barred(at=time.time(), wanted=kind, by=who.user, because=because, via="page")
        with suppress(RunbookError):
            await self.keeper.books.do(lambda journal: approval.bar(run, barred, journal))

    # ── runs ────────────────────────────────────────────────────────────────────

    async def _start(self, asked: messages.StartRun, who: Session) -> Answer:
        path, runbook = await self._reads.do(lambda _: _load(asked.runbook))
        if HERE.text(asked.target) != asked.target:
            raise UsageError("the target holds a secret, and what is queued stands on disk", fix="name it")
        secret = sorted(
            name
            for name, value in asked.inputs.items()
            if (name in runbook.inputs and runbook.inputs[name].secret)
            or HERE.value({name: value}) != {name: value}
        )
        if secret:
            raise UsageError(
                f"input {secret[0]!r} is secret, and what is queued stands on disk",
                fix=f"give it at a terminal: runbook run {asked.runbook}",
            )
        if "?" in asked.target or not asked.target.isprintable():  # what follows it may name files
            raise UsageError(
                f"{asked.target[:60]!r} is no plain name of a target", fix="choose one of the list"
            )
        inputs.from_outside(runbook.inputs, asked.inputs)
        inputs.resolve(runbook, dict(asked.inputs))
        now = time.time()
        job = Job(
            id=new_id(runbook.runbook, now),
            runbook=runbook.runbook,
            path=str(path.absolute()),
            target=asked.target,
            inputs=asked.inputs,
            by=who.user,
            dry_run=asked.dry_run or self.keeper.settings.runs.dry_run,
            queued_at=now,
        )
        await self.keeper.add(job)
        return Started(run=job.id)

    async def _stop(self, asked: messages.StopRun, who: Session) -> Answer:
        job = self.keeper.jobs.get(asked.run)
        if job is not None and job.state == "queued" and job.doing == "start":
            await self.keeper.drop(job, who.user)
            return Done(sentence=f"run {asked.run} will not begin")
        waits = await self._reads.do(lambda sight: reads.waits(asked.run, sight, job))
        if waits and await self.keeper.books.stop_waiting(asked.run, who.user):
            self.keeper.wake()
            return Done(sentence=f"run {asked.run} waits no more")
        if self.keeper.stop_run(asked.run, who.user):
            return Done(sentence=f"run {asked.run} was asked to stop")
        if stop_elsewhere(self.keeper.directory, asked.run):
            return Done(sentence=f"run {asked.run} was asked to stop")
        raise Refused(f"run {asked.run} is not going on", fix=f"runbook report {asked.run}")

    async def _undo(self, asked: messages.UndoRun, who: Session) -> Answer:
        await self.keeper.books.do(lambda journal: journal.head(asked.run))
        return await self._errand(Order(doing="undo", run=asked.run, by=who.user))

    async def _lease(self, asked: messages.ChangeLease, who: Session) -> Answer:
        if asked.do == "extend" and not 0 < asked.seconds <= YEAR_S:
            raise UsageError(
                f"a lease can't be given {asked.seconds:g} s more", fix="more than 0, at most 366d"
            )
        order = Order(
            doing=asked.do, run=asked.run, attempt=asked.attempt, seconds=asked.seconds, by=who.user
        )
        return await self._errand(order)

    async def _errand(self, order: Order) -> Answer:
        state = str(self.keeper.directory.absolute())
        order = Order(
            doing=order.doing, run=order.run, attempt=order.attempt, seconds=order.seconds, by=order.by,
            state=state,
        )  # fmt: skip
        answer = await ask_child(self.keeper, order, self._log, UNDO_S)
        self.keeper.wake()
        return answer

    # ── what runs wait with ─────────────────────────────────────────────────────

    async def _rule(self, asked: messages.Rule, who: Session) -> Answer:
        found = await self._answers_as(asked, who)
        if isinstance(found, No):
            return found
        by, via = found
        ruling = approval.Ruling(
            digest=asked.digest, answer=asked.answer, by=by, comment=asked.comment, via=via
        )
        ruled = await self.keeper.books.do_alone(
            asked.run, lambda journal: approval.rule(asked.run, ruling, journal, time.time())
        )
        await self.keeper.go_on(asked.run.partition(".")[0], by)
        self._log.info(ruled.answer, run=asked.run, user=by, via=via)
        return Done(sentence=f"{ruled.answer} by {by}")

    async def _reply(self, asked: messages.Reply, who: Session) -> Answer:
        found = await self._answers_as(asked, who)
        if isinstance(found, No):
            return found
        by, via = found
        saying = answering.Saying(
            step=asked.step, digest=asked.digest, values=asked.values, by=by, comment=asked.comment, via=via
        )
        await self.keeper.books.do_alone(
            asked.run, lambda journal: answering.reply(asked.run, saying, journal, time.time())
        )
        await self.keeper.go_on(asked.run.partition(".")[0], by)
        self._log.info("answered", run=asked.run, user=by, via=via)
        return Done(sentence=f"answered by {by}")

    async def _answers_as(self, asked: messages.Rule | messages.Reply, who: Session) -> tuple[str, str] | No:
        """Who answers, and how: whoever is logged in, or the person of a link to just this."""
        if not asked.link:
            return who.user, "page"
        found = await self._link(asked.link)
        if isinstance(found, No):
            return found
        if (found.run, found.digest) != (asked.run, asked.digest):
            return No(problem="this link is about another request", fix="open it again", why="wrong")
        return found.person, "link"

    async def _read_link(self, asked: messages.ReadLink, _: Session) -> Answer:
        link = await self._link(asked.link)
        if isinstance(link, No):
            return link
        run = await self._reads.do(lambda sight: reads.run(messages.GetRun(run=link.run), sight, None))
        return messages.LinkFound(run=run, digest=link.digest, person=link.person, until=link.until)

    async def _link(self, signed: str) -> Link | No:
        """A link that can be answered with now."""
        link = self._links.read(signed, time.time())
        if isinstance(link, No):
            return link
        whole = await self.keeper.books.do(lambda journal: journal.run(link.run))
        role = await asyncio.to_thread(self._people.role_of, link.person)
        return answerable(link, whole, role) or link

    # ── notices ─────────────────────────────────────────────────────────────────

    async def _notices(self, asked: messages.GetNotices, _: Session) -> Answer:
        return messages.Notices(rows=await self.keeper.herald.hand_out(asked, self._links))

    async def _notice_told(self, asked: messages.NoticeTold, _: Session) -> Answer:
        def settle(queue: Queue) -> str:
            with queue.transaction():
                return outbox.settle(queue.db, asked, time.time())

        done = await self.keeper.desk.do(settle)
        if done == "given up":
            self._log.error("a notice was given up", notice=asked.notice, because=asked.problem)
        return Done(sentence=done)


def _load(name: str) -> tuple[Path, Runbook]:
    """A runbook of this host by its name, never by a path. Raises ``RunbookError``."""
    known = loader.available()
    if name not in known:
        raise UnknownName("runbook", name, known)
    return known[name], loader.load(known[name]).document
