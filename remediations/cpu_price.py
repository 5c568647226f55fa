"""The arithmetic of CPU: what an agent uses, and what it will use after a change.

Own CPU = spinning + sleeps · w + events · c: what it uses while nothing is there to read, what
falling asleep and waking up costs (w, at most its system time per context switch), and the work on
each event (c). The CPU of its BPF programs is told apart: it is not in the agent's own.

Not here: what is changed (``poll_interval``, ``batch_size``, ``sampling`` …).
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.values import Prediction, Scalar
from remediations.planning import Question, nothing

#: The diagnosis whose verdict asks for less CPU.
DIAGNOSIS = "cpu-use"
#: CPU of one sleep where it can't be told from the evidence: two context switches and a timer.
SLEEP_S = 10e-6
#: The most that one sleep is taken to cost.
DEAREST_SLEEP_S = 12e-6
#: CPU of an ordinary event, where the work on it can't be told.
ORDINARY_PRICE_S = 2e-6
#: A BPF run that ends where events are left out: a few helpers and lookups.
SHORT_RUN_S = 100e-9
#: A change saves at least this share of the total, and this share of what is too much.
LEAST, NEARER = 0.05, 0.25
#: Share of the events that may be lost by chance before a change is taken back.
HARMLESS = 0.001
#: How far below the limit a change aims.
LOAD = 0.7
#: A thread with this share of the context switches is one of those that wake for events.
_WAKES = 0.1


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Cores that the agent itself and its BPF programs use, and what its own part is made of.

    Attributes:
        own: Of its own; ``spinning`` of it while nothing was there to read.
        bpf: Of its BPF programs; None when not measured.
        runs: Runs a second of all its programs.
        events: Events a second that reach it; None when not measured.
        sleeps: Times a second that one of its threads falls asleep.
        sleep_s: CPU of one sleep, in seconds.
        sleepers: Threads that wake for events.
        service_s: Seconds that the reader needs for an event while it is behind; 0 when not known.
    """

    own: float
    spinning: float
    bpf: float | None
    runs: float | None
    events: float | None
    sleeps: float
    sleep_s: float
    sleepers: int
    service_s: float = 0.0

    @property
    def total(self) -> float:
        """All that it costs the machine."""
        return self.own + (self.bpf or 0.0)

    @property
    def spins(self) -> bool:
        """Asking is most of what it does: its sleeps and its work hide behind that."""
        return self.spinning > self.own / 2

    @property
    def sleeping(self) -> float:
        """Cores that go into falling asleep and waking up."""
        return min(self.sleeps * self.sleep_s, self.own - self.spinning)

    @property
    def working(self) -> float:
        """Cores that go into the events themselves; a spinning reader hides them, so some are reckoned."""
        reckoned = (self.events or 0.0) * max(ORDINARY_PRICE_S, self.service_s) if self.spins else 0.0
        return max(self.own - self.spinning - self.sleeping, min(reckoned, self.own))

    def at_rate(self, events: float) -> float:
        """Own CPU at another rate of events: work shrinks with it, sleeps only once they are fewer."""
        if not self.events:
            return self.own
        sleeps = min(self.sleeps, self.sleepers * events)
        return self.spinning + sleeps * self.sleep_s + self.working * events / self.events

    def at_looks(self, per_s: float) -> float:
        """Own CPU when the reader looks so often a second, and rests in between."""
        looks = self.sleepers * per_s
        return (looks if self.spins else min(self.sleeps, looks)) * self.sleep_s + self.working

    def programs_at(self, kept: float) -> float:
        """CPU of its programs when they keep this share of the events: the rest of the runs end early."""
        if not self.bpf:
            return 0.0
        if not self.runs or not self.events:
            return self.bpf
        fruitful = min(self.events, self.runs)
        short_s = min(SHORT_RUN_S, self.bpf / self.runs)
        whole_s = (self.bpf - (self.runs - fruitful) * short_s) / fruitful
        return fruitful * kept * whole_s + (self.runs - fruitful * kept) * short_s


def asked_for(asked: Question[Any]) -> bool:
    """Whether the verdict is about CPU: then a change is planned to save it."""
    return asked.case.verdict is not None and asked.case.verdict.diagnosis == DIAGNOSIS


