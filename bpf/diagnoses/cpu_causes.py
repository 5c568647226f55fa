"""The four causes of high CPU: each from its part of the bill, with what speaks for and against it.

Its promise: a cause is named only when it has a part worth naming; what was not looked at lowers
its confidence and is told among what speaks against it.

Not here: the parts (``cpu_bill``), ranking and notes (``cpu_use``). Reasoning: ``docs/high-cpu.md``.
"""

from __future__ import annotations

from bpf.diagnoses import cpu_advice
from bpf.diagnoses.cpu_bill import ORDINARY_PRICE, ORDINARY_RATE, Bill
from bpf.diagnoses.cpu_facts import Facts, Function
from bpf.diagnoses.wording import cores, count, kept, share, span
from engine.values import Cause

#: Below this share of the total a cause is not worth a line.
WORTH_NAMING = 0.15
#: From this share of a profile on a function is where the time goes.
DOMINANT = 0.1
#: From this share of its own CPU on, sleeping and waking up is worth a word.
MUCH_WAKING = 0.3
#: One process makes a flood when it makes this share of the events.
ONE_SOURCE = 0.6
#: Fewer events a second than this are not what a CPU is used for.
HARDLY_ANY = 100.0


def busy_polling(f: Facts, b: Bill) -> Cause | None:
    """The reader asks for events without a pause, or far more often than any arrive."""
    part = _part(b.spinning, b)
    if f.spin is None or part is None:
        return None
    suspected = f.spin_from != "reader-work"
    arrive = f"{count(f.events)} events/s arrive" if f.events is not None else "how many arrive is unknown"
    return Cause(
        name="busy-polling",
        sentence=f"{cores(b.spinning)} goes into asking for events while there are none; {arrive}",
        confidence=0.5 if suspected else 0.95,
        explains=part,
        speaks_for=kept(
            f"{cores(b.spinning)} of {cores(f.own or 0.0)} was used while there was nothing to read",
            f"{count(f.empty_per_s)} waits a second came back with nothing ({share(f.empty_share or 0.0)})"
            if f.empty_per_s
            else "",
            f"{count(f.syscalls_per_event)} system calls per event, most of them {f.top_syscall}"
            if f.syscalls_per_event and f.syscalls_per_event >= 10
            else "",
            f"{f.thread} used {cores(f.thread_cores)}"
            if f.thread_cores is not None and f.thread_cores >= 0.5
            else "",
            _most(f.top),
        ),
        speaks_against=kept(
            "reader-work was not looked at: a worker behind the reader would look the same"
            if suspected
            else "",
            f"{cores(b.work)} goes into events" if b.work >= 0.25 * b.total else "",
        ),
        arithmetic=b.lines["busy-polling"],
        settles="the same with a poll deadline: an idle reader then uses hardly any CPU",
        fix="let the reader wait: a poll with a deadline of some 100 ms, or sleep until the kernel wakes it",
    )


def inefficient(f: Facts, b: Bill) -> Cause | None:
    """The agent's own work on each event is dear."""
    part = _part(b.dear, b)
    if part is None:
        return None
    advice = (*cpu_advice.of_functions(f), *([cpu_advice.RESTS] if _wakes_much(f) else []))
    return Cause(
        name="inefficient-processing",
        sentence=_dear(f, b),
        confidence=_sure(f, profiled=f.top is not None),
        explains=part,
        speaks_for=kept(
            _most(f.top),
            *(f"{one.name} ({one.kind}): {share(one.share)}" for one in _further(f)),
            _waking(f),
            f"{f.syscalls_per_event:.2g} system calls per event, most of them {f.top_syscall}"
            if f.syscalls_per_event and f.syscalls_per_event >= 0.5
            else "",
            f"{cores(b.spinning)} of it was used while there was nothing to read"
            if f.spin is not None and b.spinning < 0.1 * b.total
            else "",
        ),
        speaks_against=kept(
            "the profile is missing: which function it is, is unknown" if f.top is None else "",
            "whether it spins was not looked at" if f.spin is None else "",
            f"{count(f.events)} events/s are many as well"
            if f.events is not None and f.events >= 2 * ORDINARY_RATE
            else "",
            f"{share(f.unresolved)} of the profile has no names"
            if f.unresolved is not None and f.unresolved >= 0.3
            else "",
        ),
        arithmetic=b.lines["inefficient-processing"],
        settles="the flame graph of the profile; the price per event before and after a change of the code",
        fix="; ".join(advice)
        or (f"make {f.top.name} cheaper, or do it for fewer events" if f.top is not None else ""),
    )


