"""Whether the listener is alive, and whether an alert would be taken now.

One promise: however often strangers ask, the worker is asked once a second at most.

Not here: the numbers (``metrics``).
"""

from __future__ import annotations

import asyncio
import time

from engine.errors import RunbookError
from engine.server.listener.answers import Alive, Answer, Ready, later, said
from engine.server.messages import GetStats, Stats
from engine.server.wire import Line

_FRESH_S = 1.0
_TIMEOUT_S = 2.0


class Worker:
    """What the worker said last of itself."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._asking: asyncio.Task[Stats | str] | None = None
        self._asked_at = 0.0

    async def stats(self) -> Stats | str:
        """Its numbers, at most a second old, or why there are none."""
        now = time.monotonic()
        if self._asking is None or (self._asking.done() and now - self._asked_at > _FRESH_S):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Stats | str:
        try:
            answer = await self._line.ask(GetStats(), timeout_s=_TIMEOUT_S)
        except RunbookError as error:
            return error.problem
        except OSError as error:
            return f"the worker can't be reached: {error.strerror or error}"
        return answer if isinstance(answer, Stats) else "the worker answers something else"


def alive() -> Answer:
    """It answers: that is all."""
    return said(200, Alive())


async def ready(worker: Worker, *, stopping: bool) -> Answer:
    """Whether an alert would be taken now; 503 with the reason when not."""
    if stopping:
        return later("the listener stops", 5)
    found = await worker.stats()
    if why := found if isinstance(found, str) else unready(found):
        return later(why, 5)
    return said(200, Ready())


def unready(stats: Stats) -> str:
    """Why the worker would take no alert now; empty when it would."""
    if stats.stopping:
        return "the worker stops"
    if stats.problem:
        return stats.problem
    if stats.queue_limit and stats.queued >= stats.queue_limit:
        return f"the queue is full: {stats.queued} of {stats.queue_limit} runs wait"
    return ""
