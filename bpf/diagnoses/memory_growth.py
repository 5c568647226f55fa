"""Why an agent's memory grows, or why it is large: from evidence to ranked causes.

Its promise: it decides from the case alone, tells growth from noise before anything else, and
divides what grows into heap and BPF maps by bytes. What does not grow is not called a leak; how
long to watch to be sure is said. Missing evidence lowers confidence and is noted.

Not here: the rules (``memory_heap``, ``memory_maps``), what to do about it (``remediations``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpf.diagnoses import memory_heap, memory_maps
from bpf.diagnoses.memory_facts import STEP_BYTES, Facts, facts_of
from bpf.diagnoses.wording import count, octets, share, span
from engine.values import Case, Cause, Verdict

NAME = "memory-growth"
RULES = (
    memory_heap.heap_leak,
    memory_heap.cache_filling,
    memory_heap.allocator,
    memory_maps.stale_entries,
    memory_maps.unseen,
    memory_maps.unbounded,
)
#: A cause below this confidence is not worth a line.
WORTH_NAMING = 0.3
#: Nor is one that explains less than this share of what grows.
LITTLE = 0.01
#: Growth of so many steps of an allocator is told from noise.
STEPS_TO_BE_SURE = 12
_LONGEST_WATCH_S = 6 * 3600.0


class MemoryGrowth:
    """The diagnosis ``memory-growth``."""

    name = NAME
    summary = "why an agent's memory grows, or is larger than what it uses"
    causes: Mapping[str, str] = {
        "heap-leak": "Something is allocated in the heap and never freed.",
        "unbounded-map": "A BPF map takes new keys and gives none back; their owners live.",
        "stale-map-entries": "A BPF map keeps the entries of processes that are gone.",
        "map-memory-unseen": "BPF maps take the memory: charged to the cgroup, in no process's RSS.",
        "allocator-keeps-pages": "The program has freed it; its allocator has not given it back.",
        "cache-filling": "Something fills up to its bound; then it stays flat.",
    }
    wants = ("memory", "map-fill", "allocations", "heap-profile", "event-flow")

    def decide(self, case: Case) -> Verdict:
        """Rank the causes that fit."""
        if "memory" not in case.evidence:
            return Verdict(
                diagnosis=NAME,
                sentence="Nothing can be said: memory was not looked at.",
                notes=("look at memory first",),
            )
        facts = facts_of(case)
        found = [cause for rule in RULES if (cause := rule(facts)) and _worth(cause)]
        found.sort(key=lambda cause: (cause.explains or 0.0) * cause.confidence, reverse=True)
        notes = (*_notes(case, facts), *_kills(facts))
        return Verdict(diagnosis=NAME, sentence=_sentence(facts, found), causes=tuple(found), notes=notes)


def _worth(cause: Cause) -> bool:
    return cause.confidence >= WORTH_NAMING and (cause.explains or 0.0) >= LITTLE


def _sentence(f: Facts, found: list[Cause]) -> str:
    told = bool(found) and found[0].name in ("unbounded-map", "stale-map-entries")
    seen = _what_grows(f, entries=not told)
    return f"{seen}: {found[0].sentence}." if found else f"{seen}.{_watch_longer(f)}"


def _what_grows(f: Facts, *, entries: bool) -> str:
    """What was seen of growth, in a clause with its numbers; of entries unless the cause tells them."""
    parts = []
    if f.heap_grows:
        parts.append(
            f"the processes' own memory ({octets(f.heap.anon or 0.0)}) grows by {octets(f.heap_growth)}/s"
        )
    if f.maps.growing and f.maps.slope:
        parts.append(
            f"the memory of its BPF maps ({octets(f.maps.bytes or 0.0)}) grows by {octets(f.maps.slope)}/s"
        )
    if f.entries_grow and f.maps.growth and (entries or not parts):
        parts.append(f"map {f.maps.name} grows by {count(f.maps.growth)} entries/s")
    if parts:
        return _capital(" and ".join(parts))
    if f.heap.growing is None:
        return "Whether its memory grows could not be measured"
    size = f"{octets(f.heap.anon)} of private memory" if f.heap.anon is not None else "its memory"
    return f"{_capital(size)}: no growth that could be told from noise in {span(f.window_s)}"


def _watch_longer(f: Facts) -> str:
    """How slow a leak would have been missed, and how long to watch for the slope that was seen."""
    if f.heap_grows or f.maps.growing:
        return " No known cause fits: see the numbers, and look at allocations or heap-profile."
    if f.heap.growing is None:
        return ""
    slope = f.heap.slope or 0.0
    if slope > 0 and (f.heap.grown or 0.0) > 0:
        wanted = min(_LONGEST_WATCH_S, STEPS_TO_BE_SURE * STEP_BYTES / slope)
        if wanted > f.window_s:
            return f" If {octets(slope)}/s is growth, {span(wanted)} of watching would prove it."
    least = STEPS_TO_BE_SURE * STEP_BYTES / f.window_s
    return f" A leak of less than about {octets(least)}/s takes a longer window to see."


def _notes(case: Case, f: Facts) -> tuple[str, ...]:
    """What was not looked at, and what that means."""
    notes = []
    if "maps" not in case.evidence:
        notes.append("map-fill was not looked at: entries of BPF maps, and whose they are, are unknown")
    if f.heap_grows and f.sites.growing is None:
        notes.append("neither allocations nor heap-profile were seen: the place that leaks can't be named")
    if f.group.bytes is None:
        notes.append("it has no memory cgroup of its own: memory that no process shows can't be seen there")
    elif f.group.others:
        notes.append(
            f"{count(f.group.others)} other processes are in its cgroup: its growth is not only the agent's"
        )
    if f.heap.touching:
        notes.append("buffers that it took earlier are used for the first time: that is growth, and no leak")
    if f.window_s < 30 and (f.heap_grows or f.slows):
        notes.append(f"the window was {span(f.window_s)}: a saw-tooth that is longer looks like growth")
    return tuple(notes)


def _kills(f: Facts) -> tuple[str, ...]:
    """Kills for want of memory, in its cgroup or by the kernel's log."""
    if f.group.killed and f.group.killed_ago is not None:
        return (f"the kernel killed {f.group.killed} for want of memory {span(f.group.killed_ago)} ago",)
    if f.group.kills:
        return (f"{count(f.group.kills)} processes of its cgroup were killed for want of memory so far",)
    if f.group.limit and f.group.left is not None and f.group.left < 0.1 * f.group.limit:
        return (f"only {share(f.group.left / f.group.limit)} of its limit are left",)
    return ()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
