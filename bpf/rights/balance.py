"""What is needed beside what is given: what a container lacks.

One promise: each lack is one thing that a patch can add, with its reason and source.

Not here: why the agent failed (the diagnosis), the patch (``remediations.security_context``).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bpf.rights.given import Given
from bpf.rights.needs import Need, implied
from engine.values import Scalar


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """Needs that are met, and those that are not."""

    met: tuple[Need, ...] = ()
    lacking: tuple[Need, ...] = ()

    def of(self, kind: str) -> list[str]:
        """What is lacking of one kind: ``capability``, ``mount`` or ``host``."""
        return [one.what for one in self.lacking if one.kind == kind]

    def rows(self) -> tuple[dict[str, Scalar], ...]:
        """For people: what is needed, whether it is there, why, and who says so."""
        return tuple(
            {"needs": one.what, "given": given, "why": one.why, "source": one.source}
            for given, needs in (("no", self.lacking), ("yes", self.met))
            for one in needs
        )


def balance(needs: Iterable[Need], given: Given) -> Balance:
    """Split the needs by what the container is given.

    A capability that a greater one brings along, which is needed anyhow, counts as met.
    """
    wanted = tuple(needs)
    named = frozenset(need.what for need in wanted if need.kind == "capability")
    met: list[Need] = []
    lacking: list[Need] = []
    for need in wanted:
        brought = need.kind == "capability" and implied(need.what, named - {need.what})
        (met if brought or _is_met(need, given) else lacking).append(need)
    return Balance(met=tuple(met), lacking=tuple(lacking))


def _is_met(need: Need, given: Given) -> bool:
    if need.kind == "capability":
        return given.has(need.what) or implied(need.what, given.capabilities)
    if need.kind == "mount":  # a privileged container may mount file systems itself
        return given.privileged or given.sees(need.places)
    return given.host_pid
