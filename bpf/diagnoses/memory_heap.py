"""Causes of memory growth within the processes: a leak, an allocator that keeps pages, a cache.

Its promise: a cause is named only when its own condition is met, and what speaks against it is
told along. Each function answers None, or a cause with the arithmetic that a person can redo.

Not here: BPF maps (``memory_maps``), ranking (``memory_growth``). Reasoning: ``docs/memory-leak.md``.
"""

from __future__ import annotations

from bpf.diagnoses.memory_facts import FREE_BYTES, MUCH_FREE, REPLACES, SLOWS, Facts
from bpf.diagnoses.wording import count, kept, octets, share, span
from engine.values import Cause

#: Of the growth, the share that the watched allocations must keep.
KEPT = 0.5
#: Of what was allocated in the first half of the watching, the share that must outlive the second.
SURVIVES = 0.1


def heap_leak(f: Facts) -> Cause | None:
    """The heap grows in a straight line, and what is allocated at some place is never freed."""
    if not f.heap_grows or f.slows:
        return None
    s = f.sites
    stays = s.net is None or s.net >= KEPT * f.heap_growth
    proven = bool(s.growing) and (s.survival is None or s.survival >= SURVIVES) and stays
    freed = s.growing is False or not stays
    site = f" at {s.site}" if proven and s.site else ""
    rate = octets(f.heap_growth)
    return Cause(
        name="heap-leak",
        sentence=f"the heap loses {rate}/s{site}: allocated and not freed"
        if proven
        else f"the heap grows by {rate}/s in a straight line",
        confidence=0.95 if proven else 0.4 if freed else 0.6,
        explains=f.share(f.heap_growth),
        speaks_for=kept(
            f"{_range(f)} of private memory, {_straightness(f)}",
            _of_site(f) if proven else "",
            f"called by {s.stack}" if proven and s.stack else "",
            f"{share(s.survival)} of what was allocated outlived the watching"
            if proven and s.survival is not None
            else "",
            f"hardly anything of the heap is free ({share(f.heap.free_share)})"
            if f.heap.free_share is not None and f.heap.free_share < MUCH_FREE
            else "",
        ),
        speaks_against=kept(
            "nothing that was allocated while it was watched outlived it: growth in steps, or by another"
            " allocator"
            if freed
            else "",
            "allocations were not looked at: a cache that fills evenly looks the same"
            if s.growing is None
            else "",
            _much_free(f),
        ),
        arithmetic=_leak_arithmetic(f),
        settles="the same site after a longer watch: a leak stays on its line, a cache bends",
        fix=f"report {s.site if site else 'the place (allocations or heap-profile tell it)'} with"
        " this run's stacks to those who wrote it; no setting mends it. Until then restart it at a moment of"
        " your choice",
    )


def cache_filling(f: Facts) -> Cause | None:
    """It grew, ever less, or has stopped: something fills to its bound."""
    if not f.slows or (f.heap.grown or 0.0) <= 0:
        return None
    s, bound = f.sites, f.bound()
    done = f.heap.plateau
    turns = f.replaced >= REPLACES
    empty = (f.heap.free_share or 0.0) >= MUCH_FREE
    slowing = f.heap.slowing
    sure = done or (slowing is not None and slowing <= 0.5) or turns
    at = f" at about {octets(bound[0])}" if bound and not done else ""
    return Cause(
        name="cache-filling",
        sentence=f"it fills to a bound and has reached it: {octets(f.heap.grown or 0.0)} were taken, then it"
        " stayed flat"
        if done
        else f"it fills to a bound{at}: in the second half it grew by"
        f" {share(slowing or 0.0)} of the first half's rate",
        confidence=0.4 if empty else 0.9 if sure else 0.7,
        explains=f.share(f.heap_growth),
        speaks_for=kept(
            f"first half {octets(f.heap.early)}/s, second half {octets(f.heap.late)}/s"
            if f.heap.early is not None and f.heap.late is not None
            else "",
            "flat at the end of the window" if done else "",
            f"{count(s.older_frees)} of {count(s.allocations)} allocations/s come with a free of something"
            " older: it replaces"
            if turns and s.older_frees and s.allocations
            else "",
        ),
        speaks_against=kept(
            f"{share(f.heap.free_share)} of the heap are free: nothing is kept there"
            if empty and f.heap.free_share
            else "",
            f"the window is {span(f.window_s)} short: fewer events look the same" if f.window_s < 30 else "",
        ),
        arithmetic=kept(
            f"slopes {octets(f.heap.early)}/s → {octets(f.heap.late)}/s within {span(f.window_s / 2)}:"
            f" it ends near {octets(bound[0])}, in about {span(bound[1])}"
            if bound and f.heap.early and f.heap.late and not done
            else "",
            _against_room(f, bound[0]) if bound and not done else "",
        ),
        settles="look again after that time: it must be flat",
        fix="nothing leaks; where its bound is too high, lower the agent's own setting for that cache",
    )


