"""The three ways for a map to fill, each from the numbers that tell it from the other two.

Owners that are gone make a leak; owners that live and use their entries again and again make a map that
is too small; owners that live and never use an entry twice make cardinality.

Not here: taking the numbers (``map_facts``), ranking (``map_pressure``).
"""

from __future__ import annotations

from bpf.diagnoses.map_facts import BELIEVED, HARDLY_USED, IN_USE, STALE, Facts
from bpf.diagnoses.wording import count, kept, octets, share, span
from engine.values import Cause

LEAK, SMALL, CARDINALITY = "entries-leak", "map-too-small", "key-cardinality"


def leak(facts: Facts) -> Cause | None:
    """Entries stay behind when their owner is gone; or, with owners unknown, nothing ever leaves."""
    if facts.stale is None:
        return _never_removed(facts)
    if (facts.stale_low or 0.0) < STALE:
        return None
    entries = facts.stale_entries or 0.0
    left = facts.entries - entries
    return Cause(
        name=LEAK,
        sentence=(
            f"{share(facts.stale)} of the entries of {facts.name} belong to owners that are gone"
            f" ({count(entries)} of {count(facts.entries)})"
        ),
        confidence=min(0.98, 0.6 + facts.stale / 2) * BELIEVED.get(facts.key_source, 0.5),
        explains=facts.stale,
        speaks_for=kept(
            f"{count(facts.checked or 0)} entries were checked at two looks; their owners were gone at both",
            f"{facts.key_words}",
            f"the owners of {count(facts.owners)} different ids were looked for,"
            f" {count(facts.live_owners)} are alive"
            if facts.owners is not None and facts.live_owners is not None
            else "",
            f"nothing was removed in {span(facts.window_s)}" if facts.went == 0 else "",
            f"half of the entries were not used for {span(facts.unused_s)}" if facts.unused_s else "",
            _memory(facts, entries),
        ),
        speaks_against=kept(
            f"{count(facts.went)} entries/s disappear: something is cleaned" if facts.went else "",
            "whose the entries are is a guess from a sample" if facts.key_source == "sampled" else "",
        ),
        arithmetic=kept(
            f"{count(facts.entries)} entries − {count(entries)} of gone owners = {count(left)},"
            f" {share(left / facts.most)} of {count(facts.most)}",
            _comes_back(facts, left),
        ),
        settles="see where the agent deletes entries: when a process ends, when a connection closes?",
        fix="the agent must delete an entry when its owner ends; until then clean from outside, or LRU",
    )


def too_small(facts: Facts) -> Cause | None:
    """All entries are alive and in use, and there are hardly new ones: more are wanted than fit."""
    if facts.ever_new and (facts.used or 0.0) < IN_USE:
        return None
    if facts.used is not None and facts.used < HARDLY_USED:
        return None
    sure = 0.5 if facts.used is None else 0.95 if facts.used >= IN_USE else 0.6
    if facts.stale is None:
        sure *= 0.85
    if facts.ever_new:
        sure *= 0.6  # used ones among ever new ones: a mixture
    if facts.fill < 0.9:
        sure *= 0.7
    wanted = _wanted(facts)
    return Cause(
        name=SMALL,
        sentence=(
            f"{facts.name} holds {count(facts.most)} entries and all of them are in use:"
            f" it is too small for what its owners need"
            if facts.full
            else f"{share(facts.fill)} of {facts.name} is in use, by owners that are alive"
        ),
        confidence=sure,
        explains=facts.live if facts.live is not None else 1.0,
        speaks_for=kept(
            f"{share(facts.used)} of the entries were used within {span(facts.window_s)}"
            if facts.used is not None
            else "",
            f"the owners of {share(facts.live)} of the entries are alive" if facts.live is not None else "",
            "no key was new in the window" if facts.first_seen == 0 else "",
            f"{count(facts.refused)} entries/s did not fit" if facts.refused else "",
        ),
        speaks_against=kept(
            f"{count(facts.first_seen)} keys/s were never seen before" if facts.first_seen else "",
            "no entry was refused, as the agent counts" if facts.refused == 0 and facts.full else "",
            "whether owners are alive is unknown" if facts.stale is None else "",
        ),
        arithmetic=kept(wanted),
        settles="count the agent's owners (processes, connections) at the busiest time",
        fix="a larger map, within the memory there is",
    )


