"""Reading a setting that can stand in several places.

One promise: what comes back names the place it was read from (``KnobValue.place``), and its
``effective`` is what the agent makes of the value on this machine; a place that could not be read is
never passed over as if nothing were set there.

Not here: reading one place (the backends), changing it: that is done in the place that was read.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.values import Knob, KnobValue, Target, in_use
from remediations.knobs import amounts
from remediations.knobs.backend import backend


def read(knob: Knob, target: Target) -> KnobValue:
    """What a setting holds now, from the first of its places in which it is set."""
    return in_use([_read(place, target) for place in knob.places])


def _read(knob: Knob, target: Target) -> KnobValue:
    value = backend(knob.backend).read(knob, target)
    if value.missing and value.value is None and knob.file.startswith("/") and _gone(knob.file):
        return msgspec.structs.replace(value, absent=True)
    if value.value is None or not (amounts.of_the_knob(knob) or knob.rounding != "none"):
        return value
    try:
        amount = amounts.made(value.value, knob, amounts.here())
    except ValueError as error:
        return msgspec.structs.replace(
            value, effective=None, missing=value.missing or f"{value.source}: {error}"
        )
    return msgspec.structs.replace(value, effective=amount)


def _gone(file: str) -> bool:
    """Whether a file is not there; one that may not be looked for may be there."""
    try:
        Path(file).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
