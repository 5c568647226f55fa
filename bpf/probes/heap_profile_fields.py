"""What the probe ``heap-profile`` can tell, name by name.

Not here: measuring it (``bpf.probes.heap_profile``).
"""

from __future__ import annotations

from engine.values import Field

FIELDS: dict[str, Field] = {
    "inuse_bytes": Field(help="live heap, as the agent's own profile says", unit="bytes"),
    "inuse_objects": Field(help="how many objects that are"),
    "grown_bytes": Field(help="last profile of the window minus the first", unit="bytes"),
    "growth_bytes_per_s": Field(help="that, by second", unit="bytes/s"),
    "growing": Field(
        help="it grew at one site at least by more than twice the profile's own sampling error", type="bool"
    ),
    "refreshed": Field(
        help="the profile changed in the window; Go's is as of the last garbage collection", type="bool"
    ),
    "idle_bytes": Field(
        help="memory that Go's runtime keeps although nothing lives in it, and has not given back",
        unit="bytes",
    ),
    "collections": Field(help="garbage collections so far, as Go counts them"),
    "top_site": Field(
        help="function that allocated most of the growth, of the live heap when nothing grew", type="text"
    ),
    "top_site_bytes": Field(help="live bytes it allocated", unit="bytes"),
    "top_site_bytes_per_s": Field(help="their growth", unit="bytes/s"),
    "top_site_share": Field(help="its share of the growth, of the live heap when nothing grew", unit="share"),
    "sample_bytes": Field(help="one allocation in so many bytes is sampled by the agent", unit="bytes"),
    "format": Field(help="what the page gave: pprof or text", type="text"),
    "sites": Field(help="one row per place that allocated: its stack, live bytes and growth", type="rows"),
}
