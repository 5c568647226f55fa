"""The worker's child processes: started with an order, listened to, stopped.

One promise: a child outlives a killed worker and finishes its run; an order never stands in its arguments.

Not here: what a child does (``carry``), which runs begin (``schedule``).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec

from engine.server.worker.order import Line, Order

#: Begins a child: its directory is not looked into for modules.
COMMAND = (sys.executable, "-P", "-m", "engine.server.worker.carry")
#: The longest line that a child may write.
MAX_LINE = 1 << 20
_lines = msgspec.json.Decoder(Line)


class _Child:
    """One process, from before it is there. ``unwanted``: it is to stop, as soon as it can be asked to."""

    def __init__(self, *, unwanted: bool) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.unwanted = unwanted
        self._is_asked = False

    def ask(self) -> None:
        """Ask it to stop, once: a second signal would end it at once, whatever it is at."""
        if self.process is not None and not self._is_asked:
            self._is_asked = True
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)


class Children:
    """The processes that carry runs now. ``heard`` is called in the loop with each line of each."""

    def __init__(self, heard: Callable[[str, Line], None]) -> None:
        self._heard = heard
        self._running: dict[str, _Child] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._running

    def __len__(self) -> int:
        return len(self._running)

    async def carry(self, order: Order, *, unwanted: bool = False) -> int:
        """Have a run carried; gives the child's exit code, negative where a signal ended it.

        ``unwanted``: only so far that it can stop in good order.
        """
        child = self._running[order.run] = _Child(unwanted=unwanted)
        try:
            child.process = await _start(order)
            assert child.process.stdout is not None  # noqa: S101 - it is piped
            while line := await _line(child.process.stdout):
                if child.unwanted:  # it was asked for before; who writes knows how to stop in good order
                    child.ask()
                with suppress(msgspec.DecodeError):
                    self._heard(order.run, _lines.decode(line))
            return await child.process.wait()
        finally:
            self._running.pop(order.run, None)

    async def ask(self, order: Order, timeout_s: float) -> tuple[int, bytes]:
        """Have something done that answers with one line: exit code and line.

        Raises:
            TimeoutError: It took too long, and was ended.
        """
        process = await _start(order)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), timeout_s)
            return process.returncode or 0, out.strip()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    def stop(self, run: str) -> bool:
        """Ask a run to stop in good order, once it can; False where no child of ours carries it."""
        child = self._running.get(run)
        if child is None:
            return False
        child.unwanted = True
        child.ask()
        return True

    def stop_all(self) -> None:
        """Ask all to stop in good order."""
        for run in list(self._running):
            self.stop(run)


async def _start(order: Order) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=MAX_LINE,
    )
    assert process.stdin is not None  # noqa: S101 - it is piped
    with suppress(ConnectionError):
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        await process.stdin.drain()
    process.stdin.close()
    return process


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; empty at the end, and where a line is too long to be one of ours."""
    try:
        return await stream.readline()
    except ValueError:
        return b""
