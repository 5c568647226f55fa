"""Give the ring room for the bursts that overflow it.

S' ≥ 2 · burst_bytes, up to a power of two of pages: the ring that would have held the
largest burst seen, twice. A larger ring only delays the loss when the reader is slower
than the events on average, so then the plan is empty. Where the fill can't be seen (a perf
buffer) S' = 4 · S, and half of the loss must go.

Touches: one setting, and a reload. Memory: S' bytes, taken at once; the kernel maps the
ring twice in virtual memory but holds it once. From kernel 5.11 it is charged to the
agent's memory cgroup, before that to RLIMIT_MEMLOCK.
Source: Linux Documentation/bpf/ringbuf.rst; kernel/bpf/ringbuf.c.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from engine.values import Plan, Prediction, Setting
from remediations.knob_change import KnobChange
from remediations.knobs.amounts import buffers, say_buffers
from remediations.knobs.backend import where
from remediations.knobs.units import round_size, say_bytes, say_seconds
from remediations.options import says
from remediations.planning import FULL_CORE, KnobPlanner, Question, change, nothing, plan

POWERS = "power-of-two-pages"  # the kernel takes nothing else for a ring
#: Of a buffer whose fill can't be seen: how many times as large, and what share of the loss may stay.
BLIND, MAY_STAY = 4, 0.5


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float, says("bytes", "The most memory one ring may take.")] = 64 << 20
    headroom: Annotated[float, says("factor", "How many times the largest burst seen must fit.")] = 2.0
    factor: Annotated[float | None, says("factor", "The most one application multiplies the size by.")] = None


class Need(msgspec.Struct, frozen=True):
    """The sizes in bytes: in force, what the largest burst would have needed, planned, the most allowed."""

    size: float
    burst: float
    planned: float
    most: float


class RingBufferPlanner(KnobPlanner[Options]):
    """Decides on a size from the bursts seen."""

    name = "ring-buffer-size"
    summary = "Give the ring buffer room for the bursts that overflow it."
    knob = "ring-buffer-size"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """From the largest burst to the next size; refused where a bigger ring would not help."""
        _refuse_overload(asked)
        if _is_unseen(asked):
            return _unseen(asked)
        need, after = _written(asked, _need(asked))
        memory, limit = _memory(asked, need)
        why = (
            f"the largest burst seen needed {say_bytes(need.burst)}, the ring holds {say_bytes(need.size)};"
            f" {say_bytes(need.planned)} holds it {need.planned / need.burst:.1f} times"
            f"{_holds_until(asked, need)}"
        )
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"ring {say_bytes(need.size)} → {say_bytes(need.planned)}: {why}",
            _predictions(asked, need),
            memory_bytes=memory,
            memory_limit=limit,
            warnings=_warnings(asked, need),
        )


class RingBufferSize(KnobChange):
    """Remediation ``ring-buffer-size``."""

    planner = RingBufferPlanner()


def _is_unseen(asked: Question[Options]) -> bool:
    """Whether the buffer's positions can't be seen, so neither its bursts."""
    return asked.number("flow.burst_bytes") is None and asked.number("flow.ring_bytes") is None


def _unseen(asked: Question[Options]) -> Plan:
    """A perf buffer that is counted to lose while its reader has CPU to spare: larger, and then looked at."""
    lost = asked.number("flow.dropped_ring_per_s")
    if not lost:
        asked.need("flow.burst_bytes")
    asked.need("process.busiest_thread_cores")
    size, options = asked.current_number(), asked.options
    most = min(options.at_most, asked.bounds[1], (options.factor or math.inf) * size)
    need, after = _written(asked, Need(size, size, min(BLIND * size, most), most))
    memory, limit = _memory(asked, need)
    why = (
        f"how full the buffer runs can't be seen, and it loses {lost:,.0f} events/s while its reader has CPU"
        f" to spare; {say_bytes(need.planned)} holds {need.planned / size:g} times as much"
    )
    promise = Prediction(
        measure="flow.dropped_per_s",
        before=asked.number("flow.dropped_per_s"),
        after=MAY_STAY * (asked.number("flow.dropped_per_s") or 0.0),
        unit="events/s",
        at_most=True,
        arithmetic=f"not reckoned: less than half of the loss gone is not worth {say_bytes(memory)}",
    )
    return plan(
        RingBufferPlanner.name,
        asked,
        (change(asked, after, why),),
        f"buffer {say_bytes(size)} → {say_bytes(need.planned)}: {why}",
        (promise,),
        memory_bytes=memory,
        memory_limit=limit,
    )


def _refuse_overload(asked: Question[Options]) -> None:
    rate, service = asked.number("flow.in_per_s"), asked.number("flow.service_per_s")
    busiest = asked.number("process.busiest_thread_cores")
    if asked.case.text("flow.pattern") == "sustained" or (rate and service and rate > service):
        numbers = f": {rate:,.0f} events/s arrive, {service:,.0f}/s are read" if rate and service else ""
        nothing(f"the overload is sustained{numbers}; a bigger ring only delays the loss")
    if busiest is not None and busiest >= FULL_CORE:
        nothing(
            f"the reader uses {busiest:.2f} of one core: it must get less or do it faster, not wait longer"
        )
    ring, behind = asked.number("flow.dropped_ring_per_s"), asked.number("flow.dropped_behind_per_s")
    if ring == 0 and behind:
        nothing(f"nothing is lost in the ring; {behind:,.0f} events/s are lost behind it")


def _need(asked: Question[Options]) -> Need:
    page, options = asked.case.host.page_bytes, asked.options
    burst = asked.need("flow.burst_bytes")
    if burst <= 0:
        nothing("no burst was seen to fill the ring in this window")
    size = asked.number("flow.ring_bytes") or asked.current_number()
    wanted = round_size(options.headroom * burst, POWERS, page_bytes=page)
    if asked.number("flow.dropped_ring_per_s"):
        wanted = max(wanted, round_size(2 * size, POWERS, page_bytes=page))  # it loses: one rung up at least
    most = min(options.at_most, asked.bounds[1], (options.factor or math.inf) * size)
    planned = min(wanted, round_size(min(most, 1 << 40), POWERS, page_bytes=page, down=True))
    if planned <= size:
        why = f"at most {say_bytes(most)} is allowed" if wanted > size else "it loses nothing"
        nothing(f"the ring is {say_bytes(size)} and would need {say_bytes(wanted)}; {why}")
    return Need(size, burst, planned, most)


def _written(asked: Question[Options], need: Need) -> tuple[Need, Setting]:
    """The need as the knob can be set to it, and the value; never beyond the most that is allowed."""
    page = asked.case.host.page_bytes
    after, size = asked.fit(need.planned, "up")
    if round_size(size, POWERS, page_bytes=page) > need.most:
        after, size = asked.fit(need.planned, "down")
    planned = float(round_size(size, POWERS, page_bytes=page))
    if planned <= need.size:
        nothing(
            f"the ring is {say_bytes(need.size)}, and {asked.say(after)} is the most that"
            f" {where(asked.knob)} can be set to"
        )
    return msgspec.structs.replace(need, planned=planned), after


def _memory(asked: Question[Options], need: Need) -> tuple[int, str]:
    """What it adds, and the limit it falls under; refused when the old and the new ring do not fit."""
    copies = buffers(asked.knob, asked.case.host)
    added = int(need.planned - need.size) * copies
    limit, left = asked.number("process.memory_limit_bytes"), asked.number("process.memory_left_bytes")
    times = say_buffers(asked.knob, asked.case.host)
    whole = f" = {say_bytes(need.planned * copies)}" if copies > 1 else ""
    held = f"{say_bytes(need.planned)}{times}{whole} of memory"
    if not _is_unseen(asked):  # a perf buffer is mapped once
        held += f", mapped twice ({say_bytes(2 * need.planned * copies)} virtual)"
    if left is None:
        return added, f"{held}; no memory limit of the agent is known"
    of = f" of {say_bytes(limit)}" if limit else ""
    if need.planned * copies > left:  # during a reload both rings exist
        nothing(
            f"a ring of {say_bytes(need.planned)}{times} does not fit: the agent's memory limit{of}"
            f" leaves {say_bytes(left)}, and the old ring stays until the new one is filled"
        )
    return added, f"{held}; the agent's cgroup limit{of}, {say_bytes(left)} left"


def _holds_until(asked: Question[Options], need: Need) -> str:
    burst_rate, service = asked.number("flow.burst_in_per_s"), asked.number("flow.service_per_s")
    record = asked.number("flow.record_bytes")
    if not (burst_rate and service and record) or burst_rate <= service:
        return ""
    seconds = need.planned / ((burst_rate - service) * record)
    return (
        f", and lasts {say_seconds(seconds)} of a burst: {say_bytes(need.planned)} /"
        f" (({burst_rate:,.0f} − {service:,.0f})/s · {record:g} bytes)"
    )


def _predictions(asked: Question[Options], need: Need) -> tuple[Prediction, ...]:
    before = asked.number("flow.dropped_ring_per_s") or asked.number("flow.dropped_per_s") or 0.0
    behind = asked.number("flow.dropped_behind_per_s") or 0.0
    short = max(0.0, need.burst - need.planned)
    left = before * short / max(need.burst - need.size, 1.0)
    burst, size = say_bytes(need.burst), say_bytes(need.planned)
    lost = f"a burst of {burst} in {size}: " + (f"{say_bytes(short)} too much" if short else "all fits")
    return (
        Prediction(
            measure="flow.dropped_per_s",
            before=asked.number("flow.dropped_per_s"),
            after=left + behind,
            unit="events/s",
            at_most=True,
            arithmetic=lost + (f"; {behind:,.0f}/s are lost behind the ring" if behind else ""),
        ),
        Prediction(
            measure="flow.fill_peak",
            before=asked.number("flow.fill_peak"),
            after=min(1.0, need.burst / need.planned),
            unit="share",
            at_most=True,
            arithmetic=f"{burst} / {size}",
        ),
    )


def _warnings(asked: Question[Options], need: Need) -> tuple[str, ...]:
    said = []
    if need.planned < need.burst:
        said.append(f"{say_bytes(need.planned)} is the most allowed and too small for the largest burst seen")
    elif need.planned < 2 * need.burst:
        said.append("little room beyond the largest burst seen")
    configured, page = asked.current, asked.case.host.page_bytes
    if (
        isinstance(configured, (int, float))
        and math.isfinite(configured)
        and round_size(configured, POWERS, page_bytes=page) != round_size(need.size, POWERS, page_bytes=page)
    ):
        said.append(
            f"{say_bytes(need.size)} is in force, but {say_bytes(configured)} is set: was a reload forgotten?"
        )
    return tuple(said)
