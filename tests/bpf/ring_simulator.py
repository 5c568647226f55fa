"""A ring buffer, its producer and its reader in small steps: traces with known truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bpf.flow.trace import Trace


@dataclass
class Truth:
    offered: int = 0
    lost: int = 0
    taken: int = 0


def simulate(
    arrivals: Callable[[float], float],
    reader: Callable[[float, int], int],
    *,
    size: int = 256 * 1024,
    record: int = 72,
    seconds: float = 5.0,
    step_s: float = 0.0001,
    every: int = 10,
) -> tuple[Trace, Truth]:
    """Run a ring; ``arrivals(t)`` in events/s, ``reader(t, backlog)`` gives records it may take in a step."""
    truth = Truth()
    c = p = 0
    credit = 0.0
    times, cs, ps, lost = [], [], [], []
    for n in range(round(seconds / step_s) + 1):
        t = n * step_s
        if n % every == 0:
            times.append(t)
            cs.append(c)
            ps.append(p)
            lost.append(float(truth.lost))
        credit += arrivals(t) * step_s
        want = int(credit)
        credit -= want
        room = max(0, (size - 1 - (p - c)) // record)
        got = min(want, room)
        truth.offered += want
        truth.lost += want - got
        p += got * record
        taken = min(reader(t, (p - c) // record), (p - c) // record)
        truth.taken += taken
        c += taken * record
    return Trace(size=size, times=times, consumer=cs, producer=ps, lost=lost), truth


def fast(per_s: float, step_s: float = 0.0001) -> Callable[[float, int], int]:
    """A reader that wakes for data and takes up to ``per_s``."""
    credit = 0.0

    def take(_t: float, backlog: int) -> int:
        nonlocal credit
        credit = min(credit + per_s * step_s, per_s * step_s * 2)
        n = min(backlog, int(credit))
        credit -= n
        return n

    return take


def sleeper(interval_s: float, per_s: float, step_s: float = 0.0001) -> Callable[[float, int], int]:
    """A reader that sleeps ``interval_s``, drains the ring at ``per_s``, and sleeps again."""
    wake = interval_s

    def take(t: float, backlog: int) -> int:
        nonlocal wake
        if t < wake:
            return 0
        n = int(per_s * step_s)
        if n >= backlog:
            wake = t + interval_s
        return min(n, backlog)

    return take


def throttled(per_s: float, share: float, period_s: float = 0.1) -> Callable[[float, int], int]:
    """A reader that may run for ``share`` of each period."""
    inner = fast(per_s)

    def take(t: float, backlog: int) -> int:
        return inner(t, backlog) if (t % period_s) < share * period_s else 0

    return take


def pulses(base: float, high: float, length_s: float, spacing_s: float) -> Callable[[float], float]:
    """``high`` for ``length_s`` every ``spacing_s``, ``base`` between."""
    return lambda t: high if (t % spacing_s) < length_s else base
