"""What the probe ``allocations`` can tell, name by name.

Not here: measuring it (``bpf.probes.allocations``).
"""

from __future__ import annotations

from engine.values import Field

FIELDS: dict[str, Field] = {
    "allocated_bytes_per_s": Field(help="asked of the allocator", unit="bytes/s"),
    "allocations_per_s": Field(help="calls that gave memory", unit="1/s"),
    "freed_bytes_per_s": Field(
        help="given back of what was allocated while it watched (of older memory the size is not known)",
        unit="bytes/s",
    ),
    "frees_per_s": Field(help="calls that gave memory back", unit="1/s"),
    "older_frees_per_s": Field(
        help="of those, of memory that is older than the watching: a cache at its bound gives back as"
        " much as it takes, a leak never does",
        unit="1/s",
    ),
    "net_allocations_per_s": Field(
        help="allocations minus frees, of any age: near zero for whatever keeps its size", unit="1/s"
    ),
    "net_bytes_per_s": Field(
        help="growth of what the program holds, memory of any age counted, in the allocator's own sizes"
        " (glibc only)",
        unit="bytes/s",
    ),
    "net_low": Field(help="low end of its 95 % range", unit="bytes/s"),
    "net_high": Field(help="high end of its 95 % range", unit="bytes/s"),
    "outstanding_bytes": Field(help="allocated while it watched and not freed at its end", unit="bytes"),
    "outstanding_count": Field(help="how many allocations that are"),
    "outstanding_bytes_per_s": Field(
        help="growth of what is not freed: what was allocated in the first half and outlived the second",
        unit="bytes/s",
    ),
    "outstanding_low": Field(help="low end of its 95 % range", unit="bytes/s"),
    "outstanding_high": Field(help="high end of its 95 % range", unit="bytes/s"),
    "growing": Field(
        help="the whole range is above zero, and older memory is not given back instead", type="bool"
    ),
    "survival_share": Field(
        help="of the bytes allocated in the first half, the share that outlived the window", unit="share"
    ),
    "old_bytes": Field(help="not freed and older than half of the watching: suspicious", unit="bytes"),
    "top_site": Field(help="function that called the allocator for most of the old bytes", type="text"),
    "top_site_bytes": Field(help="its bytes that are not freed", unit="bytes"),
    "top_site_bytes_per_s": Field(help="their growth", unit="bytes/s"),
    "top_site_share": Field(help="its share of all that is not freed and old", unit="share"),
    "allocator": Field(help="whose functions were watched: file and symbols", type="text"),
    "go": Field(
        help="it is a Go program: only what its C parts allocate is seen here, Go's heap by heap-profile",
        type="bool",
    ),
    "sampled_one_in": Field(help="one of how many allocations was followed; the figures are scaled by it"),
    "watched_s": Field(help="how long it watched: less than the window when its budget ran out", unit="s"),
    "probe_hits_per_s": Field(help="probe hits, 1 to 7 µs of the target each", unit="1/s"),
    "not_followed": Field(help="allocations that found no room in our table, so are in no figure"),
    "unresolved_share": Field(help="share of the bytes not freed whose site has no name", unit="share"),
    "sites": Field(
        help="one row per place that allocated: its stack and what is not freed of it", type="rows"
    ),
}
