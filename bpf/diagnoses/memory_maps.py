"""Causes of memory growth in BPF maps: entries that nobody removes, and memory that no process shows.

Its promise: a map is named with its entries, its bound and the arithmetic from entries to bytes; a map
that evicts by itself (LRU) is never called unbounded.

Not here: the heap (``memory_heap``), ranking (``memory_growth``). Reasoning: ``docs/memory-leak.md``.
"""

from __future__ import annotations

from bpf.diagnoses.memory_facts import Facts
from bpf.diagnoses.wording import count, kept, octets, share, span
from engine.values import Cause

#: Weight of the cause that tells the same map's growth less to the point.
SECOND = 0.7


def stale_entries(f: Facts) -> Cause | None:
    """Most entries belong to processes that are gone."""
    if not f.stale:
        return None
    m = f.maps
    part, entries = m.stale or 0.0, m.entries or 0.0
    return Cause(
        name="stale-map-entries",
        sentence=f"{share(part)} of the {count(entries)} entries of map {m.name} belong to processes that are"
        " gone: nobody removes them when they end",
        confidence=0.95 if (m.checked or 0) >= 100 else 0.75,
        explains=f.share(f.map_growth),
        speaks_for=kept(
            f"{count(m.stale_entries or 0.0)} entries without an owner, by {count(m.checked or 0.0)} that"
            " were checked twice",
            f"{count(m.live_owners)} of {count(m.owners)} owners are alive"
            if m.owners and m.live_owners is not None
            else "",
            _comes_and_goes(f) if f.entries_grow else "",
            f"the agent counts {count(m.refused)} entries/s that found no room" if m.refused else "",
        ),
        speaks_against=kept(
            "it does not grow now: they may be left from an earlier time" if not f.entries_grow else "",
        ),
        arithmetic=_map_arithmetic(f),
        settles="delete them (map-cleanup) and watch how fast they come again",
        fix="the agent must delete its entry when a process ends; until then LRU, or cleaning from outside",
    )


def unbounded(f: Facts) -> Cause | None:
    """Keys come to a map and hardly any go; their owners live."""
    if not f.entries_grow:
        return None
    m = f.maps
    unknown = m.stale is None
    entries, most = m.entries or 0.0, m.most or 0.0
    full = entries >= 0.98 * most
    return Cause(
        name="unbounded-map",
        sentence=f"map {m.name} is full and refuses entries: keys come, none go"
        if full
        else f"map {m.name} takes {count(m.growth or 0.0)} entries/s and gives hardly any back: nobody"
        " cleans it",
        confidence=0.4 if f.stale else 0.75 if unknown else 0.9,
        # What bites first is told first: full maps, or memory (map-memory-unseen, of the same map).
        explains=f.share(f.map_growth) * (SECOND if f.threatens else 1.0),
        speaks_for=kept(
            _comes_and_goes(f),
            f"{count(entries)} of {count(most)} entries ({share(m.fill or 0.0)})" if most else "",
            f"only {share(m.stale)} of the checked entries belong to processes that are gone"
            if m.stale is not None and not f.stale
            else "",
            f"an entry was last used {span(m.unused_s)} ago (median)" if m.unused_s else "",
            f"the agent counts {count(m.refused)} entries/s that found no room" if m.refused else "",
        ),
        speaks_against=kept(
            f"{share(m.stale or 0.0)} of the entries have lost their owner: that tells more"
            if f.stale
            else "",
            "whose the entries are is not known" if unknown else "",
        ),
        arithmetic=_map_arithmetic(f),
        settles="whether the agent removes entries at all: gone_keys_per_s over a longer window",
        fix="the agent must remove entries it no longer needs; LRU bounds the map by itself",
    )


def unseen(f: Facts) -> Cause | None:
    """The cgroup grows, the processes do not: it is memory of BPF maps."""
    m, g = f.maps, f.group
    by_maps = bool(m.growing) and (m.slope or 0.0) > 0
    kernel = bool(g.growing) and f.alone and (g.kernel_slope or 0.0) > 0.5 * (g.slope or 0.0) > 0
    if not by_maps and not (kernel and not f.heap_grows):
        return None
    rate = (m.slope if by_maps else g.kernel_slope) or 0.0
    agrees = f.alone and g.slope is not None and by_maps and abs(g.slope - rate) <= 0.3 * rate
    where = f" of map {m.top}" if by_maps and m.top else ""
    return Cause(
        name="map-memory-unseen",
        sentence=f"{octets(rate)}/s of BPF map memory{where} are charged to the cgroup, and no process shows"
        " them as its own"
        if by_maps
        else f"kernel memory of the cgroup grows by {octets(rate)}/s, and its processes do not",
        confidence=0.95 if agrees else 0.8 if by_maps else 0.5,
        explains=f.share(f.map_growth if by_maps else rate) * (SECOND if f.stale or not f.threatens else 1.0),
        speaks_for=kept(
            f"all its maps take {octets(m.bytes)}" if m.bytes is not None else "",
            f"the cgroup grows by {octets(g.slope)}/s, the processes' own memory by"
            f" {octets(f.heap.slope or 0.0)}/s"
            if g.slope is not None and f.alone and not f.heap_grows
            else "",
            f"{m.name} takes memory with each entry (it is not preallocated)"
            if f.entries_grow and not m.preallocated and m.name and m.top.startswith(m.name)
            else "",
        ),
        speaks_against=kept(
            "the memory of its maps could not be read: it may be other kernel memory" if not by_maps else "",
            f"{m.name} will be full before it takes much of what is left"
            if by_maps and not f.threatens
            else "",
            f"{count(g.others)} other processes are in that cgroup" if g.others else "",
            f"the heap grows as well, by {octets(f.heap_growth)}/s" if f.heap_grows else "",
        ),
        arithmetic=_map_arithmetic(f),
        settles="memlock of its maps (bpftool map show) against memory.stat of its cgroup",
        fix="heap profiles won't show it. Give the map a lower max_entries, LRU, or remove entries in time",
    )


def _comes_and_goes(f: Facts) -> str:
    m = f.maps
    came = m.new if m.new is not None else m.growth
    return f"{count(came or 0.0)} keys/s come, {count(m.gone or 0.0)}/s go"


def _map_arithmetic(f: Facts) -> tuple[str, ...]:
    m = f.maps
    growth, most, entries, each = m.growth or 0.0, m.most or 0.0, m.entries or 0.0, m.entry_bytes or 0.0
    room, name = f.room
    grows = f.entries_grow and growth > 0
    left = max(0.0, most - entries)
    return kept(
        f"{count(growth)} entries/s × {count(each)} bytes = {octets(growth * each)}/s"
        + (": its memory was taken when it was made, it only fills" if m.preallocated else "")
        if grows and each
        else "",
        f"({count(most)} − {count(entries)}) / {count(growth)} entries/s = {span(left / growth)} until it"
        " is full"
        if grows and most
        else "",
        f"full it takes {octets(left * each)} more; {octets(room)} are left of {name}"
        if grows and each and not m.preallocated and room
        else "",
        f"{octets(room)} left of {name} / {octets(m.slope)}/s = {span(room / m.slope)} until it is used up"
        if m.growing and m.slope and room
        else "",
    )
