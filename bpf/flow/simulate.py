"""A ring buffer, its producer and its reader in small steps: traces whose truth is known.

Its promise: the ring behaves like the kernel's: a record that would bring the bytes in use above
``size - 1`` is refused and counted. What comes out is the same ``Trace`` that a real ring gives,
so the analysis can be checked, and a runbook rehearsed, without a kernel.

Not here: the analysis (``bpf.flow.positions``, ``bpf.flow.bursts``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bpf.flow.trace import Trace

#: One step of the simulation, in seconds; ten of them to a sample.
STEP_S = 0.0001
STEPS_PER_SAMPLE = 10

#: Events per second that want in, at a moment.
Arrivals = Callable[[float], float]
#: Records that the reader takes in a step, at a moment and with so many waiting.
Takes = Callable[[float, int], int]


@dataclass(frozen=True, slots=True)
class Ring:
    """Its size and its records, in bytes, header included."""

    size: int = 256 * 1024
    record: int = 72


@dataclass(slots=True)
class Truth:
    """What really happened, in events over ``seconds``."""

    seconds: float
    offered: int = 0
    lost: int = 0
    taken: int = 0


@dataclass(slots=True)
class _Samples:
    times: list[float] = field(default_factory=list)
    consumer: list[int] = field(default_factory=list)
    producer: list[int] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)


def simulate(
    arrivals: Arrivals,
    takes: Takes,
    *,
    ring: Ring = Ring(),
    seconds: float = 5.0,
) -> tuple[Trace, Truth]:
    """Let events arrive and be taken; gives what an observer sees, and what was true. 15 ms a second."""
    truth, seen = Truth(seconds), _Samples()
    consumer = producer = 0
    due = 0.0
    for step in range(round(seconds / STEP_S) + 1):
        now = step * STEP_S
        if step % STEPS_PER_SAMPLE == 0:
            seen.times.append(now)
            seen.consumer.append(consumer)
            seen.producer.append(producer)
            seen.lost.append(float(truth.lost))
        due += arrivals(now) * STEP_S
        wanted = int(due)
        due -= wanted
        accepted = min(wanted, (ring.size - 1 - (producer - consumer)) // ring.record)
        truth.offered += wanted
        truth.lost += wanted - accepted
        producer += accepted * ring.record
        waiting = (producer - consumer) // ring.record
        taken = min(takes(now, waiting), waiting)
        truth.taken += taken
        consumer += taken * ring.record
    return Trace(
        size=ring.size, times=seen.times, consumer=seen.consumer, producer=seen.producer, lost=seen.lost
    ), truth


def steadily(per_s: float) -> Arrivals:
    """The same rate all the time."""
    return lambda _: per_s


def pulses(base: float, high: float, length_s: float, spacing_s: float) -> Arrivals:
    """``high`` for ``length_s`` every ``spacing_s``, and ``base`` in between."""
    return lambda now: high if now % spacing_s < length_s else base


def wakes(per_s: float) -> Takes:
    """A reader that wakes for data and takes up to ``per_s``."""
    left = 0.0

    def take(_: float, waiting: int) -> int:
        nonlocal left
        left = min(left + per_s * STEP_S, max(1.0, 2 * per_s * STEP_S))
        taken = min(waiting, int(left))
        left -= taken
        return taken

    return take


def sleeps(interval_s: float, per_s: float) -> Takes:
    """A reader that sleeps ``interval_s``, empties the ring at ``per_s``, and sleeps again."""
    wake_at = interval_s

    def take(now: float, waiting: int) -> int:
        nonlocal wake_at
        if now < wake_at:
            return 0
        able = int(per_s * STEP_S)
        if able >= waiting:
            wake_at = now + interval_s
        return min(able, waiting)

    return take


def held_back(per_s: float, share: float, period_s: float = 0.1) -> Takes:
    """A reader that may run for ``share`` of each period, as under a CPU quota."""
    runs = wakes(per_s)
    return lambda now, waiting: runs(now, waiting) if now % period_s < share * period_s else 0


def never(_: float, __: int) -> int:
    """A reader that is stuck."""
    return 0
