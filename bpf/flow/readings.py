"""From samples and counts to the readings, charts and table of ``event-flow``.

Its promise: every number says where it comes from, and what can't be known is missing with its
reason. Bytes become events only by a record size that is fixed or was learned from the agent's
own count, and then it says so.

Not here: sampling (``bpf.flow.sampling``), the analysis itself (``positions``, ``bursts``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from bpf.flow import charts
from bpf.flow.bursts import Arrivals, arrivals_of, offered_bytes, spread_losses
from bpf.flow.counting import Tally
from bpf.flow.positions import Fill, Reader, fill_of, reader_of
from bpf.flow.trace import Trace, reader_states, record_in_ring, step_of
from engine.values import Reading, Scalar, Series

#: Fewer received events than this can't teach a record size.
ENOUGH_TO_LEARN = 100
NO_RING = "no ring buffer whose positions can be seen"
CUT_SHORT = "the window was cut short: too little was seen"


@dataclass(frozen=True, slots=True)
class RingSeen:
    """One ring over one window: its traces, more than one when the agent replaced it.

    Attributes:
        record_bytes: Sizes, header included, of records that were seen there; empty when none was.
    """

    name: str
    map_id: int
    traces: tuple[Trace, ...]
    record_bytes: tuple[int, ...] = ()

    @property
    def longest(self) -> Trace:
        """The stretch that the ring's picture is drawn from."""
        return max(self.traces, key=lambda trace: trace.seconds)

    @property
    def seconds(self) -> float:
        """Time in which it was seen."""
        return sum(trace.seconds for trace in self.traces)

    def moved(self) -> tuple[int, int]:
        """Bytes accepted and bytes taken over all stretches."""
        ends = [trace for trace in self.traces if len(trace.times) > 1]
        return (
            sum(trace.producer[-1] - trace.producer[0] for trace in ends),
            sum(trace.consumer[-1] - trace.consumer[0] for trace in ends),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that one window gave.

    Attributes:
        rings: Those whose positions were seen.
        dropped: Stage → count of losses there.
        payload_bytes: Size of one record without header, when fixed.
        epoch_offset: Seconds to add to the monotonic times to get epoch seconds.
        no_ring: Why there are no rings, when there are none.
    """

    rings: tuple[RingSeen, ...]
    dropped: dict[str, Tally] = field(default_factory=dict)
    received: Tally | None = None
    payload_bytes: int | None = None
    epoch_offset: float = 0.0
    no_ring: str = NO_RING


@dataclass(frozen=True, slots=True)
class Picture:
    """The ring that matters most, worked out."""

    ring: RingSeen
    trace: Trace
    fill: Fill
    reader: Reader
    arrivals: Arrivals


@dataclass(frozen=True, slots=True)
class Record:
    """What one event takes in the ring, header included; None when unknown.

    Attributes:
        source: How it is known, or why it is not.
    """

    size: float | None
    fixed: bool
    source: str


def record_of(seen: Seen) -> Record:
    """The record size: as seen there, the profile's, bytes over the agent's own count, else unknown."""
    if sizes := [size for ring in seen.rings for size in ring.record_bytes]:
        fixed, source = min(sizes) == max(sizes), f"mean of {len(sizes)} records seen in the buffer"
        return Record(sum(sizes) / len(sizes), fixed, source)
    if seen.payload_bytes:
        return Record(float(record_in_ring(seen.payload_bytes)), True, "the profile's fixed record size")
    accepted = sum(ring.moved()[0] for ring in seen.rings)
    count = seen.received
    if count and count.known and count.grown >= ENOUGH_TO_LEARN and accepted:
        seconds = max(ring.seconds for ring in seen.rings)
        return Record(accepted / seconds / count.per_s, False, f"learned: ring bytes over {count.label}")
    return Record(None, False, "the size of its records is neither fixed nor counted by the agent")


def pictures_of(seen: Seen, record: Record) -> list[Picture]:
    """Every ring worked out, the one most in trouble first; losses are laid over that one."""
    bare = [(ring, fill_of(ring.longest, record.size or step_of(ring.longest))) for ring in seen.rings]
    bare.sort(key=lambda item: (item[1].full_share, item[1].peak, item[0].moved()[0]), reverse=True)
    count = seen.dropped.get("ring")
    pictures = []
    for place, (ring, fill) in enumerate(bare):
        trace = ring.longest
        if count and count.known and place == 0 and not trace.lost:
            trace = replace(trace, lost=spread_losses(trace, count.counts, record.size))
        states = reader_states(trace)
        reader = reader_of(trace, states)
        arrivals = arrivals_of(trace, states, reader.service, record.size)
        pictures.append(Picture(ring, trace, fill, reader, arrivals))
    return pictures


class Sheet:
    """Readings as they are written down: a value with its source, or why there is none."""

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}

    def put(
        self, name: str, value: Scalar, unit: str = "", source: str = "ring positions", missing: str = ""
    ) -> None:
        """Write one down; a value of None needs ``missing``."""
        if value is None:
            self.readings[name] = Reading(unit=unit, missing=missing or "could not be measured")
        else:
            self.readings[name] = Reading(value=value, unit=unit, source=source)


def ring_readings(sheet: Sheet, picture: Picture, record: Record) -> None:
    """What the ring's positions tell by themselves."""
    trace, fill, reader, arrivals = picture.trace, picture.fill, picture.reader, picture.arrivals
    put, seconds = sheet.put, trace.seconds or 1.0
    put("ring_name", picture.ring.name, source="bpf map info")
    put("ring_map_id", picture.ring.map_id, source="bpf map info")
    put("ring_bytes", trace.size, "bytes", "bpf map info")
    put("fill_peak", fill.peak, "share")
    put("fill_mean", fill.mean, "share")
    put("full_share", fill.full_share, "share")
    put("full_spells", len(fill.spells))
    put("full_longest_s", max((b - a for a, b in fill.spells), default=0.0), "s")
    put("spare_bytes", fill.spare_bytes, "bytes")
    put("fill_after_drain", reader.fill_after_drain, "share", missing="the reader took nothing")
    put("drains_to_zero_share", reader.drains_to_zero_share, "share", missing="the reader took nothing")
    put("consumer_moved", reader.moved)
    put("consumer_flat_longest_s", reader.flat_longest_s, "s")
    put("asleep_share", reader.asleep_share, "share")
    put("held_up_share", reader.held_up_share, "share")
    put(
        "poll_interval_s",
        reader.poll_interval_s,
        "s",
        "median time without movement while data waited",
        "no staircase: the reader woke for data, or never",
    )
    put("service_is_limit", reader.service_exact)
    put("samples", len(trace.times))
    put("sample_interval_s", seconds / max(1, len(trace.times) - 1), "s")
    put("pattern", arrivals.pattern)
    even = "the arrivals came in no bursts"
    put("burst_s", arrivals.burst_s, "s", missing=even)
    put("burst_spacing_s", arrivals.spacing_s, "s", missing=even if arrivals.burst is None else "one burst")
    _events(sheet, "burst_in_per_s", Rate(arrivals.burst, even), record)
    limit = "while behind" if reader.service_exact else "at least: never seen at its limit"
    taken = reader.service if reader.moved else None
    _events(
        sheet, "service_per_s", Rate(taken, "the reader took nothing", f"ring positions, {limit}"), record
    )
    least = record.size or max(0.01 * trace.size, step_of(trace))
    uncounted = not trace.lost and fill.spare_bytes < least
    put(
        "burst_bytes",
        None if uncounted else arrivals.needed_bytes,
        "bytes",
        "highest backlog of a ring without limit",
        f"more than the ring's {trace.size}: what a full ring refused is not counted",
    )


def rate_readings(sheet: Sheet, seen: Seen, record: Record) -> None:
    """Bytes and events in and out, over all rings."""
    if seen.rings:
        rates = [(ring.moved(), ring.seconds or 1.0) for ring in seen.rings]
        accepted = sum(moved[0] / seconds for moved, seconds in rates)
        taken = sum(moved[1] / seconds for moved, seconds in rates)
        sheet.put("bytes_in_per_s", accepted, "bytes/s")
        sheet.put("bytes_out_per_s", taken, "bytes/s")
        _events(sheet, "accepted_per_s", Rate(accepted), record)
        _events(sheet, "out_per_s", Rate(taken), record)
    else:
        none = seen.no_ring
        for name in ("bytes_in_per_s", "bytes_out_per_s"):
            sheet.put(name, None, "bytes/s", missing=none)
        received = seen.received if seen.received and seen.received.known else None
        for name in ("accepted_per_s", "out_per_s"):
            label = received.label if received else ""
            sheet.put(name, received.per_s if received else None, "events/s", label, none)
    sheet.put("record_bytes", record.size, "bytes", record.source, record.source)
    sheet.put("record_size_fixed", record.fixed, source=record.source)


def charts_of(seen: Seen, picture: Picture, record: Record) -> dict[str, Series]:
    """Fill, arrivals, what was taken and what was lost over the window."""
    trace = picture.trace
    times = [moment + seen.epoch_offset for moment in trace.times]
    used = [
        min(1.0, (producer - consumer) / trace.size)
        for producer, consumer in zip(trace.producer, trace.consumer, strict=True)
    ]
    per, unit = (record.size, "events/s") if record.size else (1.0, "bytes/s")
    arrived = [amount / per for amount in offered_bytes(trace, record.size)]
    taken = [(b - a) / per for a, b in pairwise(trace.consumer)]
    drawn = {
        "fill": charts.peaks("ring in use", "share", times, used),
        "in": charts.rates("arriving", unit, times, arrived),
        "out": charts.rates("taken by the reader", unit, times, taken),
    }
    if trace.lost:
        lost = [b - a for a, b in pairwise(trace.lost)]
        drawn["dropped"] = charts.rates("lost at the ring", "events/s", times, lost)
    return drawn


def rows_of(pictures: Sequence[Picture]) -> tuple[dict[str, Scalar], ...]:
    """One row per ring, for people."""
    rows: list[dict[str, Scalar]] = []
    for picture in pictures:
        accepted, taken = picture.ring.moved()
        seconds = picture.ring.seconds or 1.0
        rows.append(
            {
                "map": picture.ring.map_id,
                "name": picture.ring.name,
                "bytes": picture.trace.size,
                "bytes_in_per_s": accepted / seconds,
                "bytes_out_per_s": taken / seconds,
                "fill_peak": picture.fill.peak,
                "fill_mean": picture.fill.mean,
                "full_share": picture.fill.full_share,
            }
        )
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes per second that are to be told as events, or why there are none."""

    bytes_per_s: float | None
    missing: str = ""
    source: str = "ring positions"


def _events(sheet: Sheet, name: str, rate: Rate, record: Record) -> None:
    """A byte rate as events per second, as far as the record size is known."""
    if rate.bytes_per_s is None:
        sheet.put(name, None, "events/s", missing=rate.missing)
    elif record.size is None:
        sheet.put(name, None, "events/s", missing=record.source)
    else:
        source = rate.source if record.fixed else f"{rate.source}, {record.source}"
        sheet.put(name, rate.bytes_per_s / record.size, "events/s", source)
