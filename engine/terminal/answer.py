"""An answer from a human at a terminal, given up when a signal arrives.

One promise: to a yes or no anything but a plain yes is a no, and an end of input, a closed terminal or
a signal is no answer at all.

Not here: what is asked (``engine.terminal.boxes``), who may be asked (``engine.guarding.guards``).
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_YES = frozenset({"y", "yes"})


def read_answer(source: TextIO) -> bool | None:
    """Read one line: True for ``y`` or ``yes``, False for any other, None when none comes."""
    typed = read_line(source)
    return None if typed is None else typed.strip().lower() in _YES


def read_line(source: TextIO, seconds: float | None = None) -> str | None:
    """Read one line, without its end; None when none comes, within ``seconds`` where they are given.

    A signal whose handler returns (the runner's only takes a note) would leave ``input()``
    waiting; so the wait is on the signal's wake-up descriptor too. That works in the main
    thread; elsewhere only the line is waited for.
    """
    with _woken_by_signals() as woken:
        waited: list[int] = [source.fileno(), *woken]
        ready, _, _ = select.select(waited, [], [], seconds)
        if source.fileno() not in ready:
            return None
        try:
            typed = source.readline()
        except OSError:  # the terminal has gone
            return None
    return typed.rstrip("\r\n") if typed else None


@contextmanager
def _woken_by_signals() -> Iterator[list[int]]:
    """A descriptor that becomes readable when a signal arrives; none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    reads, writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    try:
        yield [reads]
    finally:
        signal.set_wakeup_fd(before)
        os.close(reads)
        os.close(writes)