def spent(asked: Question[Any]) -> Spent:
    """What it uses, from the evidence; refused when its own CPU is unknown."""
    own, system = asked.need("process.cpu_cores"), asked.number("process.cpu_system_cores")
    spinning = min(own, asked.number("work.spin_cores") or 0.0)
    sleeps = asked.number("process.context_switches_per_s") or 0.0
    dear = system / sleeps if system and sleeps else SLEEP_S
    return Spent(
        own=own,
        spinning=spinning,
        bpf=asked.number("cost.cpu_cores"),
        runs=asked.number("cost.runs_per_s"),
        events=_first(asked, "flow.in_per_s", "work.events_per_s"),
        sleeps=sleeps,
        sleep_s=SLEEP_S if spinning > own / 2 else min(dear, DEAREST_SLEEP_S),
        sleepers=_sleepers(asked, sleeps),
        service_s=1 / rate if (rate := asked.number("flow.service_per_s")) else 0.0,
    )


def own_cpu(seen: Spent, after: float, arithmetic: str, *, at_most: bool = False) -> Prediction:
    """The agent's own CPU after a change."""
    return Prediction(
        measure="process.cpu_cores",
        before=seen.own,
        after=after,
        unit="cores",
        at_most=at_most,
        arithmetic=arithmetic,
    )


def programs_cpu(seen: Spent, after: float, arithmetic: str, *, at_most: bool = False) -> Prediction:
    """The CPU of its BPF programs after a change."""
    return Prediction(
        measure="cost.cpu_cores",
        before=seen.bpf,
        after=after,
        unit="cores",
        at_most=at_most,
        arithmetic=arithmetic,
    )


def no_losses(asked: Question[Any]) -> tuple[Prediction, ...]:
    """The promise that saving CPU loses no event, but for one in a thousand; where losses are seen at all."""
    before, arriving = asked.number("flow.dropped_per_s"), asked.number("flow.in_per_s")
    if before is None:
        return ()
    most = before + HARMLESS * (arriving or 0.0)
    return (
        Prediction(
            measure="flow.dropped_per_s",
            before=before,
            after=most,
            unit="events/s",
            at_most=True,
            promised=True,
            arithmetic=f"as now, and {HARMLESS:.1%} of {arriving or 0:,.0f} events/s; else it is undone",
        ),
    )


def say_cores(cores: float) -> str:
    """``0.12 cores``; small ones with two digits that matter."""
    return f"{cores:.2g} cores"


def _first(asked: Question[Any], *paths: str) -> float | None:
    return next((value for path in paths if (value := asked.number(path)) is not None), None)


def _sleepers(asked: Question[Any], sleeps: float) -> int:
    """How many of its threads wake for events: those with a good part of the context switches."""
    seen = asked.case.evidence.get("process")
    rows = seen.tables.get("threads", ()) if seen else ()
    return max(1, sum(_number(row.get("switches_per_s")) >= _WAKES * sleeps > 0 for row in rows))


def _number(value: Scalar) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def worth(saved: float, seen: Spent, cores: float, what: str) -> None:
    """Refuse a change that would not bring the agent a good part nearer to ``cores``: it would be undone."""
    needed = max(LEAST * seen.total, NEARER * (seen.total - cores))
    if saved < needed:
        nothing(
            f"{what} would save {say_cores(max(0.0, saved))} of {say_cores(seen.total)},"
            f" and {say_cores(cores)} are allowed: not worth it"
        )


def fewer_events(seen: Spent, kept: float) -> list[Prediction]:
    """Its own CPU and that of its programs when this share of the events is kept.

    How much of a program's run goes into the event itself is not measured: the programs are promised
    to cost no more than now, and what they cost at best is told.
    """
    rate = (seen.events or 0.0) * kept
    own = own_cpu(
        seen,
        seen.at_rate(rate),
        f"{rate:,.0f} events/s · {_price(seen)} of work + "
        f"{min(seen.sleeps, seen.sleepers * rate):,.0f} sleeps/s · {seen.sleep_s * 1e6:.2g} µs"
        + (f" + {say_cores(seen.spinning)} of spinning" if seen.spinning else ""),
    )
    if seen.bpf is None:
        return [own]
    sums = (
        f"they still run as often; {say_cores(seen.programs_at(kept))} at best, if a run without its event"
        f" costs {SHORT_RUN_S * 1e9:.0f} ns"
    )
    return [own, programs_cpu(seen, seen.bpf, sums, at_most=True)]


def fewer(seen: Spent, cores: float, most: float) -> float:
    """By what factor the events must get fewer for 0.7 of ``cores``; ``most`` where that is out of reach.

    Found by halving: the total falls with the factor, yet not in proportion.
    """
    low, high = 1.0, most
    for _ in range(40):
        middle = (low * high) ** 0.5
        total = seen.at_rate((seen.events or 0.0) / middle) + seen.programs_at(1 / middle)
        low, high = (low, middle) if total <= LOAD * cores else (middle, high)
    return high


def _price(seen: Spent) -> str:
    return f"{seen.working / seen.events * 1e6:.2g} µs" if seen.events else "unknown"
