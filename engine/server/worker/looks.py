"""Requests that only look: answered from disk by threads, or by a child that knows the parts.

Not here: who may look (``answering``), how it is read (``reads``), what a child does (``errands``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from engine.errors import RunbookError
from engine.server import messages
from engine.server.log import Log
from engine.server.messages import Answer, No, Session
from engine.server.worker import outbox, queue, reads, tables
from engine.server.worker.keeper import Keeper
from engine.server.worker.order import Order
from engine.server.worker.reads import Reads, Sight
from engine.server.worker.triggers import Triggers

#: For how long the answer of a child counts, and how long it may take, in seconds.
FRESH_S, PATIENCE_S = 10.0, 30.0
#: An alert that was not heard of for so long is not shown as firing.
FIRING_S = 86400.0
_answer: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class Looks:
    """Answers what only looks. ``by``: request type → its answer."""

    def __init__(self, keeper: Keeper, looking: Reads, triggers: Triggers, log: Log) -> None:
        self.keeper = keeper
        self.reads = looking
        self._triggers = triggers
        self._log = log
        self._started_at = time.time()
        self._fresh: dict[str, tuple[float, Answer]] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self.by: dict[type, Callable[[Any, Session], Awaitable[Answer]]] = {
            messages.GetRuns: self._runs,
            messages.GetRun: self._run,
            messages.GetAlerts: self._alerts,
            messages.GetTargets: self._targets,
            messages.GetLeases: self._leases,
            messages.GetAudit: self._audit,
            messages.GetRunbooks: self._runbooks,
            messages.GetStats: self._stats,
        }

    async def _runs(self, asked: messages.GetRuns, _: Session) -> Answer:
        jobs = list(self.keeper.jobs.values())
        return messages.Runs(rows=await self.reads.do(lambda sight: reads.runs(asked, sight, jobs)))

    async def _run(self, asked: messages.GetRun, _: Session) -> Answer:
        job = self.keeper.jobs.get(asked.run)
        return await self.reads.do(lambda sight: reads.run(asked, sight, job))

    async def _alerts(self, asked: messages.GetAlerts, _: Session) -> Answer:
        return messages.Alerts(rows=await self.reads.do(lambda sight: reads.alerts(asked, sight)))

    async def _audit(self, asked: messages.GetAudit, _: Session) -> Answer:
        raw = msgspec.Raw(msgspec.json.encode(asked))
        order = Order(doing="audit", state=str(self.keeper.directory.absolute()), asked=raw)
        return await ask_child(self.keeper, order, self._log)

    async def _stats(self, _asked: messages.GetStats, _: Session) -> Answer:
        counted: dict[str, dict[str, float]] = {}
        leases = notices = 0
        problem = await self.keeper.desk.health() or self.keeper.problem or _first(self._triggers.problems)
        try:
            counted, leases, notices = await self.reads.do(_counted)
        except RunbookError as error:  # what is wrong is what is asked for
            problem = error.problem
        jobs = list(self.keeper.jobs.values())
        return messages.Stats(
            alerts=_whole(counted.get("alerts", {})),
            runs=_whole(counted.get("runs", {})),
            seconds=_nested(counted.get("seconds", {})),
            refusals=_whole(counted.get("refusals", {})),
            probe_cpu_s=counted.get("probe_cpu_s", {}),
            queued=sum(job.state == "queued" for job in jobs),
            queue_limit=self.keeper.settings.runs.queue,
            running=sum(job.state == "running" for job in jobs),
            waiting=sum(job.state == "waiting" for job in jobs),
            leases=leases,
            notices=notices,
            started_at=self._started_at,
            stopping=self.keeper.stopping,
            problem=problem,
        )

    # ── by a child ──────────────────────────────────────────────────────────────

    async def _targets(self, _asked: messages.GetTargets, _: Session) -> Answer:
        found = await self._errand("targets")
        if not isinstance(found, messages.Targets):
            problem = found.problem if isinstance(found, No) else "it could not be looked for agents"
            return messages.Targets(rows=(), problem=problem)
        since = time.time() - FIRING_S
        firing = await self.reads.do(lambda sight: sight.queue.rows(tables.FIRING, since))
        ends = await self.reads.do(reads.last_ends)
        rows = [reads.health(row, firing, ends) for row in found.rows]
        return msgspec.structs.replace(found, rows=tuple(rows))

    async def _leases(self, _asked: messages.GetLeases, _: Session) -> Answer:
        if not await self.reads.do(lambda sight: sight.journal.leases(float("inf"))):
            return messages.Leases(rows=())
        return await self._errand("leases", fresh_s=1.0)

    async def _runbooks(self, _asked: messages.GetRunbooks, _: Session) -> Answer:
        return await self._errand("runbooks")

    async def _errand(self, doing: str, fresh_s: float = FRESH_S) -> Answer:
        """What a child says; for all who ask within some seconds the same."""
        async with self._asking.setdefault(doing, asyncio.Lock()):
            at, answer = self._fresh.get(doing, (float("-inf"), None))
            if answer is not None and time.monotonic() - at < fresh_s:
                return answer
            order = Order(doing=doing, state=str(self.keeper.directory.absolute()))
            answer = await ask_child(self.keeper, order, self._log)
            if not isinstance(answer, No):
                self._fresh[doing] = (time.monotonic(), answer)
            return answer


async def ask_child(keeper: Keeper, order: Order, log: Log, timeout_s: float = PATIENCE_S) -> Answer:
    """Have a child answer."""
    try:
        code, line = await keeper.children.ask(order, timeout_s)
        if code == 0:
            return _answer.decode(line)
        problem = f"a child ended with {code}"
    except TimeoutError:
        problem = f"it took longer than {timeout_s:g} s"
    except (OSError, msgspec.DecodeError) as error:
        problem = str(error)
    log.error("an errand failed", doing=order.doing, problem=problem)
    return No(problem=f"it could not be done: {problem}", fix="see the worker's log", why="failed")


def _counted(sight: Sight) -> tuple[dict[str, dict[str, float]], int, int]:
    """Counters; leases in force; notices that have not gone out."""
    leases = sight.journal.leases(float("inf"))
    with queue.explained(sight.queue.path):
        return sight.queue.counted(), len(leases), outbox.waiting(sight.queue.db)


def _whole(counts: dict[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in counts.items()}


def _nested(counts: dict[str, float]) -> dict[str, dict[str, float]]:
    """``name bound`` → name → bound."""
    found: dict[str, dict[str, float]] = {}
    for name, value in counts.items():
        run, _, bound = name.rpartition(" ")
        found.setdefault(run, {})[bound] = value
    return found


def _first(problems: dict[str, str]) -> str:
    for path, problem in problems.items():
        return f"{path} starts nothing: {problem.splitlines()[0]}"
    return ""
