"""Causes of lost events that lie in time and place: behind the ring, a stuck reader, slow polls, bursts.

Its promise: a cause is named only when its own condition is met, and what speaks against it is
told along. Each function answers None, or a cause with the arithmetic that a person can redo.

Not here: what limits a reader that works all the time (``loss_limits``), ranking (``event_loss``).
Reasoning: ``docs/event-loss.md``.
"""

from __future__ import annotations

from bpf.diagnoses.loss_facts import NO_WORK, STARVED, WHOLE_CORE, Facts
from bpf.diagnoses.wording import cores, count, kept, octets, share, span
from engine.values import Cause

#: Share of the time asleep (or held up) from which the rhythm decides, not the work.
MOSTLY = 0.4


def behind_the_ring(f: Facts) -> Cause | None:
    """The agent's own queue or exporter loses what its reader has taken."""
    if not f.dropped_behind:
        return None
    calm = (f.peak or 0.0) < 0.5
    stage, settles = _stage(f)
    delivered = None if f.taken is None else max(0.0, f.taken - f.dropped_behind)
    return Cause(
        name="loss-behind-the-ring",
        sentence=f"{stage} loses them after its reader has taken them"
        + (f"; the ring was at most {share(f.peak)} full" if f.peak is not None else ""),
        confidence=0.95 if calm else 0.8,
        explains=f.dropped_behind / f.dropped if f.dropped else 1.0,
        speaks_for=kept(
            f"the agent counts {count(f.dropped_behind)} events/s lost behind the ring",
            f"of them {count(f.dropped_queue)}/s in its own queue" if f.dropped_queue else "",
            f"of them {count(f.dropped_exporter)}/s at its exporter" if f.dropped_exporter else "",
            f"the ring peaked at {share(f.peak)}" if f.peak is not None and calm else "",
        ),
        speaks_against=kept(f"the ring was full for {share(f.full)} of the time" if f.full else ""),
        arithmetic=kept(
            f"taken from the ring {count(f.taken)}/s − lost behind it {count(f.dropped_behind)}/s "
            f"= {count(delivered)}/s delivered"
            if f.taken is not None and delivered is not None
            else "",
            "the events arrive evenly: who takes the output is too slow on average"
            if f.pattern == "steady" and delivered
            else "",
            f"each burst ({span(f.spacing)} apart) loses {count(f.dropped_behind * f.spacing)} events there"
            if f.pattern == "bursts" and f.spacing
            else "",
        ),
        settles=f"{settles}; a bigger ring can't help",
    )


def _stage(f: Facts) -> tuple[str, str]:
    """Who loses them, and what to look at."""
    if f.dropped_queue and f.dropped_queue >= (f.dropped_exporter or 0.0):
        return "the agent's own queue", "see what the exporter writes to, and the size of the queue"
    if f.dropped_exporter:
        return "the agent's exporter", "see what it writes to, and its own limits"
    return "the agent's own queue or exporter", "see what the exporter writes to, and the agent's queue size"


def stuck(f: Facts) -> Cause | None:
    """The reader does not take anything at all."""
    if f.idle_in_loss:
        return _idle(f)
    if f.moved is not False or not f.ring_full:
        return None
    return Cause(
        name="reader-stuck",
        sentence=f"the reader took nothing for the whole {span(f.window_s)} while the ring stood full",
        confidence=0.95 if f.window_s >= 3 and not f.squeezed else 0.6,
        explains=f.ring_share,
        speaks_for=kept(
            f"the consumer position did not move in {span(f.window_s)}",
            f"the ring was full for {share(f.full or 0.0)} of the time",
            f"its busiest thread used {cores(f.thread)}" if f.thread is not None else "",
        ),
        speaks_against=kept(
            "a window this short may lie within one sleep of a slow poll" if f.window_s < 3 else "",
            f"its quota held it back in {share(f.throttled or 0.0)} of the periods" if f.squeezed else "",
        ),
        settles="see where the reader waits: the stacks of its threads, /proc/PID/task/*/wchan",
    )


def _idle(f: Facts) -> Cause:
    """The same where positions can't be seen: a process that uses no CPU reads nothing."""
    return Cause(
        name="reader-stuck",
        sentence=f"the agent used no CPU for the whole {span(f.window_s)} while its buffer lost events: "
        "its reader takes nothing",
        confidence=0.85 if f.window_s >= 3 and not f.squeezed else 0.5,
        explains=f.ring_share,
        speaks_for=kept(
            f"the process used less than {cores(NO_WORK)}",
            f"{count(f.dropped_ring)} events/s are lost at its buffer" if f.dropped_ring else "",
        ),
        speaks_against=kept(
            "the reader's position can't be seen: this follows from its CPU alone",
            "a window this short may lie within one sleep of a slow poll" if f.window_s < 3 else "",
            f"its quota held it back in {share(f.throttled or 0.0)} of the periods" if f.squeezed else "",
        ),
        settles="whether it is stopped (state T in /proc/PID/stat); where it waits: /proc/PID/task/*/wchan",
    )