def cardinality(facts: Facts) -> Cause | None:
    """Owners that are alive make ever new keys, and do not use them again."""
    idle = facts.used is not None and facts.used < HARDLY_USED
    pushing = bool(facts.ever_new) or (facts.full and idle and bool(facts.refused))
    if not pushing and not (facts.full and idle):
        return None
    if facts.used is not None and facts.used >= IN_USE and not facts.ever_new:
        return None
    sure = 0.92 if pushing and idle else 0.6
    if facts.stale is None:
        sure *= 0.5  # a leak of owners that nobody can check looks the same
    return Cause(
        name=CARDINALITY,
        sentence=(
            f"living owners make ever new keys in {facts.name}"
            f" ({count(_pushing(facts))} a second) and hardly use one again"
        ),
        confidence=sure,
        explains=facts.live if facts.live is not None else 0.9,
        speaks_for=kept(
            f"{count(facts.first_seen)} keys/s were never seen before" if facts.first_seen else "",
            f"{share(facts.used)} of the entries were used within {span(facts.window_s)}"
            if facts.used is not None
            else "",
            f"the owners of {share(facts.live)} of the entries are alive" if facts.live is not None else "",
            f"each living owner has {count(facts.per_owner)} entries" if facts.per_owner else "",
            f"{count(facts.refused)} entries/s did not fit" if facts.refused else "",
        ),
        speaks_against=kept(
            "whether owners are alive is unknown: it may be a leak" if facts.stale is None else "",
            f"{share(facts.used)} of the entries were used again"
            if facts.used is not None and facts.used >= HARDLY_USED
            else "",
        ),
        arithmetic=kept(
            f"an entry stays {span(facts.lifetime_s)}: {count(facts.entries)} / {count(facts.went or 0)}/s"
            if facts.lifetime_s
            else "",
            f"a larger map only lasts longer: {count(facts.most)} more entries last"
            f" {span(facts.most / rate)} at {count(rate)} new keys a second"
            if (rate := _pushing(facts))
            else "",
        ),
        settles="which part of the key takes ever new values (a port, an address, a request id)?",
        fix="leave that part out of the key, aggregate, delete sooner, or let old entries go (LRU)",
    )


def _pushing(facts: Facts) -> float:
    """New keys a second: those that got in, or those that did not."""
    return max(facts.first_seen or 0.0, facts.refused or 0.0)


def _never_removed(facts: Facts) -> Cause | None:
    """Owners can't be checked: entries come, none goes, none is used again."""
    unused = facts.used is not None and facts.used < HARDLY_USED
    grows = bool(facts.ever_new) or (facts.growth or 0.0) > 0
    if not facts.never_removed or not unused or not (grows or facts.full):
        return None
    return Cause(
        name=LEAK,
        sentence=f"no entry of {facts.name} is ever removed, and hardly one is used again",
        confidence=0.5,
        explains=0.9,
        speaks_for=kept(
            f"{count(facts.came)} keys/s came in {span(facts.window_s)}, none went" if facts.came else "",
            f"{share(facts.used)} of the entries were used in that time" if facts.used is not None else "",
            f"half of the entries were not used for {span(facts.unused_s)}" if facts.unused_s else "",
        ),
        speaks_against=(
            "whether their owners are gone is unknown: they may be ever new keys of living ones",
        ),
        settles="say in the agent's profile where a process id stands: maps: NAME: key: {pid_at: 0}",
        fix="the agent must delete what is no longer used, or the map let old entries go (LRU)",
    )


def _comes_back(facts: Facts, left: float) -> str:
    """When the map is full again after a cleaning."""
    rate = max(facts.growth or 0.0, facts.refused or 0.0)
    if not rate:
        return ""
    return (
        f"cleaned, it is full again in {span((facts.most - left) / rate)}:"
        f" ({count(facts.most)} − {count(left)}) / {count(rate)} entries/s"
    )


def _wanted(facts: Facts) -> str:
    """How many entries are wanted, where refusals tell it."""
    if not facts.refused or not facts.used_per_s:
        return ""
    most = facts.entries * (1 + facts.refused / facts.used_per_s)
    return (
        f"at most {count(most)} entries are wanted: {count(facts.entries)} ·"
        f" (1 + {count(facts.refused)} refused / {count(facts.used_per_s)} used a second)"
    )


def _memory(facts: Facts, entries: float) -> str:
    if not facts.bytes or not facts.entries:
        return ""
    return f"they take about {octets(facts.bytes * entries / facts.entries)} of memory"
