"""What several probes ask of their caller alike.

Not here: what each one needs of the machine (its own ``supported``).
"""

from __future__ import annotations

from engine.errors import ProbeFailed
from engine.values import Target


def named(target: Target | None, probe: str) -> Target:
    """The target, of a probe that can't look without one.

    Raises:
        ProbeFailed: None was named.
    """
    if target is None:
        raise ProbeFailed(f"{probe} needs a target", fix="name one with --target")
    return target