def slow_poll(f: Facts) -> Cause | None:
    """The reader sleeps between polls for longer than the ring lasts."""
    if not f.ring_loses or f.poll is None or f.squeezed or f.moved is False:
        return None
    drains = f.asleep >= MOSTLY and (f.to_zero or 0.0) >= 0.6
    by_batch = f.held_up >= MOSTLY and _lazy(f)
    if not drains and not by_batch:
        return None
    rate = f.burst or f.arriving
    arrives = rate * f.poll * f.record if rate and f.record else None
    if arrives is not None and f.ring and arrives < 0.8 * f.ring and not by_batch:
        return None
    busy = f.thread is not None and f.thread >= WHOLE_CORE
    return Cause(
        name="reader-polls-too-slowly",
        sentence=f"the reader stands still for {span(f.poll)} at a time while events arrive"
        + (f"; the ring of {octets(f.ring)} does not last that long" if f.ring and not by_batch else ""),
        confidence=(0.9 if drains else 0.6) - (0.3 if busy else 0.0) - (0.1 if f.thread is None else 0.0),
        explains=f.ring_share,
        speaks_for=kept(
            f"staircase: it stood still for {span(f.poll)} (median) while data waited",
            f"{share(f.to_zero)} of its drains emptied the ring" if f.to_zero is not None and drains else "",
            f"its busiest thread used only {cores(f.thread)}" if f.thread is not None and not busy else "",
        ),
        speaks_against=kept(
            f"its busiest thread used {cores(f.thread)}" if busy and f.thread is not None else "",
            "it does not empty the ring when it wakes: its batch is small as well" if by_batch else "",
        ),
        arithmetic=_poll_arithmetic(f, rate, arrives),
        settles="the agent's poll interval and batch setting",
    )


def _poll_arithmetic(f: Facts, rate: float | None, arrives: float | None) -> tuple[str, ...]:
    if rate is None or arrives is None or f.ring is None or f.record is None or f.poll is None:
        return ("without a record size the bytes that arrive within one poll can't be told",)
    allowed = 0.5 * f.ring / (rate * f.record)
    return (
        f"arriving within one poll: λ·P·r = {count(rate)}/s × {span(f.poll)} × {count(f.record)} B "
        f"= {octets(arrives)}",
        f"the ring holds S = {octets(f.ring)}: {share(arrives / f.ring)} of it would be needed",
        f"half of the ring lasts P' = 0.5·S / (λ·r) = {span(allowed)}",
    )


def burst(f: Facts) -> Cause | None:
    """Bursts overrun a ring that the reader would empty in time."""
    if not f.ring_loses or f.pattern != "bursts" or f.moved is False:
        return None
    if f.service and f.arriving and f.arriving >= f.service and f.service_is_limit:
        return None
    asleep = f.asleep >= MOSTLY
    return Cause(
        name="burst-exceeds-buffer",
        sentence="bursts"
        + (f" of {count(f.burst)} events/s for {span(f.burst_s)}" if f.burst and f.burst_s else "")
        + f" overrun the ring of {octets(f.ring or 0.0)}; over the whole time the reader keeps up",
        confidence=0.9
        - (0.35 if asleep else 0.0)
        - (0.3 if f.squeezed else 0.0)
        - (0.15 if (f.full or 0) > 0.5 else 0.0),
        explains=f.ring_share,
        speaks_for=kept(
            f"the ring was full for only {share(f.full)} of the time"
            if f.full is not None and f.full < 0.5
            else "",
            f"arriving on average {count(f.arriving)}/s, the reader takes {count(f.service)}/s"
            if f.arriving and f.service and f.arriving < f.service
            else "",
            f"a burst every {span(f.spacing)}" if f.spacing else "",
        ),
        speaks_against=kept(
            f"the reader slept for {share(f.asleep)} of the time while data waited" if asleep else "",
            f"the ring was full for {share(f.full)} of the time" if f.full and f.full > 0.5 else "",
            f"its quota held it back in {share(f.throttled or 0.0)} of the periods" if f.squeezed else "",
        ),
        arithmetic=_burst_arithmetic(f),
        settles="look for at least three times the spacing of the bursts",
    )


def _burst_arithmetic(f: Facts) -> tuple[str, ...]:
    lines: list[str] = []
    if f.burst and f.service and f.record and f.ring and f.burst > f.service:
        grows = (f.burst - f.service) * f.record
        lines += [
            f"a burst fills the ring at (λ − μ)·r = ({count(f.burst)} − {count(f.service)})/s × "
            f"{count(f.record)} B = {octets(grows)}/s",
            f"the ring of {octets(f.ring)} lasts {span(f.ring / grows)}"
            + (f"; a burst lasts {span(f.burst_s)}" if f.burst_s else ""),
        ]
    if f.needed:
        lines.append(
            f"the worst burst needed {octets(f.needed)}; with twice that to spare: {octets(2 * f.needed)}"
        )
    return tuple(lines)


def _lazy(f: Facts) -> bool:
    """Nothing but the reader's own choice keeps it from working."""
    return f.thread is not None and f.thread < 0.6 and (f.waiting or 0.0) < STARVED and not f.squeezed
