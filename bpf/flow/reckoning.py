"""What was lost, at which stage, and by whose count.

Its promise: zero is only said when a counter stood still, or when the positions prove that a
record always fitted; a ring that was full without a counter gives a length of time, no number.

Not here: finding the counters (``bpf.flow.counting``).
"""

from __future__ import annotations

from collections.abc import Sequence

from bpf.flow.counting import Tally
from bpf.flow.readings import Picture, Record, Seen, Sheet
from bpf.flow.trace import step_of

#: Stages that an event reaches after the ring.
BEHIND = ("reader", "queue", "exporter")
#: Without a record size, a ring that always kept this share free is taken not to have refused one.
AMPLE = 0.01
SILENT = "full longer than the counts can tell: nothing counts what a full ring refuses"


def loss_readings(sheet: Sheet, seen: Seen, pictures: Sequence[Picture], record: Record) -> list[str]:
    """Writes all readings about losses; returns the notes that belong to them."""
    notes: list[str] = []
    ring = _counted(seen.dropped, ("ring",))
    behind = _counted(seen.dropped, BEHIND)
    at_ring, ring_total, ring_source = _at_ring(ring, pictures, record)
    behind_rate = sum(tally.per_s for tally in behind) if behind else None
    behind_source = " + ".join(tally.label for tally in behind)
    silent = SILENT if pictures else seen.no_ring
    sheet.put("dropped_ring_per_s", at_ring, "events/s", ring_source, silent)
    sheet.put(
        "dropped_behind_per_s",
        behind_rate,
        "events/s",
        behind_source,
        "no counter of the agent's queue or exporter could be read",
    )
    for stage in BEHIND:
        of_stage = _counted(seen.dropped, (stage,))
        rate = of_stage[0].per_s if of_stage else None
        source = of_stage[0].label if of_stage else ""
        sheet.put(f"dropped_{stage}_per_s", rate, "events/s", source, f"nothing counts losses at the {stage}")
    if behind_rate is None:
        notes.append("loss behind the ring (queue, exporter) can't be seen: no counter of it could be read")
    known = at_ring is not None
    whole = (at_ring or 0.0) + (behind_rate or 0.0)
    source = " + ".join(part for part in (ring_source, behind_source) if part)
    sheet.put("dropped_per_s", whole if known else None, "events/s", source, silent)
    total = ring_total + sum(tally.grown for tally in behind)
    sheet.put("dropped_total", total if known else None, "events", source, silent)
    sheet.put("drop_source", source or ring_source or "none", source="the best at hand")
    sheet.put("drop_count_known", known, source=source or "ring positions")
    _offered(sheet, at_ring, behind_rate, notes)
    return notes


def _counted(dropped: dict[str, Tally], stages: Sequence[str]) -> list[Tally]:
    return [dropped[stage] for stage in stages if stage in dropped and dropped[stage].known]


def _at_ring(
    counted: Sequence[Tally], pictures: Sequence[Picture], record: Record
) -> tuple[float | None, float, str]:
    """Rate and total of losses at the ring, and by what they are known."""
    if counted:
        return counted[0].per_s, counted[0].grown, counted[0].label
    if not pictures:
        return None, 0.0, ""
    full_s = max(sum(b - a for a, b in picture.fill.spells) for picture in pictures)
    source = f"ring full for {full_s * 1000:.0f} ms"
    proven = all(
        picture.fill.spare_bytes
        > (
            record.size
            if record.fixed and record.size
            else max(AMPLE * picture.trace.size, step_of(picture.trace))
        )
        for picture in pictures
    )
    return (0.0 if proven else None), 0.0, source


def _offered(sheet: Sheet, at_ring: float | None, behind: float | None, notes: list[str]) -> None:
    """The arrivals: what the ring accepted and what it refused; and the share that was lost."""
    accepted = sheet.readings["accepted_per_s"]
    if not isinstance(accepted.value, float):
        sheet.put("in_per_s", None, "events/s", missing=accepted.missing)
        sheet.put("lost_share", None, "share", missing=accepted.missing)
        return
    arriving = accepted.value + (at_ring or 0.0)
    source = accepted.source
    if at_ring is None:
        source += ", a lower bound: losses are not counted"
        notes.append(
            "arriving events are a lower bound: the ring was full and nothing counts what it refused"
        )
    sheet.put("in_per_s", arriving, "events/s", source)
    lost = None if at_ring is None else at_ring + (behind or 0.0)
    share = None if lost is None else (lost / arriving if arriving else 0.0)
    sheet.put("lost_share", share, "share", source, "losses are not counted")
