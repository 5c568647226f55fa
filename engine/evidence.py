"""What a piece of evidence lacks, told once for each reason.

Not here: what it has (its readings), layout (``engine.commands.seen``, ``engine.reports``).
"""

from __future__ import annotations

from engine.values import Evidence


def unknown(evidence: Evidence) -> dict[str, list[str]]:
    """Why readings have no value → their names, in the order of the evidence."""
    found: dict[str, list[str]] = {}
    for name, reading in evidence.readings.items():
        if reading.value is None:
            found.setdefault(reading.missing or "not measured", []).append(name)
    return found
