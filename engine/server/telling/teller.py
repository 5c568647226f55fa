"""Takes notices from the worker and has them sent, each service by itself, until it is cancelled.

One promise: a service that is slow, dead or wrong holds up nobody: not another service, not the
listener, not a run; whatever becomes of a notice is said to the worker, which tries again.

Not here: the sending (``engine.server.telling.send``), tries and limits (``engine.server.worker.outbox``).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine import host
from engine.server.log import Log
from engine.server.messages import GetNotices, No, Notice, Notices, NoticeTold
from engine.server.settings import Notify, Settings
from engine.server.telling import words
from engine.server.telling.send import MISSING, Letter, Order, Sent
from engine.server.wire import Line, WorkerGone

if TYPE_CHECKING:
    from asyncio.subprocess import Process

#: How long the worker may keep us waiting for a notice.
WAIT_S = 25.0
#: How long one letter may take, and the start of the process that sends it.
LETTER_S, START_S = 15.0, 10.0
#: Pauses while the worker does not answer.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
#: The longest address that is read.
_LONGEST = 8192


async def tell_forever(settings: Settings, line: Line, log: Log | None = None) -> None:
    """Pass on every notice that the worker hands out; ends when it is cancelled."""
    log = log or Log("telling", settings.log)
    address = words.address(settings.listen)
    tellers = {one.name: Teller(one, address, line, log) for one in settings.notify}
    for teller in tellers.values():
        teller.look()
    pause = FIRST_PAUSE_S
    try:
        while True:
            try:
                answer = await line.ask(GetNotices(wait_s=WAIT_S), timeout_s=WAIT_S + 10.0)
            except WorkerGone as error:
                if pause == FIRST_PAUSE_S:
                    log.warning("no notices can be had", error=error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            pause = FIRST_PAUSE_S
            if not isinstance(answer, Notices):
                log.error(
                    "no notices are given out", because=answer.problem if isinstance(answer, No) else ""
                )
                await asyncio.sleep(LONGEST_PAUSE_S)
                continue
            await _spread(answer.rows, tellers, line)
    finally:
        await asyncio.gather(*(teller.stop() for teller in tellers.values()))


async def _spread(rows: Sequence[Notice], tellers: dict[str, Teller], line: Line) -> None:
    """Give each its own."""
    for name in dict.fromkeys(one.to for one in rows):
        mine = [one for one in rows if one.to == name]
        if name in tellers:
            tellers[name].take(mine)
            continue
        for one in mine:
            with suppress(WorkerGone):
                await line.ask(NoticeTold(notice=one.id, problem=f"the listener knows nobody named {name!r}"))


class Teller:
    """Sends to one service; what it takes while it is busy waits for its turn."""

    def __init__(self, notify: Notify, address: str, line: Line, log: Log) -> None:
        self._notify = notify
        self._address = address
        self._line = line
        self._log = log
        self._held: dict[int, Notice] = {}
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Say at the start what would keep it from telling anybody."""
        if find_spec("apprise") is None:
            self._log.error("nobody is told", to=self._notify.name, because=MISSING)
        try:
            _url(self._notify)
        except (OSError, ValueError) as error:
            self._log.error("nobody is told", to=self._notify.name, because=_why(self._notify, error))

    def take(self, notices: Sequence[Notice]) -> None:
        """Send these as well; one that is held already is not taken twice."""
        for one in notices:
            self._held.setdefault(one.id, one)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """What is under way is ended; the worker hands it out again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while self._held:
            batch = list(self._held.values())
            try:
                order = Order(_url(self._notify), tuple(self._letter(one) for one in batch))
            except (OSError, ValueError) as error:
                why = _why(self._notify, error)
            else:
                why = await _send(order, self._became)
            for one in batch:
                if one.id in self._held:
                    await self._became(Sent(one.id, why))

    def _letter(self, one: Notice) -> Letter:
        name = host.hostname()
        return Letter(one.id, words.title(one, name), words.body(one, name, self._address), words.kind(one))

    async def _became(self, sent: Sent) -> None:
        """Say what became of a notice, here and to the worker."""
        notice = self._held.get(sent.id)
        if notice is None:
            return
        if sent.problem:
            self._log.warning("notice not sent", to=self._notify.name, notice=sent.id, because=sent.problem)
        else:
            self._log.info("notice sent", to=self._notify.name, notice=sent.id, run=notice.run)
        with suppress(WorkerGone):  # it is handed out again, and bears the same number
            await self._line.ask(NoticeTold(notice=sent.id, problem=sent.problem))
        del self._held[sent.id]


async def _send(order: Order, became: Callable[[Sent], Awaitable[None]]) -> str:
    """Start the process that sends, and end it when it takes too long; gives what became of the rest."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "engine.server.telling.send",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",  # where -m looks first
        )
    except OSError as error:
        return f"what sends it could not be started: {error.strerror}"
    try:
        async with asyncio.timeout(START_S + LETTER_S * len(order.letters)):
            await _talk(process, order, became)
    except TimeoutError:
        return "the service did not answer in time"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return "what sends it broke off"


async def _talk(process: Process, order: Order, became: Callable[[Sent], Awaitable[None]]) -> None:
    """Hand the order over, and pass on what became of each letter as it comes."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("it was started with pipes")
    with suppress(ConnectionError):
        process.stdin.write(msgspec.json.encode(order))
        await process.stdin.drain()
        process.stdin.close()
    async for line in process.stdout:
        with suppress(msgspec.DecodeError):  # a plugin that prints
            await became(msgspec.json.decode(line, type=Sent))
    await process.wait()


def _url(notify: Notify) -> str:
    """The service's address: the first line of its file that is no comment."""
    with Path(notify.url_file).open(encoding="utf-8") as file:
        lines = (line.strip() for line in file.read(_LONGEST).splitlines())
        found = next((line for line in lines if line and not line.startswith("#")), "")
    if not found:
        raise ValueError("it is empty")
    return found


def _why(notify: Notify, error: Exception) -> str:
    words_ = (error.strerror if isinstance(error, OSError) else "") or (
        "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
    )
    return f"its url_file {notify.url_file} can't be read: {words_}"
