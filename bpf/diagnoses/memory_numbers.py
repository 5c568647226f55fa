"""What ``memory-growth`` reads from the case, by subject: heap, allocation sites, BPF maps, cgroup.

Its promise: a number that was not measured is None here, so a rule has to say what it does without
it. Bytes, bytes a second, shares from 0 to 1.

Not here: what follows from the numbers (``memory_facts``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.values import Case, Scalar


class Heap(msgspec.Struct, frozen=True, kw_only=True):
    """Private anonymous memory of the processes; bytes, bytes a second, shares."""

    anon: float | None
    slope: float | None
    low: float | None
    high: float | None
    growing: bool | None
    grown: float | None
    early: float | None
    late: float | None
    slowing: float | None
    plateau: bool
    touching: bool
    bytes: float | None
    free: float | None
    free_share: float | None
    read_share: float | None
    peak: float | None


class Sites(msgspec.Struct, frozen=True, kw_only=True):
    """What is allocated and not freed: watched at the allocator, or told by the agent's own profile."""

    watched: bool
    growing: bool | None
    per_s: float | None
    survival: float | None
    net: float | None
    allocations: float | None
    older_frees: float | None
    site: str
    site_share: float | None
    site_per_s: float | None
    stack: str
    profiled: bool
    inuse: float | None


