"""Causes of lost events that lie in what the reader can do: its quota, its neighbours, its CPU, a flood.

Its promise: a cause is named only when its own condition is met, and what speaks against it is
told along. Each function answers None, or a cause with the arithmetic that a person can redo.

Not here: rhythm and place (``loss_rhythm``), ranking (``event_loss``).
Reasoning: ``docs/event-loss.md``.
"""

from __future__ import annotations

from bpf.diagnoses.loss_facts import EASY, LITTLE, STARVED, WHOLE_CORE, Facts
from bpf.diagnoses.wording import cores, count, kept, octets, share, span
from engine.values import Cause

#: One process makes a flood when it makes this share of the events.
ONE_SOURCE = 0.6


def throttled(f: Facts) -> Cause | None:
    """The reader could keep up, but its cgroup's quota does not let it."""
    if not f.ring_loses or not f.squeezed or f.moved is False:
        return None
    if not f.overloaded and f.held_up < 0.1:
        return None
    enough = f.throttled is not None and f.throttled >= 0.5
    wanted = f.quota * f.arriving / (EASY * f.service) if f.quota and f.arriving and f.service else None
    return Cause(
        name="reader-throttled",
        sentence=f"the cgroup's quota of {cores(f.quota or 0.0)} holds the reader back in "
        f"{share(f.throttled or 0.0)} of the periods",
        confidence=0.95 if enough and f.overloaded else 0.7,
        explains=f.ring_share * (1.0 if f.overloaded else 0.7),
        speaks_for=kept(
            f"throttled in {share(f.throttled or 0.0)} of the periods",
            f"held back for {span(f.throttled_s or 0.0)} each second, over its CPUs",
            f"it stood still in the middle of a backlog for {share(f.held_up)} of the time"
            if f.held_up
            else "",
            f"it used {cores(f.thread)}" if f.thread is not None and f.thread < WHOLE_CORE else "",
        ),
        speaks_against=kept(
            f"{cores(f.thread)} used by one thread: more quota would help only up to a whole one"
            if f.thread is not None and f.thread >= WHOLE_CORE
            else "",
            "the arrivals come in bursts: a bigger ring may do" if f.pattern == "bursts" else "",
        ),
        arithmetic=kept(
            f"λ = {count(f.arriving)}/s, μ under this quota = {count(f.service)}/s"
            if f.arriving and f.service
            else "",
            f"quota' = quota × λ / ({EASY}·μ) = {wanted:.2f} cores" if wanted else "",
        ),
        settles="cpu.stat of the cgroup: nr_throttled stops growing when the quota is enough",
    )


def one_source(f: Facts) -> Cause | None:
    """One process makes more events than all others, and without it the reader would keep up."""
    if not f.ring_loses or not f.overloaded or f.moved is False or not f.arriving or not f.service:
        return None
    if f.top_made is None or f.rest is None or f.top_made < ONE_SOURCE * f.arriving:
        return None
    short = (f.waiting or 0.0) >= STARVED and not f.squeezed
    could = f.full_core_service if short and f.full_core_service else f.service
    if f.rest >= 0.95 * could:
        return None
    top, part = f.top or "one process", share(f.top_made / f.arriving)
    return Cause(
        name="flood-from-one-source",
        sentence=f"{top} makes {part} of the events ({count(f.top_made)}/s); "
        "without it the reader would keep up",
        confidence=0.5 if f.filtered else 0.75 if short else 0.9,
        explains=f.ring_share,
        speaks_for=(
            f"{top} makes {count(f.top_made)} of {count(f.arriving)} events/s",
            f"the rest, {count(f.rest)}/s, is less than the {count(could)}/s that the reader "
            + ("would take with a CPU of its own" if short else "takes"),
        ),
        speaks_against=kept(
            f"the reader waited for a CPU for {share(f.waiting)} of the time" if short and f.waiting else "",
            f"{count(f.passing)}/s pass where the agent is attached and {count(f.arriving)}/s arrive: "
            f"it filters, and {top} may be among what it leaves out"
            if f.filtered and f.passing
            else "",
            "a quota holds the reader back as well" if f.squeezed else "",
        ),
        arithmetic=(
            f"λ without it = {count(f.arriving)}/s − {count(f.top_made)}/s = {count(f.rest)}/s",
            f"against μ = {count(could)}/s: {share(f.rest / could)} of what the reader can take",
        ),
        settles="whether the events of this process are wanted at all",
    )


