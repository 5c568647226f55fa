"""Let a reader that is bound by its CPU take more events at a time.

A larger batch spreads the cost that is paid once per batch (a wakeup, a lock, a system
call). How large that cost is can't be told from one measurement, so the batch is doubled
rung by rung; as a bound, the prediction takes all system time as paid per batch:
μ' = μ / (1 − s·(1 − B/B')), s being system time's share of the reader's CPU.

After a verdict about CPU the same share is saved: own' = own − s·own·(1 − B/B'), where its threads
make system calls in step with the events; where they do not, nothing is paid per batch.

Touches: one setting, and a reload where the agent needs one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Plan, Setting
from remediations import cpu_price
from remediations.knob_change import KnobChange
from remediations.knobs.units import say_bytes, say_seconds
from remediations.options import says
from remediations.overload import losses, overload, service
from remediations.planning import KnobPlanner, Question, change, nothing, plan

BUSY = 0.7  # of a core: below this the cost of a batch is not what holds the reader up
FEW_CALLS, MANY_CALLS = 0.5, 8.0  # per batch: fewer have nothing to do with it, more come of empty ones


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    factor: Annotated[float, says("factor", "What one application multiplies the batch by.")] = 4.0
    at_most: Annotated[float, says("count", "The largest batch.")] = 4096
    cores: Annotated[float, says("cores", "Against high CPU: what the agent and its programs may use.")] = 0.1


class BatchSizePlanner(KnobPlanner[Options]):
    """Decides on the next larger batch."""

    name = "batch-size"
    summary = "Let a busy reader take more events at a time."
    knob = "batch-size"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """One rung up, if the reader is busy and something is paid per batch."""
        if cpu_price.asked_for(asked):
            return self._cheaper(asked)
        seen = overload(asked)
        busiest = asked.number("process.busiest_thread_cores")
        if busiest is not None and busiest < BUSY:
            nothing(
                f"the busiest thread uses {busiest:.2f} of a core: the cost of a batch does not hold it up"
            )
        after, batch, now = _larger(asked)
        share = _system_share(asked)
        managed = seen.managed / (1 - share * (1 - now / batch))
        arithmetic = (
            f"at best {seen.managed:,.0f} / (1 − {share:.2f} · (1 − {now:g}/{batch:g})):"
            f" {share:.0%} of the CPU is system time, taken as paid per batch"
        )
        record = asked.number("flow.record_bytes") or 0.0
        why = (
            f"a batch of {batch:g} spreads what is paid once per batch over {batch / now:g} times the events"
        )
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"batches of {now:g} → {batch:g}: {why}",
            (losses(asked, seen, seen.arriving, managed), service(asked, managed, arithmetic)),
            memory_bytes=int((batch - now) * record),
            memory_limit=f"the agent's own memory, {say_bytes(batch * record)} a batch",
            warnings=(_waits(batch, seen.arriving),),
        )

    def _cheaper(self, asked: Question[Options]) -> Plan:
        """One rung up, if system calls are made for every few events."""
        seen = cpu_price.spent(asked)
        calls = asked.need("work.syscalls_per_event")
        after, batch, now = _larger(asked)
        if calls < FEW_CALLS / now:
            nothing(f"{calls:.2g} system calls per event with batches of {now:g}: little is paid per batch")
        if calls > MANY_CALLS / now:
            nothing(
                f"{calls:.2g} system calls per event with batches of {now:g}: they are not filled, so larger"
                " ones would not be either"
            )
        paid = _system_share(asked) * (seen.own - seen.spinning)
        saved = paid * (1 - now / batch)
        cpu_price.worth(saved, seen, asked.options.cores, f"a batch of {batch:g} instead of {now:g}")
        why = (
            f"{calls:.2g} system calls per event, {cpu_price.say_cores(paid)} of system time: a batch of"
            f" {batch:g} spreads what is paid once per batch over {batch / now:g} times the events"
        )
        sums = f"at best {seen.own:.3g} − {paid:.3g} · (1 − {now:g}/{batch:g})"
        return plan(
            self.name,
            asked,
            (change(asked, after, why),),
            f"batches of {now:g} → {batch:g}: {why}",
            (cpu_price.own_cpu(seen, seen.own - saved, sums), *cpu_price.no_losses(asked)),
            memory_bytes=int((batch - now) * (asked.number("flow.record_bytes") or 0.0)),
            memory_limit="the agent's own memory",
            warnings=(_waits(batch, seen.events),),
        )


class BatchSize(KnobChange):
    """Remediation ``batch-size``."""

    planner = BatchSizePlanner()


def _larger(asked: Question[Options]) -> tuple[Setting, float, float]:
    """The next larger batch as it is written, as a number, and the present one."""
    now = asked.current_number()
    most = min(asked.options.at_most, asked.bounds[1])
    after, batch = asked.fit(min(now * asked.options.factor, most), "down")
    if batch <= now:
        nothing(f"the batch is {now:g} already, and {most:g} is allowed")
    return after, batch, now


def _waits(batch: float, per_s: float | None) -> str:
    return f"an event may wait {say_seconds(batch / per_s) if per_s else 'longer'} for its batch to fill"


def _system_share(asked: Question[Options]) -> float:
    """System time's share of the reader's CPU; 0 where it was not measured."""
    total, system = asked.number("process.cpu_cores"), asked.number("process.cpu_system_cores")
    return min(0.95, system / total) if total and system else 0.0
