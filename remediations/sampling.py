"""Keep one event in N, so that the reader manages the rest.

Against an overload N' = N · λ / (0.7·μ), against bursts N' = N · burst / (0.7·ring), rounded
up. Through the agent's BPF variable it is in force with the next event, needs no reload and
goes with the agent; else through its configuration. Events are lost on purpose: temporary by
nature, and a human is asked first. Against bursts it is refused when it would leave out more
than they lose.

After a verdict about CPU, N is the least that brings its CPU and that of its programs to 0.7 of the
option ``cores``.

Touches: one variable, or one setting and a reload, or both.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from engine.errors import UsageError
from engine.values import Change, Plan, Prediction
from remediations import bursts, cpu_price
from remediations.knob_change import KnobChange
from remediations.options import says
from remediations.overload import Overload, losses, overload
from remediations.planning import LIVE, KnobPlanner, Question, blocked, change, nothing, plan


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float, says("count", "The largest N: keep at least one event in so many.")] = 1000
    factor: Annotated[float | None, says("factor", "The most one application multiplies N by.")] = None
    cores: Annotated[float, says("cores", "Against high CPU: what the agent and its programs may use.")] = 0.1
    through: Annotated[
        str,
        says(
            "text",
            "'live' (BPF variable, gone with the agent), 'config', 'both', or 'auto': live if possible.",
        ),
    ] = "auto"


class SamplingPlanner(KnobPlanner[Options]):
    """Decides on N from the load."""

    name = "sampling"
    summary = "Keep one event in N, live where the agent allows it."
    knob = "sampling"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """N from the bursts or the overload, and the doors to set it through."""
        doors = _doors(asked)
        if cpu_price.asked_for(asked):
            return self._cheaper(asked, doors)
        seen = bursts.bursts(asked) if asked.case.text("flow.pattern") == "bursts" else overload(asked)
        now = max(1.0, float(str(doors[0].current or 1)))
        most = min(asked.options.at_most, asked.bounds[1], now * (asked.options.factor or math.inf))
        wanted = math.ceil(now * seen.short_by)
        keep = min(wanted, int(most))
        if keep <= now:
            nothing(f"1 in {now:g} is kept, 1 in {wanted} would be needed and 1 in {most:g} is allowed")
        if isinstance(seen, bursts.Bursts):
            bursts.refuse_loss(seen, keep, 1 - now / keep)
        rate = _rate(seen, now, keep)
        why = f"{seen.arithmetic} times too much arrives; 1 in {keep} leaves {rate.after:,.0f} events/s"
        return plan(
            self.name,
            asked,
            tuple(_through(door, keep, why) for door in doors),
            f"keep 1 in {keep}: {why}",
            (_losses(asked, seen, now / keep), rate),
            risk="medium",
            temporary=True,
            warnings=_warnings(asked, keep),
        )

    def _cheaper(self, asked: Question[Options], doors: list[Question[Options]]) -> Plan:
        """N from the cores that are allowed."""
        seen = cpu_price.spent(asked)
        if not seen.events:
            nothing("how many events arrive is unknown, or none do: fewer of them can't be planned")
        now = max(1.0, float(str(doors[0].current or 1)))
        most = min(asked.options.at_most, asked.bounds[1], now * (asked.options.factor or math.inf))
        factor = cpu_price.fewer(seen, asked.options.cores, most / now)
        keep = min(math.ceil(now * factor), int(most))
        if keep <= now:
            nothing(f"1 in {now:g} is kept and 1 in {most:g} is allowed: no more can be left out")
        kept = now / keep
        predictions = cpu_price.fewer_events(seen, kept)
        total = seen.at_rate(seen.events * kept) + seen.programs_at(kept)
        cpu_price.worth(seen.total - total, seen, asked.options.cores, f"keeping 1 in {keep}")
        why = (
            f"{seen.events:,.0f} events/s cost {cpu_price.say_cores(seen.total)}; 1 in {keep} leaves"
            f" {seen.events * kept:,.0f} events/s and, at best, {cpu_price.say_cores(total)}"
        )
        rate = Prediction(
            measure="flow.in_per_s",
            before=seen.events,
            after=seen.events * kept,
            unit="events/s",
            at_most=True,
            arithmetic=f"{seen.events:,.0f} · {now:g} / {keep}",
        )
        return plan(
            self.name,
            asked,
            tuple(_through(door, keep, why) for door in doors),
            f"keep 1 in {keep}: {why}",
            (*predictions, rate),
            risk="medium",
            temporary=True,
            warnings=_warnings(asked, keep),
        )


class Sampling(KnobChange):
    """Remediation ``sampling``."""

    planner = SamplingPlanner()
    temporary = True


def _rate(seen: Overload | bursts.Bursts, now: float, keep: int) -> Prediction:
    """The events that will arrive, on average."""
    return Prediction(
        measure="flow.in_per_s",
        before=seen.arriving,
        after=seen.arriving * now / keep,
        unit="events/s",
        at_most=True,
        arithmetic=f"{seen.arriving:,.0f} · {now:g} / {keep}",
    )


def _losses(asked: Question[Options], seen: Overload | bursts.Bursts, kept: float) -> Prediction:
    if isinstance(seen, bursts.Bursts):
        return bursts.losses(asked, seen, kept)
    return losses(asked, seen, seen.arriving * kept, seen.managed)


def _doors(asked: Question[Options]) -> list[Question[Options]]:
    """The questions to ask of each door: the live one first, then the configuration."""
    through = asked.options.through
    if through not in ("auto", "live", "config", "both"):
        raise UsageError(f"sampling: through: {through!r} is no way", fix="one of: auto, live, config, both")
    live_now = asked.case.knobs.get(asked.knob.name + LIVE)
    live = None
    if asked.knob.live is not None and live_now is not None and not live_now.missing:
        knob = msgspec.structs.replace(asked.knob.live, unit=asked.knob.unit)
        live = Question(asked.case, knob, live_now, asked.options)
    if live is None and through in ("live", "both"):
        nothing(f"no live door: {live_now.missing if live_now else 'the profile names none'}")
    found = [live] if live is not None and through != "config" else []
    if through in ("config", "both") or not found:
        if asked.now.missing:
            blocked(asked.now.missing)
        found.append(asked)
    return found


def _through(door: Question[Options], keep: int, why: str) -> Change:
    made = change(door, door.fit(keep, "up")[0], why)
    return msgspec.structs.replace(made, live=door.knob.backend == "bpf-variable")


def _warnings(asked: Question[Options], keep: int) -> tuple[str, ...]:
    said = [f"{1 - 1 / keep:.0%} of the events are left out on purpose; counts must be multiplied by {keep}"]
    if asked.knob.live is not None and asked.options.through in ("auto", "live"):
        said.append("a restart or reload of the agent may end it early")
    return tuple(said)
