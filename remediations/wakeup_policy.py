"""Change when the kernel wakes the reader.

A reader that sleeps while the ring fills is woken earlier; one that is bound by its CPU
and woken for every event is woken less often. The profile lists the words of the setting
from the most eager to the laziest, or the usual words are known here.

After a verdict about CPU: a reader that polls without a pause sleeps until the kernel wakes it;
one that is woken for nearly every event is woken for many.

Touches: one setting, and a reload where the agent needs one.
Source: BPF_RB_FORCE_WAKEUP and BPF_RB_NO_WAKEUP, Linux Documentation/bpf/ringbuf.rst.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Plan, Prediction
from remediations import cpu_price
from remediations.knob_change import KnobChange
from remediations.options import says
from remediations.planning import FULL_CORE, KnobPlanner, Question, change, nothing, plan

#: A woken thread runs within about this time on a machine that is not overloaded.
LATENCY_S = 0.001
#: How eager the usual words are: 0 wakes at every event, 3 never (the reader polls).
_EAGERNESS = {
    **dict.fromkeys(("force", "always", "every-event", "immediate"), 0),
    **dict.fromkeys(("auto", "adaptive", "default"), 1),
    **dict.fromkeys(("every", "batch", "batched", "watermark", "bytes"), 2),
    **dict.fromkeys(("none", "never", "no", "poll", "timer"), 3),
}
_ADAPTIVE, _BATCHED = 1, 2


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    to: Annotated[str, says("text", "The word to set; empty: decided from the evidence.")] = ""
    cores: Annotated[float, says("cores", "Against high CPU: what the agent and its programs may use.")] = 0.1


class WakeupPolicyPlanner(KnobPlanner[Options]):
    """Decides on a word: earlier for a sleeper, later for a busy reader."""

    name = "wakeup-policy"
    summary = "Wake a sleeping reader earlier, or a busy one less often."
    knob = "wakeup-policy"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """The nearest word in the direction the evidence asks for."""
        now = asked.current
        if not isinstance(now, str):
            nothing("the present wakeup policy is unknown: it is not set and the profile names no default")
        for_cpu = cpu_price.asked_for(asked)
        busiest = asked.number("process.busiest_thread_cores")
        lazier = busiest is not None and busiest >= FULL_CORE
        if for_cpu:
            lazier = not _spins(asked)
        word = asked.options.to or _word(asked, now, lazier=lazier)
        if asked.knob.choices and word not in asked.knob.choices:
            nothing(f"{word!r} is not one of {', '.join(asked.knob.choices)}")
        if word == now:
            nothing(f"the wakeup policy is {now} already")
        if for_cpu:
            why, predictions, warning = _in_batches(asked) if lazier else _asleep(asked)
        else:
            why, predictions, warning = _less_often(asked) if lazier else _earlier(asked)
        return plan(
            self.name,
            asked,
            (change(asked, word, why),),
            f"wakeup {now} → {word}: {why}",
            predictions,
            warnings=(warning,),
        )


class WakeupPolicy(KnobChange):
    """Remediation ``wakeup-policy``."""

    planner = WakeupPolicyPlanner()


def _word(asked: Question[Options], now: str, *, lazier: bool) -> str:
    ranks = {word: rank for word in asked.knob.choices if (rank := _EAGERNESS.get(word)) is not None}
    here = ranks.get(now, _EAGERNESS.get(now))
    if here is None or not ranks:
        nothing(f"how eager {now!r} is among {asked.knob.choices} is not known: give 'to'")
    wanted = [word for word, rank in ranks.items() if (rank == _BATCHED if lazier else rank == _ADAPTIVE)]
    if not wanted or (here >= _BATCHED if lazier else here <= _ADAPTIVE):
        nothing(f"{now} wakes the reader {'seldom' if lazier else 'early'} enough already")
    return wanted[0]


def _spins(asked: Question[Options]) -> bool:
    seen = cpu_price.spent(asked)
    return seen.spinning > seen.own / 2


def _asleep(asked: Question[Options]) -> tuple[str, tuple[Prediction, ...], str]:
    """From asking all the time to sleeping until woken: one sleep per event at most."""
    seen = cpu_price.spent(asked)
    rate = seen.events or 0.0
    own = seen.at_looks(rate)
    cpu_price.worth(seen.own - own, seen, asked.options.cores, "sleeping until there is something to read")
    why = (
        f"{cpu_price.say_cores(seen.spinning)} go into asking while nothing is there;"
        f" asleep, it is woken {rate:,.0f} times a second at most"
    )
    sums = (
        f"at most {rate:,.0f} wakeups/s · {seen.sleep_s * 1e6:.2g} µs + {cpu_price.say_cores(seen.working)}"
        " of work on the events"
    )
    return (
        why,
        (cpu_price.own_cpu(seen, own, sums, at_most=True), *cpu_price.no_losses(asked)),
        ("the BPF program wakes the reader, which costs it some time per wakeup"),
    )


def _in_batches(asked: Question[Options]) -> tuple[str, tuple[Prediction, ...], str]:
    """From a wakeup for nearly every event to one for many: at least half of them go."""
    seen = cpu_price.spent(asked)
    rate = seen.events or 0.0
    if seen.sleeps < 0.1 * rate:
        nothing(f"{seen.sleeps:,.0f} wakeups for {rate:,.0f} events/s: waking is not what costs the CPU")
    cpu_price.worth(seen.sleeping / 2, seen, asked.options.cores, "half the wakeups")
    why = f"{seen.sleeps:,.0f} sleeps/s for {rate:,.0f} events/s take {cpu_price.say_cores(seen.sleeping)}"
    sums = f"at least half of {seen.sleeps:,.0f} sleeps/s · {seen.sleep_s * 1e6:.2g} µs are saved"
    own = seen.own - seen.sleeping / 2
    return (
        why,
        (cpu_price.own_cpu(seen, own, sums, at_most=True), *cpu_price.no_losses(asked)),
        ("events wait longer in the ring before they are read"),
    )


def _earlier(asked: Question[Options]) -> tuple[str, tuple[Prediction, ...], str]:
    peak = max(asked.need("flow.in_per_s"), asked.number("flow.burst_in_per_s") or 0.0)
    ring, record = asked.need("flow.ring_bytes"), asked.need("flow.record_bytes")
    fill = min(1.0, peak * LATENCY_S * record / ring)
    reckoning = f"{peak:,.0f}/s · {LATENCY_S:g} s · {record:g} / {ring:,.0f} bytes = {fill:.1%} of the ring"
    slept = asked.number("flow.poll_interval_s")
    seen = f"it slept {slept * 1e3:.3g} ms at a time" if slept else "it sleeps while the ring fills"
    why = f"{seen}; woken, it runs within about {LATENCY_S * 1e3:g} ms, in which the ring fills to {fill:.1%}"
    return (
        why,
        (
            Prediction(
                measure="flow.dropped_per_s",
                before=asked.number("flow.dropped_per_s"),
                after=asked.number("flow.dropped_behind_per_s") or 0.0,
                unit="events/s",
                at_most=True,
                arithmetic=reckoning,
            ),
        ),
        "more wakeups cost CPU: the agent's, and the programs' that wake it",
    )


def _less_often(asked: Question[Options]) -> tuple[str, tuple[Prediction, ...], str]:
    switches = asked.need("process.context_switches_per_s")
    arriving = asked.need("flow.in_per_s")
    if switches < 0.1 * arriving:
        nothing(f"{switches:,.0f} wakeups for {arriving:,.0f} events/s: waking is not what costs the CPU")
    why = f"the reader is at its limit and woken {switches:,.0f} times a second for {arriving:,.0f} events/s"
    prediction = Prediction(
        measure="process.context_switches_per_s",
        before=switches,
        after=switches / 2,
        unit="1/s",
        at_most=True,
        arithmetic="one wakeup for many events; at least half of them go",
    )
    return why, (prediction,), "events wait longer in the ring before they are read"