def allocator(f: Facts) -> Cause | None:
    """Nothing grows; much of the heap is free, and its allocator has not given it back."""
    free, part = _free(f)
    if free is None or part is None or part < MUCH_FREE or free < FREE_BYTES:
        return None
    if f.heap_grows and not f.slows:
        return None
    known = f.heap.read_share is None or f.heap.read_share >= 0.5
    by_profile = f.heap.free is None
    balanced = f.sites.growing is False
    return Cause(
        name="allocator-keeps-pages",
        sentence=f"{octets(free)} of the heap ({share(part)}) are free: the program gave them back, its"
        " allocator keeps them",
        confidence=0.6 if by_profile else 0.95 if known and part >= 0.5 else 0.75,
        explains=1.0 if not f.heap_grows else 0.5,
        speaks_for=kept(
            f"the heap takes {octets(f.heap.bytes)}, {octets(f.heap.bytes - free)} of it are in use"
            if f.heap.bytes
            else "",
            f"it does not grow: {_range(f)}" if not f.heap_grows else "",
            "what is allocated now is freed again" if balanced else "",
        ),
        speaks_against=kept(
            f"only {share(f.heap.read_share or 0.0)} of the heap could be read" if not known else "",
            "the profile tells the heap as of the last garbage collection" if by_profile else "",
        ),
        arithmetic=kept(
            f"heap {octets(f.heap.bytes)} − free {octets(free)} = {octets(f.heap.bytes - free)} in use"
            if f.heap.bytes
            else "",
        ),
        settles="malloc_trim in the agent, or a restart: the memory comes back and stays back",
        fix="it is no leak. Where the memory is needed elsewhere: fewer arenas (MALLOC_ARENA_MAX=2), a lower"
        " M_TRIM_THRESHOLD, GOMEMLIMIT for Go, or a restart after the peak",
    )


def _free(f: Facts) -> tuple[float | None, float | None]:
    """Free bytes of the heap and their share: from its chunks, else from the agent's own profile."""
    if f.heap.free is not None:
        return f.heap.free, f.heap.free_share
    if f.sites.inuse is not None and f.heap.bytes:
        free = max(0.0, f.heap.bytes - f.sites.inuse)
        part = free / f.heap.bytes
        return (free, part) if part >= 0.6 else (None, None)  # a garbage collector keeps up to half
    return None, None


def _much_free(f: Facts) -> str:
    part = f.heap.free_share
    if part is None or part < MUCH_FREE:
        return ""
    return f"{share(part)} of the heap are free: it may be scattered by large and small pieces, not lost"


def _range(f: Facts) -> str:
    if f.heap.low is None or f.heap.high is None:
        return "growth that could not be measured"
    return f"{octets(f.heap.low)}/s to {octets(f.heap.high)}/s (95 %)"


def _straightness(f: Facts) -> str:
    if f.heap.slowing is None:
        return f"over {span(f.window_s)}"
    if abs(f.heap.slowing - 1) < 0.05:
        return "in a straight line: the second half as fast as the first"
    if f.heap.slowing <= SLOWS:
        return f"slower in the second half ({share(f.heap.slowing)} of the first's), then steady"
    return f"in a straight line: the second half at {f.heap.slowing:.2g} times the first half's rate"


def _of_site(f: Facts) -> str:
    s = f.sites
    if not s.site:
        return ""
    part = f", {share(s.site_share)} of all that stays" if s.site_share is not None else ""
    rate = f" ({octets(s.site_per_s)}/s{part})" if s.site_per_s else ""
    return f"{s.site} allocates what is not freed{rate}"


def _leak_arithmetic(f: Facts) -> tuple[str, ...]:
    room, name = f.room
    rate = f.heap_growth
    return kept(
        f"{octets(rate)}/s / {count(f.events)} events/s = {rate / f.events:.0f} bytes lost with each event"
        if f.events and rate / f.events >= 1
        else "",
        f"{octets(room)} left of {name} / {octets(rate)}/s = {span(room / rate)} until it is used up"
        if room and rate
        else "",
    )


def _against_room(f: Facts, bound: float) -> str:
    room, name = f.room
    if room is None or f.heap.anon is None:
        return ""
    more = bound - f.heap.anon
    fits = "fits" if more <= room else "does not fit"
    return f"{octets(more)} more, {octets(room)} left of {name}: it {fits}"
