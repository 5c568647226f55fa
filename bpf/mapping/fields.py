"""Every reading that ``map-fill`` gives, with its meaning and unit."""

from __future__ import annotations

from engine.values import Field


def _number(about: str, unit: str = "") -> Field:
    return Field(help=about, unit=unit)


def _text(about: str) -> Field:
    return Field(help=about, type="text")


def _bool(about: str) -> Field:
    return Field(help=about, type="bool")


#: Of the fullest map of the target that refuses what does not fit, or of the one that ``map`` names.
FIELDS: dict[str, Field] = {
    "name": _text("name of the map, as the kernel keeps it (15 characters)"),
    "id": _number("id of the map"),
    "type": _text("kind of map: hash, lru_hash, percpu_hash …"),
    "entries": _number("entries at the end of the window", "entries"),
    "max_entries": _number("entries it can hold", "entries"),
    "fill_share": _number("entries / max_entries", "share"),
    "pressure": _number("fill_share of a map that refuses what does not fit; 0 of one that evicts", "share"),
    "growth_per_s": _number("entries it grew by", "entries/s"),
    "full_in_s": _number("time until it is full at that growth; 0 when it is", "s"),
    "bytes": _number("memory it takes", "bytes"),
    "entry_bytes": _number("memory that one more entry takes, by its type and sizes", "bytes"),
    "key_bytes": _number("size of a key", "bytes"),
    "value_bytes": _number("size of a value; of a per-CPU map on one CPU", "bytes"),
    "key_kind": _text("what a key is: pid, tid, pid-in-key, cgroup, socket, address or unknown"),
    "key_source": _text("how that is known: profile, types (BTF), sampled (looks like live processes)"),
    "pid_at": _number("where in a key the id of the owner stands", "bytes"),
    "pid_size": _number("width of that id", "bytes"),
    "time_at": _number("where in a value the moment of its last use stands", "bytes"),
    "stale_entries": _number("entries whose owner is gone, of all entries", "entries"),
    "stale_share": _number("share of the checked entries whose owner was gone at both looks", "share"),
    "stale_low": _number("the share is at least this, with 95 % confidence", "share"),
    "stale_high": _number("the share is at most this, with 95 % confidence", "share"),
    "checked_entries": _number("entries that were there at both looks and whose owner was looked for"),
    "owners": _number("different owners among the checked entries"),
    "live_owners": _number("owners among them that are alive"),
    "entries_per_owner": _number("checked entries for each owner that is alive", "entries"),
    "new_keys_per_s": _number("keys that appeared", "entries/s"),
    "gone_keys_per_s": _number("keys that disappeared (deleted or evicted)", "entries/s"),
    "churn_per_s": _number("keys that came while as many went: the lesser of the two", "entries/s"),
    "distinct_growth": _number("keys never seen before in the window", "entries/s"),
    "used_share": _number("share of the entries whose value changed in the window: they are in use", "share"),
    "used_per_s": _number("entries whose value changed from one look to the next: at least", "entries/s"),
    "unused_s": _number("median time since an entry's last use, where values tell it", "s"),
    "refused_per_s": _number("entries that did not fit, as the agent counts them", "entries/s"),
    "preallocated": _bool("whether its memory is taken for all entries at once"),
    "per_cpu": _bool("whether it holds a value for each CPU"),
    "evicts": _bool("whether it drops an old entry when it is full (LRU)"),
    "cleanable": _bool("whether entries may be deleted from outside and put back as they were"),
    "maps_bytes": _number("memory of all maps of the target", "bytes"),
    "soonest_map": _text("name of the map that is full first at its growth, of those that refuse then"),
    "soonest_id": _number("its id"),
    "soonest_growth_per_s": _number("entries it grew by", "entries/s"),
    "soonest_full_in_s": _number("time until it is full; ten years when none grows", "s"),
    "maps": Field(help="one row per map of the target, the fullest first", type="rows"),
    "stale": Field(help="some of the entries whose owner is gone", type="rows"),
}
