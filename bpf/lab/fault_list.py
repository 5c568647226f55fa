"""The faults as ``runbook lab faults`` shows them.

Not here: what they are (``faults``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec

from bpf.lab.fault import Fault


def as_json(faults: Sequence[Fault]) -> str:
    """One JSON array."""
    shown = [
        {key: getattr(fault, key) for key in ("name", "runbook", "summary", "cause", "remedy")}
        for fault in faults
    ]
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def as_text(faults: Sequence[Fault]) -> str:
    """A table for each runbook."""
    lines = [f"  {'FAULT':<20} {'CAUSE':<28} MENDED BY"]
    for runbook, group in groupby(faults, key=lambda fault: fault.runbook):
        lines += ["", runbook]
        for fault in group:
            lines.append(f"  {fault.name:<20} {fault.cause or '-':<28} {fault.remedy or '-'}")
            lines.append(f"    {fault.summary}")
    return "\n".join(lines)
