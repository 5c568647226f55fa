"""The evidence of one window, put together from samples and counts. Pure.

Its promise: every field of the probe has a reading: a value, or why there is none.

Not here: the single readings (``bpf.flow.readings``, ``bpf.flow.reckoning``).
"""

from __future__ import annotations

from collections.abc import Sequence

from bpf.flow.fields import FIELDS
from bpf.flow.readings import (
    Seen,
    Sheet,
    charts_of,
    pictures_of,
    rate_readings,
    record_of,
    ring_readings,
    rows_of,
)
from bpf.flow.reckoning import loss_readings
from engine.values import Evidence


def evidence_of(
    seen: Seen, target: str, started_at: float, ended_at: float, notes: Sequence[str]
) -> Evidence:
    """The evidence that samples and counts amount to. Pure."""
    record, sheet = record_of(seen), Sheet()
    pictures = pictures_of(seen, record)
    rate_readings(sheet, seen, record)
    if pictures:
        ring_readings(sheet, pictures[0], record)
    said = [*notes, *loss_readings(sheet, seen, pictures, record)]
    for name, about in FIELDS.items():
        if name not in sheet.readings and about.type != "rows":
            sheet.put(name, None, about.unit, missing=seen.no_ring)
    if len(pictures) > 1:
        name = pictures[0].ring.name
        said.append(f"fill, rhythm and bursts are those of {name}, the fullest of {len(pictures)} rings")
    return Evidence(
        probe="event-flow",
        short="flow",
        target=target,
        started_at=started_at,
        ended_at=ended_at,
        readings=sheet.readings,
        series=charts_of(seen, pictures[0], record) if pictures else {},
        tables={"rings": rows_of(pictures)},
        notes=tuple(said),
    )
