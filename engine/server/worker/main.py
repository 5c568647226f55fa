"""The worker as a process: one per state directory, from its lock to its end.

One promise: a second worker on the same state directory does not start; SIGTERM and SIGINT end it in good
order: it takes nothing more, asks its runs to stop, and leaves what is queued on disk.

Not here: what it keeps (``keeper``), the listener (``engine.server.listener``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Refused
from engine.journal import locks
from engine.server import wire
from engine.server.log import FromLibraries, Log, where
from engine.server.messages import Request
from engine.server.settings import Settings
from engine.server.worker import outbox, people
from engine.server.worker.answering import Answers
from engine.server.worker.books import Books
from engine.server.worker.deeds import Deeds
from engine.server.worker.desk import Desk
from engine.server.worker.keeper import Keeper
from engine.server.worker.links import Links
from engine.server.worker.looks import Looks
from engine.server.worker.queue import Queue
from engine.server.worker.reads import Reads
from engine.server.worker.triggers import Triggers
from engine.server.worker.upkeep import Upkeep

if TYPE_CHECKING:
    from engine.server.starting import Place


def run(settings: Settings, place: Place) -> None:
    """Work until somebody asks to stop.

    Raises:
        Refused: Another worker keeps this state directory.
        RunbookError: Journal or queue can't be used.
        UsageError: Runs are to be traced, and what that needs is not installed.
    """
    if settings.tracing.endpoint:
        from engine.server import tracing  # noqa: PLC0415 - only where it is asked for

        tracing.require(settings.tracing.endpoint)
    with alone(place.state):
        asyncio.run(_work(settings, place))


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Be the only worker of a state directory. Raises ``Refused``."""
    try:
        lock = locks.hold_run(state, "worker", now=time.time())
    except Refused as error:
        raise Refused(
            f"a worker keeps {state} already: {error.problem}",
            fix="stop it (systemctl stop runbook-worker), or choose another --state",
        ) from error
    with lock:
        yield


async def _work(settings: Settings, place: Place) -> None:
    log = Log("worker", settings.log)
    logging.getLogger().addHandler(FromLibraries(log))  # asyncio tells there of what nobody waited for
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    queue = Queue.open(place.state)
    queue.make(people.SCHEMA)
    queue.make(outbox.SCHEMA)
    triggers = Triggers()
    books = Books(place.state)
    desk = Desk(queue, triggers, settings.runs)
    keeper = Keeper(books, desk, settings, log)
    await keeper.recover()
    await desk.do(lambda _: triggers.now())  # the first alert shall not wait for it
    who = people.People(settings, place.state, log)
    for one in settings.notify:
        if one.person and who.role_of(one.person) is None:
            log.warning("its links need a login: there is no such user", notify=one.name, person=one.person)
    upkeep = Upkeep(keeper, who, triggers, log)
    servers, looking = await _listen(place, keeper, triggers, who, log)
    log.info("worker ready", state=place.state, socket=place.socket, pid=os.getpid())
    working = [asyncio.create_task(keeper.run()), asyncio.create_task(upkeep.run())]
    await stop.wait()
    log.info("worker stops", running=len(keeper.children))
    await keeper.stop()
    await asyncio.gather(*working)
    for server in servers:
        server.close()
    looking.close()
    await desk.close()
    await books.close()


async def _listen(
    place: Place, keeper: Keeper, triggers: Triggers, who: people.People, log: Log
) -> tuple[list[asyncio.Server], Reads]:
    """Open both sockets."""
    looking = Reads(place.state)
    looks = Looks(keeper, looking, triggers, log)
    deeds = Deeds(
        keeper,
        looking=looking,
        people=who,
        links=Links(place.state),
        log=log,
        listener_uid=place.uid,
    )
    outside = Answers(looks, deeds, who, log, is_trusted=False)
    inside = Answers(looks, deeds, who, log, is_trusted=True)
    group = place.gid if place.uid != os.geteuid() else None

    def failed(asked: Request, error: Exception) -> None:
        log.error("a request broke", request=type(asked).__name__, error=error, at=where(error))

    return [
        await wire.serve(place.socket, outside, group=group, failed=failed),
        await wire.serve(place.control, inside, failed=failed),
    ], looking