def starved(f: Facts) -> Cause | None:
    """Others on the machine keep the reader from the CPU it would need."""
    if not f.ring_loses or f.squeezed or f.moved is False or f.waiting is None or f.waiting < STARVED:
        return None
    if not f.overloaded and f.held_up < 0.1:
        return None
    alone, rate = f.full_core_service, f.arriving or 0.0
    could = alone is not None and alone > rate
    return Cause(
        name="reader-starved",
        sentence=f"the reader is ready to run but gets no CPU for {share(f.waiting)} of the time",
        confidence=0.85 if could else 0.4,
        explains=f.ring_share,
        speaks_for=kept(
            f"{f.thread_name or 'its busiest thread'} waited for a CPU for {share(f.waiting)} of the time",
            f"it got {cores(f.thread)}" if f.thread is not None else "",
            f"only {cores(f.idle)} of the host was idle" if f.idle is not None else "",
        ),
        speaks_against=kept(
            f"even a whole CPU would serve only {count(alone)} of {count(rate)} events/s"
            if alone is not None and not could
            else "",
        ),
        arithmetic=kept(
            f"with a whole CPU: μ / {cores(f.thread)} = {count(alone)}/s against λ = {count(rate)}/s"
            if alone is not None and f.thread
            else ""
        ),
        settles="who uses the CPUs (top, pressure in /proc/pressure/cpu); its CPU weight or another host",
    )


def cpu_bound(f: Facts) -> Cause | None:
    """The reader's work per event is too dear for the events that arrive."""
    if not f.ring_loses or not f.overloaded or f.moved is False:
        return None
    unknown = f.thread is None
    wants = (f.thread or 0.0) + (f.waiting or 0.0)
    alone, rate = f.full_core_service, f.arriving or 0.0
    short = alone is not None and alone < rate
    if not unknown and (wants < WHOLE_CORE or (f.squeezed and not short)):
        return None
    could_starve = not unknown and (f.waiting or 0.0) >= STARVED and not short
    confidence = 0.4 if unknown or could_starve else 0.9
    flood = one_source(f)
    if (flood is not None and not f.filtered) or f.squeezed:
        confidence = min(confidence, 0.6)
    return Cause(
        name="reader-cpu-bound",
        sentence=f"{count(rate)} events/s arrive, the reader can take {count(f.service or 0.0)}/s: "
        "its CPU is the limit",
        confidence=confidence,
        explains=f.ring_share,
        speaks_for=kept(
            f"{f.thread_name or 'its busiest thread'} used {cores(f.thread or 0.0)}" if not unknown else "",
            f"the ring was full for {share(f.full)} of the time" if f.full and f.full > 0.5 else "",
        ),
        speaks_against=kept(
            "the process was not looked at: throttling or neighbours may hold it back" if unknown else "",
            f"it waited for a CPU for {share(f.waiting)} of the time"
            if (f.waiting or 0) >= LITTLE and f.waiting
            else "",
            f"without {f.top} it would keep up" if flood is not None and not f.filtered else "",
            "a quota holds it back as well" if f.squeezed else "",
        ),
        arithmetic=_overload_arithmetic(f),
        settles="a CPU profile of the reader: what the work per event goes into",
    )


def _overload_arithmetic(f: Facts) -> tuple[str, ...]:
    if not f.arriving or not f.service:
        return ()
    lines = [
        f"λ = {count(f.arriving)}/s > μ = {count(f.service)}/s: short of {count(f.arriving - f.service)}/s"
    ]
    if f.thread and f.taken:
        lines.append(f"work per event: {cores(f.thread)} / {count(f.taken)}/s = {span(f.thread / f.taken)}")
    if f.ring and f.record and f.arriving > f.service:
        lasts = f.ring / ((f.arriving - f.service) * f.record)
        lines.append(f"a ring of {octets(f.ring)} lasts {span(lasts)}; a bigger one only delays the loss")
    lines.append(
        f"to keep up with room to spare: one event in λ / ({EASY}·μ) = {f.arriving / (EASY * f.service):.2g}"
    )
    return tuple(lines)
