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
        help="it grew by more than the profile's own sampling error, at one site at least", type="bool"
    ),
    "refreshed": Field(
        help="the profile changed in the window; Go's is as of the last garbage collection", type="bool"
    ),
    "top_site": Field(
        help="function that allocated most of the growth, of the live heap when nothing grew", type="text"
    ),
    "top_site_bytes": Field(help="live bytes it allocated", unit="bytes"),
    "top_site_bytes_per_s": Field(help="their growth", unit="bytes/s"),
    "top_site_share": Field(help="its share of the growth, of the live heap when nothing grew", unit="share"),
    "sample_bytes": Field(help="one allocation in so many bytes is sampled by the agent", unit="bytes"),
    "format": Field(help="what the page gave: pprof or text", type="text"),
}
