"""Let the reader look more often, so that the ring does not fill between two looks.

P' ≤ 0.5 · S / (λ_peak · r): between two looks at most half the ring fills, even at the
peak rate. More wakeups cost CPU, so a reader that is at its limit already is not helped.

After a verdict about CPU it goes the other way: a reader that asks all the time, or is woken for
nearly every event, rests between two looks, for no longer than half the ring takes to fill.

Touches: one setting, and a reload where the agent needs one.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from engine.values import Plan, Prediction
from remediations import cpu_price
from remediations.knob_change import KnobChange
from remediations.knobs.units import say_bytes, say_seconds
from remediations.options import says
from remediations.planning import FULL_CORE, KnobPlanner, Question, change, nothing, plan

#: A rest is long enough when its looks take this share of the cores that are allowed, and never shorter.
FEW, SHORTEST_S = 0.05, 0.002


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    floor: Annotated[float, says("s", "The shortest interval.")] = 0.001
    fill: Annotated[float, says("share", "Share of the ring that may fill between two looks.")] = 0.5
    factor: Annotated[float | None, says("factor", "The most one application divides the interval by.")] = (
        None
    )
    rest: Annotated[
        float, says("s", "Against high CPU: how long the reader rests between two looks at most.")
    ] = 0.01
    cores: Annotated[float, says("cores", "Against high CPU: what the agent and its programs may use.")] = 0.1


class PollIntervalPlanner(KnobPlanner[Options]):
    """Decides on an interval from the peak rate and the ring's size."""

    name = "poll-interval"
    summary = "Let the reader look more often than the ring fills, or less often than all the time."
    knob = "poll-interval"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """From the peak rate to the interval in which half the ring fills; or to a rest, to save CPU."""
        if cpu_price.asked_for(asked):
            return self._rest(asked)
        ring, record = asked.need("flow.ring_bytes"), asked.need("flow.record_bytes")
        peak = max(asked.need("flow.in_per_s"), asked.number("flow.burst_in_per_s") or 0.0)
        now_s = _interval(asked)
        busiest = asked.number("process.busiest_thread_cores")
        if busiest is not None and busiest >= FULL_CORE:
            nothing(
                f"the reader uses {busiest:.2f} of one core: it does not oversleep, it has too much to do"
            )
        if peak <= 0:
            nothing("no events arrive")
        after, after_s = self._next(asked, asked.options.fill * ring / (peak * record), now_s)
        wakeups = f"{1 / now_s:,.0f} → {1 / after_s:,.0f} looks a second"
        fill_now, fill = peak * now_s * record / ring, peak * after_s * record / ring
        why = (
            f"at {peak:,.0f} events/s of {record:g} bytes a ring of {say_bytes(ring)} fills to {fill_now:.0%}"
            f" in {say_seconds(now_s)}; in {say_seconds(after_s)} to {fill:.0%}"
        )
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"poll every {say_seconds(after_s)} instead of {say_seconds(now_s)}: {why}",
            _predictions(asked, fill, f"{peak:,.0f}/s · {after_s:g} s · {record:g} / {ring:,.0f} bytes"),
            warnings=(f"more wakeups cost CPU: {wakeups}",),
        )

    def _rest(self, asked: Question[Options]) -> Plan:
        """A rest between two looks, where asking or waking up is what costs."""
        seen = cpu_price.spent(asked)
        now_s = asked.current if isinstance(asked.current, (int, float)) else 0.0
        ring, record = asked.number("flow.ring_bytes"), asked.number("flow.record_bytes")
        peak = max(asked.number("flow.in_per_s") or 0.0, asked.number("flow.burst_in_per_s") or 0.0)
        lasts_s = asked.options.fill * ring / (peak * record) if ring and record and peak else math.inf
        enough_s = seen.sleepers * seen.sleep_s / (FEW * asked.options.cores)
        rest_s = min(max(enough_s, SHORTEST_S), asked.options.rest, lasts_s, asked.bounds[1])
        after, after_s = asked.fit(_rounded(rest_s), "down")
        if after_s < asked.options.floor or not isinstance(after, (int, float, str)):
            nothing(f"the ring fills by half in {say_seconds(lasts_s)}: there is no time to rest")
        if now_s >= after_s:
            nothing(f"the reader rests for {say_seconds(now_s)} between two looks already")
        own = seen.at_looks(1 / after_s)
        cpu_price.worth(
            seen.own - own, seen, asked.options.cores, f"a rest of {say_seconds(after_s)} between two looks"
        )
        said = f"{seen.sleepers * min(1 / after_s, seen.sleeps or math.inf):,.0f} sleeps/s"
        why = f"{_wasted(seen)}; one look in {say_seconds(after_s)} is enough"
        sums = (
            f"{said} · {say_seconds(seen.sleep_s)} + {cpu_price.say_cores(seen.working)} of work"
            " on the events"
        )
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"poll every {say_seconds(after_s)} instead of "
            f"{f'every {say_seconds(now_s)}' if now_s else 'all the time'}: {why}",
            (
                cpu_price.own_cpu(seen, own, sums, at_most=True),
                *_fill(asked, peak * after_s),
                *cpu_price.no_losses(asked),
            ),
            warnings=_later(after_s, lasts_s),
        )

    def _next(
        self, asked: Question[Options], wanted_s: float, now_s: float
    ) -> tuple[int | float | str, float]:
        floor = max(asked.options.floor, asked.bounds[0])
        slowest_step = now_s / asked.options.factor if asked.options.factor else 0.0
        after, after_s = asked.fit(max(_rounded(wanted_s), floor, slowest_step), "down")
        if after_s >= now_s or after_s < floor * 0.999 or not isinstance(after, (int, float, str)):
            nothing(
                f"the interval is {say_seconds(now_s)}; {say_seconds(wanted_s)} would be needed and"
                f" {say_seconds(max(floor, after_s))} is the shortest possible"
                if wanted_s < now_s
                else f"the interval of {say_seconds(now_s)} is short enough: {say_seconds(wanted_s)} would do"
            )
        return after, after_s