def too_many(f: Facts, b: Bill) -> Cause | None:
    """The price of an event is ordinary, and there are very many."""
    part = _part(b.many, b)
    if part is None:
        return None
    rate = f"{count(f.events)} events/s" if f.events is not None else "events at an unknown rate"
    price = f" at {span((b.many) / f.events)} each" if f.events else ""
    many = f.events is not None and f.events >= ORDINARY_RATE
    loud = f.loudest if f.loudest_share and f.loudest_share >= ONE_SOURCE else ""
    return Cause(
        name="too-many-events",
        sentence=f"{rate}{price} take {cores(b.many)}",
        confidence=0.9 if many else 0.7 if (f.events or 0.0) >= ORDINARY_RATE / 2 else 0.4,
        explains=part,
        speaks_for=kept(
            f"{rate}, with {count(ORDINARY_RATE)}/s being much" if many else "",
            f"the price of an event is ordinary: {span(b.price)} of the agent's own CPU"
            if b.price is not None and b.price <= 2 * ORDINARY_PRICE
            else "",
            f"{loud} makes {share(f.loudest_share or 0.0)} of them" if loud else "",
            _waking(f),
        ),
        speaks_against=kept(
            "the rate of events is unknown: event-flow could not tell it" if f.events is None else "",
            f"{count(f.events)} events/s are not many" if f.events is not None and not many else "",
            f"each costs {span(b.price)}: it is dear as well"
            if b.price is not None and b.price > 2 * ORDINARY_PRICE
            else "",
        ),
        arithmetic=b.lines["too-many-events"],
        settles="whether all of these events are wanted: who makes them, and what becomes of them",
        fix=f"leave {loud} out, if its events are not wanted"
        if loud
        else "filter in the BPF program, count there what needs no event each, or keep one event in N",
    )


def hot_program(f: Facts, b: Bill) -> Cause | None:
    """A BPF program is dear, or runs far more often than it makes events."""
    part = _part(b.hot, b)
    hottest = f.hottest
    if part is None or hottest is None:
        return None
    fruitful = min(1.0, f.events / hottest.runs) if f.events is not None and hottest.runs else None
    dear = hottest.price >= ORDINARY_PRICE
    unsure = f.events is None and (f.events_at_most or ORDINARY_RATE) >= ORDINARY_RATE and not dear
    wakes = _wakes_much(f) and not dear  # waking the reader costs time in the program as well
    optional = any(name[:15] == hottest.name[:15] for name in f.optional)
    return Cause(
        name="hot-program",
        sentence=f"the BPF program {hottest.name} takes {cores(hottest.cores)}"
        + (f": {count(hottest.runs)} runs/s of {span(hottest.price)}" if hottest.runs else ""),
        confidence=0.5 if unsure else 0.95 if (dear or hottest.runs >= ORDINARY_RATE) and not wakes else 0.6,
        explains=part,
        speaks_for=kept(
            f"{hottest.name} takes {share(hottest.cores / b.total)} of all that the agent costs",
            f"a run takes {span(hottest.price)}, where {span(ORDINARY_PRICE)} is much"
            if hottest.price > ORDINARY_PRICE
            else "",
            f"it runs {count(hottest.runs)} times a second for {count(f.events)} events"
            if f.events is not None and hottest.runs > 2 * f.events
            else "",
            f"the agent's own CPU is {cores(f.own or 0.0)}: none of this shows there",
        ),
        speaks_against=kept(
            f"{cores(b.work)} goes into the agent's own work" if b.work >= 0.25 * b.total else "",
            "how many events it makes is unknown" if f.events is None else "",
            "it wakes the reader for many of its events, which costs it time: let the reader rest first"
            if wakes
            else "",
        ),
        arithmetic=b.lines["hot-program"],
        settles="the program's time per run (bpftool prog profile), and what it does before its first test",
        fix="; ".join(
            kept(
                "the profile names it as optional: it can be detached" if optional else "",
                *cpu_advice.of_programs(f, fruitful),
            )
        )
        or "test first what it is not interested in, and attach it where fewer pass",
    )


def _part(mine: float, b: Bill) -> float | None:
    """The share of the total, when worth naming."""
    part = mine / b.total if b.total else 0.0
    return part if part >= WORTH_NAMING else None


def _sure(f: Facts, *, profiled: bool) -> float:
    if f.events is None:
        return 0.5 if profiled else 0.4
    if f.spin is None:
        return 0.6
    return 0.9 if profiled else 0.7


def _dear(f: Facts, b: Bill) -> str:
    """The sentence: the price, and the function it goes into."""
    where = f"; {share(f.top.share)} of it in {f.top.name}" if f.top and f.top.share >= DOMINANT else ""
    if f.events is None or b.price is None:
        return f"its own work takes {cores(b.work)}{where}"
    if f.events < HARDLY_ANY:
        return f"{cores(b.work)} is used though only {count(f.events)} events/s arrive{where}"
    return (
        f"{count(f.events)} events/s of {span(b.price)} work each, "
        f"where {span(ORDINARY_PRICE)} is much, take {cores(b.work)}{where}"
    )


def _wakes_much(f: Facts) -> bool:
    return bool(f.own) and f.waking >= MUCH_WAKING * (f.own or 0.0)


def _waking(f: Facts) -> str:
    """What falling asleep and waking up takes, where that is much."""
    if not _wakes_much(f) or f.sleeps is None:
        return ""
    return f"{cores(f.waking)} goes into {count(f.sleeps)} sleeps and wake-ups a second"


def _most(top: Function | None) -> str:
    if top is None or top.share < DOMINANT:
        return ""
    place = {"kernel": " (kernel)", "bpf": " (BPF)"}.get(top.kind, "")
    return f"{share(top.share)} of the profile in {top.name}{place}"


def _further(f: Facts) -> tuple[Function, ...]:
    """The functions after the first one."""
    name = f.top.name if f.top else ""
    return tuple(one for one in f.functions if one.name != name and one.share >= DOMINANT)[:3]
