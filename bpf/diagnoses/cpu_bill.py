"""Who pays what of an agent's CPU: the total, split over four causes.

The total is its own CPU and that of its BPF programs. Its own falls into what it used while
there was nothing to read (spinning) and the rest (work). Work and each program are a rate times
a price; whichever of the two is further beyond what is ordinary is what the cost comes from, in
proportion to the logarithms of both excesses. Ordinary are 50,000 a second at 2 µs each:
together a tenth of a core.

Its promise: the parts add up to the total, and every one carries its line of arithmetic.

Not here: the sentences and what speaks against (``cpu_causes``).
"""

from __future__ import annotations

import math

import msgspec

from bpf.diagnoses.cpu_facts import Facts, Program
from bpf.diagnoses.wording import cores, count, span

#: Events (or runs) a second, and seconds of CPU for each, up to which neither stands out.
ORDINARY_RATE = 50_000.0
ORDINARY_PRICE = 2e-6


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The total in cores, what each cause has of it, and the reckoning by cause."""

    total: float
    spinning: float
    work: float
    price: float | None
    many: float
    dear: float
    hot: float
    lines: dict[str, tuple[str, ...]]


class Split(msgspec.Struct, frozen=True):
    """How much of rate × price lies in the rate, how much in the price; 0 to 1, or None: in neither."""

    rate: float
    price: float

    @property
    def ordinary(self) -> bool:
        """Neither stands out."""
        return not self.rate and not self.price


def split(rate: float, price: float) -> Split:
    """By the logarithms of how far each is beyond the ordinary."""
    over = math.log(max(1.0, rate / ORDINARY_RATE)), math.log(max(1.0, price / ORDINARY_PRICE))
    whole = sum(over)
    return Split(over[0] / whole, over[1] / whole) if whole else Split(0.0, 0.0)


def bill(f: Facts) -> Bill:
    """Split the total of an agent whose own CPU is known."""
    own, total = f.own or 0.0, f.total or 0.0
    spinning = f.spin or 0.0
    work = max(0.0, own - spinning)
    price = work / f.events if f.events else None
    many, dear, work_lines = _work(f, work, price)
    hot, many_runs, run_lines = _runs(f)
    spoken = [f"CPU of its own {cores(own)}"]
    if f.bpf is not None:
        spoken.append(f"its BPF programs {cores(f.bpf)}, on the account of whoever triggers them")
    sums = " + ".join(spoken) + f" = {cores(total)}"
    return Bill(
        total=total,
        spinning=spinning,
        work=work,
        price=price,
        many=many + many_runs,
        dear=dear,
        hot=hot,
        lines={
            "busy-polling": (sums, f"{cores(spinning)} of its own while there was nothing to read"),
            "inefficient-processing": (sums, *work_lines),
            "too-many-events": (sums, *work_lines, *run_lines),
            "hot-program": (sums, *run_lines),
        },
    )


def _work(f: Facts, work: float, price: float | None) -> tuple[float, float, tuple[str, ...]]:
    """Cores of the work that lie in the number of events, in the price of each, and the lines."""
    if f.events is None:
        few = f.events_at_most is not None and f.events_at_most < ORDINARY_RATE
        return (0.0, work, ()) if few else (work / 2, work / 2, ())
    if price is None:
        return 0.0, work, ("no event arrived, so none of it was work on events",)
    found = split(f.events, price)
    lines = (
        f"work: {count(f.events)} events/s × {span(price)} = {cores(work)}",
        f"ordinary are {count(ORDINARY_RATE)}/s at {span(ORDINARY_PRICE)}: "
        f"{f.events / ORDINARY_RATE:.2g} times the rate, {price / ORDINARY_PRICE:.2g} times the price",
    )
    if found.ordinary:
        return work, 0.0, lines
    return work * found.rate, work * found.price, lines


def _runs(f: Facts) -> tuple[float, float, tuple[str, ...]]:
    """Cores of the programs that lie in the programs, in the number of events, and the lines."""
    hot = many = 0.0
    lines = []
    for program in f.programs:
        lies = split(program.runs, program.price)
        fruitful = _fruitful(f, program)
        in_rate = 1.0 if lies.ordinary else lies.rate
        many += program.cores * in_rate * fruitful
        hot += program.cores * (1.0 - in_rate * fruitful)
        told = (
            f"{count(program.runs)} runs/s × {span(program.price)} = {cores(program.cores)}"
            if program.runs
            else f"{cores(program.cores)}, by the samples of the profile"
        )
        lines.append(f"{program.name}: {told}")
    unnamed = max(0.0, (f.bpf or 0.0) - sum(program.cores for program in f.programs))
    return hot + unnamed, many, tuple(lines[:4])


def _fruitful(f: Facts, program: Program) -> float:
    """The share of a program's runs that made an event: one at most each; half the bound when unknown."""
    if not program.runs:
        return 0.0
    if f.events is None:
        return 0.5 * min(1.0, (f.events_at_most or 0.0) / program.runs)
    return min(1.0, f.events / program.runs)
