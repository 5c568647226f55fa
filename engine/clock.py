"""Time, and the wish to stop.

One promise: a wait ends as soon as somebody asks the run to stop, and nothing else does.
``Cancel`` is a flag; whoever works looks at it between two actions, so that a write in
flight is always finished and written down.

Not here: what a run does when it is asked to stop (``engine.running.runner``).
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: Below this a plain sleep is cheaper than waiting on the flag, and nobody notices the delay.
SHORT_S = 0.05
#: The longest that a wish to stop may go unheard.
SLICE_S = 0.25


class Cancel:
    """The wish to stop, set once and never taken back.

    Attributes:
        signal: Number of the signal that asked; 0 while nobody has, or when code asked.
    """

    def __init__(self) -> None:
        self._is_set = False
        # An Event locks up when a signal calls its set() within its own wait(); this queue may be called so.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.signal = 0

    def __bool__(self) -> bool:
        return self._is_set

    def set(self, signal_number: int = 0) -> None:
        """Ask to stop. Signal handlers may, whatever they interrupt."""
        self.signal = signal_number
        self._is_set = True
        self._bell.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; True as soon as somebody has asked to stop.

        In slices: a signal that comes just before the system call would else be heard of after it.
        """
        ends = time.monotonic() + seconds
        while not self._is_set and (left := ends - time.monotonic()) > 0:
            with suppress(queue.Empty):
                self._bell.get(timeout=min(left, SLICE_S))
                self._bell.put(None)  # for whoever else waits
        return self._is_set


class SystemClock:
    """The machine's clocks; ``sleep`` returns early when the run is cancelled."""

    def __init__(self, cancel: Cancel | None = None) -> None:
        self._cancel = Cancel() if cancel is None else cancel  # an unset one is false

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; returns early when the run is cancelled."""
        if seconds <= 0:
            return
        if seconds <= SHORT_S:
            time.sleep(seconds)
        else:
            self._cancel.wait(seconds)


@contextmanager
def stop_on_signals(cancel: Cancel) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP set the flag; a second SIGINT or SIGTERM ends the process at once.

    A terminal that goes away often sends SIGHUP twice (the kernel and the shell): that never ends
    the process at once. Under ``nohup``, where SIGHUP is ignored, it stays ignored.
    At once means without undoing: what stands in the journal is enough for ``runbook undo``
    or ``runbook resume``. An open transaction is rolled back by SQLite when it is next read.
    Works in the main thread only, as Python's signal handlers do; elsewhere it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if not cancel:
            cancel.set(number)
        elif number != signal.SIGHUP:
            os._exit(128 + number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