class PollInterval(KnobChange):
    """Remediation ``poll-interval``."""

    planner = PollIntervalPlanner()


def _rounded(seconds: float) -> float:
    """Down to two digits, as people write intervals."""
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return math.floor(seconds / step + 1e-9) * step


def _interval(asked: Question[Options]) -> float:
    """As configured; where that is unset or zero (sleep until woken), as measured."""
    current = asked.current
    if isinstance(current, (int, float)) and current > 0:
        return float(current)
    return asked.need("flow.poll_interval_s")


def _fill(asked: Question[Options], waiting: float) -> tuple[Prediction, ...]:
    """That the ring keeps its reserve while the reader rests, where its size is known."""
    ring, record = asked.number("flow.ring_bytes"), asked.number("flow.record_bytes")
    if not ring or not record:
        return ()
    return (
        Prediction(
            measure="flow.fill_peak",
            before=asked.number("flow.fill_peak"),
            after=asked.options.fill,
            unit="share",
            at_most=True,
            arithmetic=f"{waiting:,.0f} events of {record:g} bytes fill {waiting * record / ring:.1%} of"
            f" {say_bytes(ring)}; the rest is for a reader that comes late",
        ),
    )


def _wasted(seen: cpu_price.Spent) -> str:
    """What goes into asking and into waking up."""
    parts = [
        f"{cpu_price.say_cores(seen.spinning)} go into asking while nothing is there"
        if seen.spinning >= 0.1 * seen.own
        else "",
        f"{cpu_price.say_cores(seen.sleeping)} go into {seen.sleeps:,.0f} sleeps and wake-ups a second"
        if seen.sleeping >= 0.1 * seen.own
        else "",
    ]
    return " and ".join(filter(None, parts))


def _later(rest_s: float, lasts_s: float) -> tuple[str, ...]:
    said = [f"an event waits up to {say_seconds(rest_s)} before it is read"]
    if math.isinf(lasts_s):
        said.append("how long the buffer lasts is unknown: watch for lost events")
    return tuple(said)


def _predictions(asked: Question[Options], fill: float, arithmetic: str) -> tuple[Prediction, ...]:
    before = asked.number("flow.dropped_per_s")
    lost = 0.0 if fill <= 1 else (before or 0.0)
    behind = asked.number("flow.dropped_behind_per_s") or 0.0
    return (
        Prediction(
            measure="flow.dropped_per_s",
            before=before,
            after=max(lost, behind),
            unit="events/s",
            at_most=True,
            arithmetic=f"the ring fills to {fill:.0%} between two looks",
        ),
        Prediction(
            measure="flow.fill_peak",
            before=asked.number("flow.fill_peak"),
            after=min(1.0, fill),
            unit="share",
            at_most=True,
            arithmetic=arithmetic,
        ),
    )
