"""Every reading that ``event-flow`` gives, with its meaning and unit."""

from __future__ import annotations

from engine.values import Field


def _number(about: str, unit: str = "") -> Field:
    return Field(help=about, unit=unit)


FIELDS: dict[str, Field] = {
    "in_per_s": _number("events that wanted into the ring: accepted and refused", "events/s"),
    "accepted_per_s": _number("events that the ring accepted", "events/s"),
    "out_per_s": _number("events that the reader took", "events/s"),
    "dropped_per_s": _number("events lost at every stage that is counted", "events/s"),
    "dropped_ring_per_s": _number("events lost because the ring was full", "events/s"),
    "dropped_behind_per_s": _number("events lost in the agent's queue or exporter", "events/s"),
    "dropped_reader_per_s": _number("of them, at the agent's reader", "events/s"),
    "dropped_queue_per_s": _number("of them, in the agent's own queue", "events/s"),
    "dropped_exporter_per_s": _number("of them, at its exporter", "events/s"),
    "dropped_total": _number("events lost in the window, every stage", "events"),
    "lost_share": _number("share of the arriving events that was lost", "share"),
    "drop_source": Field(help="what counted the losses", type="text"),
    "drop_count_known": Field(help="whether the losses at the ring are counted or ruled out", type="bool"),
    "bytes_in_per_s": _number("bytes that the ring accepted", "bytes/s"),
    "bytes_out_per_s": _number("bytes that the reader took", "bytes/s"),
    "record_bytes": _number("bytes of one record in the ring, with its header", "bytes"),
    "record_size_fixed": Field(help="whether all records are of that size", type="bool"),
    "ring_bytes": _number("size of the ring", "bytes"),
    "ring_name": Field(help="name of the ring's map", type="text"),
    "ring_map_id": _number("id of the ring's map"),
    "fill_peak": _number("highest share of the ring in use", "share"),
    "fill_mean": _number("mean share of the ring in use", "share"),
    "fill_after_drain": _number("mean share still in use when the reader stops after a drain", "share"),
    "drains_to_zero_share": _number("share of the reader's drains that emptied the ring", "share"),
    "full_share": _number("share of the time at which the ring was full", "share"),
    "full_spells": _number("times that the ring ran full"),
    "full_longest_s": _number("longest time for which it stayed full", "s"),
    "spare_bytes": _number("bytes of the ring that surely stayed free all the time", "bytes"),
    "pattern": Field(
        help="how events arrive: quiet, steady, bursts, sustained (more than is taken)", type="text"
    ),
    "burst_s": _number("median length of a burst", "s"),
    "burst_spacing_s": _number("median time from one burst to the next", "s"),
    "burst_in_per_s": _number("arriving events inside the bursts", "events/s"),
    "burst_bytes": _number("the ring that would have lost nothing in this window", "bytes"),
    "service_per_s": _number("events the reader takes while it is behind", "events/s"),
    "service_is_limit": Field(
        help="whether the reader was seen at its limit; else it can do more", type="bool"
    ),
    "poll_interval_s": _number("median time that the reader stood still while data waited", "s"),
    "asleep_share": _number(
        "share of the time in which data waited for a reader that had caught up", "share"
    ),
    "held_up_share": _number("share of the time in which the reader stood still in a backlog", "share"),
    "consumer_moved": Field(help="whether the reader took anything", type="bool"),
    "consumer_flat_longest_s": _number("longest time without movement while data waited", "s"),
    "samples": _number("looks at the ring"),
    "sample_interval_s": _number("mean time between two looks", "s"),
    "rings": Field(help="one row per ring", type="rows"),
}
