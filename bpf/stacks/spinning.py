"""Which threads ask for events instead of working on them; pure.

The reasoning. A reader that finds its rings empty goes to sleep; one that polls does not. So CPU counts
as asking in two cases only:

- a thread is awake, which is to say that it slept for less than a fiftieth of the time (a lock that it
  shares may make it), and its rings were empty at most of the ticks meanwhile. Honest work looks
  otherwise: a thread that does not sleep is behind, and then the ring is not empty;
- a wait ended with nothing, and the thread slept again without having read anything: the time between.

A worker behind the reader may be awake for long too, with the ring empty and its own queue full. It is told
by what was read from the rings while it ran: everything is read while the reader runs, but the reader is
the thread that needs the least CPU for that.

Not here: counting (``reader_work.bpf.c``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Of a thread's awake ticks, so many at least with empty rings: it spins.
_MOSTLY = 0.5
#: So much of all that was read, at least, was read while the reader ran.
_COVERS = 0.8
#: Fewer ticks are no ground to judge a thread by.
_ENOUGH_TICKS = 3


class ThreadWork(NamedTuple):
    """What one thread did in the window.

    Attributes:
        read_bytes: Read from the target's rings, by whomever, while it was on a CPU.
        sleeps: Times it went to sleep by itself.
        asked_s: CPU between waits that ended with nothing and the next sleep.
        ran_s: CPU seen in all.
        ticks: Of the CPU clock; ``awake_ticks`` of these while awake, ``empty_ticks`` of those with
            all rings empty.
    """

    tid: int
    name: str
    read_bytes: int
    sleeps: int
    asked_s: float
    ran_s: float
    ticks: int
    awake_ticks: int
    empty_ticks: int


def reader_of(threads: Sequence[ThreadWork], read_bytes: int) -> ThreadWork | None:
    """The thread that reads the rings; None when nothing was read, or no single thread covers it."""
    if not read_bytes:
        return None
    able = [thread for thread in threads if thread.read_bytes >= _COVERS * read_bytes]
    return min(able, key=lambda thread: thread.ran_s, default=None)


def spun_s(thread: ThreadWork, reader: ThreadWork | None, hz: int) -> float:
    """Seconds of CPU that a thread spent on asking.

    Args:
        thread: Any of the target's.
        reader: Who reads the rings, when that is known.
        hz: Rate of the ticks.
    """
    spins = thread.awake_ticks >= _ENOUGH_TICKS and thread.empty_ticks >= _MOSTLY * thread.awake_ticks
    if spins and (reader is None or reader.tid == thread.tid):
        return thread.empty_ticks / hz + thread.asked_s
    return thread.asked_s