class Maps(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the BPF maps, and the fullest map that refuses what does not fit."""

    bytes: float | None
    slope: float | None
    growing: bool | None
    top: str
    top_slope: float | None
    name: str = ""
    type: str = ""
    entries: float | None = None
    most: float | None = None
    fill: float | None = None
    growth: float | None = None
    new: float | None = None
    gone: float | None = None
    full_in: float | None = None
    entry_bytes: float | None = None
    preallocated: bool = False
    evicts: bool = False
    refused: float | None = None
    stale: float | None = None
    stale_low: float | None = None
    stale_entries: float | None = None
    checked: float | None = None
    owners: float | None = None
    live_owners: float | None = None
    unused_s: float | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The memory cgroup, the limit that is reached first, and kills."""

    bytes: float | None
    slope: float | None
    growing: bool | None
    kernel_slope: float | None
    others: float | None
    limit: float | None
    left: float | None
    limit_in: float | None
    host: float | None
    kills: float | None
    killed: str
    killed_ago: float | None


def heap_of(case: Case) -> Heap:
    """From the probe ``memory``."""
    n = case.number
    return Heap(
        anon=n("memory.anon_bytes"),
        slope=n("memory.slope_bytes_per_s"),
        low=n("memory.slope_low"),
        high=n("memory.slope_high"),
        growing=_flag(case, "memory.growing"),
        grown=n("memory.grown_bytes"),
        early=n("memory.early_slope_bytes_per_s"),
        late=n("memory.late_slope_bytes_per_s"),
        slowing=n("memory.slowing"),
        plateau=bool(n("memory.plateau")),
        touching=bool(n("memory.touching")),
        bytes=n("memory.heap_bytes"),
        free=n("memory.heap_free_bytes"),
        free_share=n("memory.heap_free_share"),
        read_share=n("memory.heap_read_share"),
        peak=n("memory.peak_bytes"),
    )


def sites_of(case: Case) -> Sites:
    """The agent's own profile where it has one, the watched allocator otherwise."""
    n = case.number
    profiled = n("heap.inuse_bytes") is not None
    own = "heap" if profiled and n("heap.growth_bytes_per_s") is not None else "alloc"
    return Sites(
        watched="alloc" in case.evidence,
        growing=_flag(case, f"{own}.growing"),
        per_s=n("heap.growth_bytes_per_s") if own == "heap" else n("alloc.outstanding_bytes_per_s"),
        survival=n("alloc.survival_share"),
        net=n("alloc.net_bytes_per_s") if own == "alloc" else None,
        allocations=n("alloc.allocations_per_s"),
        older_frees=n("alloc.older_frees_per_s"),
        site=case.text(f"{own}.top_site") or "",
        site_share=n(f"{own}.top_site_share"),
        site_per_s=n(f"{own}.top_site_bytes_per_s"),
        stack=_top_stack(case, own),
        profiled=profiled,
        inuse=n("heap.inuse_bytes"),
    )


def _top_stack(case: Case, own: str) -> str:
    """The calls that lead to the top site, the innermost first."""
    seen = case.evidence.get(own)
    rows = seen.tables.get("sites", ()) if seen is not None else ()
    return str(rows[0].get("stack") or "") if rows else ""


def maps_of(case: Case) -> Maps:
    """From ``memory`` and ``map-fill``: of the map that was watched, or of one that grows instead."""
    n = case.number
    watched = _watched(case)
    soonest = n("maps.soonest_id")
    if soonest is None or soonest == n("maps.id"):
        return watched
    rows = case.evidence["maps"].tables.get("maps", ())
    row = next((row for row in rows if row.get("id") == soonest), {})
    return Maps(
        bytes=watched.bytes,
        slope=watched.slope,
        growing=watched.growing,
        top=watched.top,
        top_slope=watched.top_slope,
        name=case.text("maps.soonest_map") or "",
        type=str(row.get("type") or ""),
        entries=_number(row, "entries"),
        most=_number(row, "max_entries"),
        fill=_number(row, "fill_share"),
        growth=n("maps.soonest_growth_per_s"),
        full_in=n("maps.soonest_full_in_s"),
    )


def _number(row: Mapping[str, Scalar], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else None


def _watched(case: Case) -> Maps:
    """As it stands in the readings."""
    n = case.number
    return Maps(
        bytes=n("memory.map_bytes"),
        slope=n("memory.map_slope_bytes_per_s"),
        growing=_flag(case, "memory.map_growing"),
        top=case.text("memory.top_map") or "",
        top_slope=n("memory.top_map_slope_bytes_per_s"),
        name=case.text("maps.name") or "",
        type=case.text("maps.type") or "",
        entries=n("maps.entries"),
        most=n("maps.max_entries"),
        fill=n("maps.fill_share"),
        growth=n("maps.growth_per_s"),
        new=n("maps.new_keys_per_s"),
        gone=n("maps.gone_keys_per_s"),
        full_in=n("maps.full_in_s"),
        entry_bytes=n("maps.entry_bytes"),
        preallocated=bool(n("maps.preallocated")),
        evicts=bool(n("maps.evicts")),
        refused=n("maps.refused_per_s"),
        stale=n("maps.stale_share"),
        stale_low=n("maps.stale_low"),
        stale_entries=n("maps.stale_entries"),
        checked=n("maps.checked_entries"),
        owners=n("maps.owners"),
        live_owners=n("maps.live_owners"),
        unused_s=n("maps.unused_s"),
    )


def group_of(case: Case) -> Group:
    """From the probe ``memory``."""
    n = case.number
    return Group(
        bytes=n("memory.cgroup_bytes"),
        slope=n("memory.cgroup_slope_bytes_per_s"),
        growing=_flag(case, "memory.cgroup_growing"),
        kernel_slope=n("memory.cgroup_kernel_slope_bytes_per_s"),
        others=n("memory.cgroup_others"),
        limit=n("memory.limit_bytes"),
        left=n("memory.left_bytes"),
        limit_in=n("memory.limit_in_s"),
        host=n("memory.host_available_bytes"),
        kills=n("memory.oom_kills"),
        killed=case.text("memory.oom_last_comm") or "",
        killed_ago=n("memory.oom_last_ago_s"),
    )


def _flag(case: Case, path: str) -> bool | None:
    value = case.number(path)
    return None if value is None else bool(value)


def first(case: Case, *paths: str) -> float | None:
    """The first of several numbers that is known."""
    return next((value for path in paths if (value := case.number(path)) is not None), None)
