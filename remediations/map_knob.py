"""Planning with a knob that belongs to one BPF map: which knob it is, and what the map takes in memory.

An agent with several maps has several knobs of a kind, ``map-capacity.NAME``; each says in ``Knob.map``
whose it is. The one of the map that was watched is meant.

Not here: how large (``map_capacity``), which kind (``map_kind``).
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.values import Case, Knob, KnobValue, Prediction, Target
from remediations.knobs import places
from remediations.knobs.units import say_bytes
from remediations.planning import KnobPlanner, OptionsT, Question, nothing

_NAME_BYTES = 15  # that the kernel keeps of a map's name
_BUCKET_BYTES = 16  # struct bucket, kernel/bpf/hashtab.c


class MapKnobPlanner(KnobPlanner[OptionsT]):
    """Plans the turning of the knob that belongs to the map that was watched."""

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The values of all knobs of this kind."""
        return {knob.name: places.read(knob, target) for knob in self._all(target)}

    def find(self, target: Target) -> Knob | None:
        """The only knob of this kind, where there is one."""
        knobs = list(self._all(target))
        return knobs[0] if len(knobs) == 1 else None

    def _all(self, target: Target) -> Iterable[Knob]:
        of_map = f"{self.knob}."
        return [knob for name, knob in target.knobs.items() if name == self.knob or name.startswith(of_map)]

    def _question(self, case: Case, chosen: OptionsT) -> Question[OptionsT]:
        name = case.text("maps.name")
        if name is None:
            nothing("no map was looked at (map-fill)")
        knobs = list(self._all(case.target))
        if not knobs:
            nothing(self.lacking(case.target))
        fitting = [knob for knob in knobs if knob.map[:_NAME_BYTES] == name[:_NAME_BYTES]]
        fitting = fitting or [knob for knob in knobs if not knob.map]
        if not fitting:
            known = ", ".join(sorted(knob.map for knob in knobs))
            nothing(f"{case.target.name} has no knob {self.knob!r} for its map {name} (only for {known})")
        return self.asking(case, fitting[0], chosen)


def table_bytes(asked: Question[OptionsT], entries: float, *, preallocated: bool, used: float) -> float:
    """What a hash map of so many entries takes: its buckets, and all entries or those in use."""
    buckets = 1 << max(0, int(entries) - 1).bit_length()
    each = asked.number("maps.entry_bytes") or 0.0
    return _BUCKET_BYTES * buckets + each * (entries if preallocated else min(used, entries))


def added(asked: Question[OptionsT], new: float) -> tuple[int, str]:
    """What a map of ``new`` bytes adds, and the limit it falls under.

    Refused where it does not fit beside the old one, which stays until the reload is over.
    """
    old = asked.number("maps.bytes") or 0.0
    left, limit = (
        _first(asked, "left_bytes", "memory_left_bytes"),
        _first(asked, "limit_bytes", "memory_limit_bytes"),
    )
    if left is None:
        return int(new - old), f"{say_bytes(new)} for the map; no memory limit of the agent is known"
    of = f" of {say_bytes(limit)}" if limit else ""
    if new > left:
        nothing(
            f"a map of {say_bytes(new)} does not fit: the agent's memory limit{of} leaves {say_bytes(left)},"
            " and the old map stays until the new one is in use"
        )
    return int(
        new - old
    ), f"{say_bytes(new)} for the map; the agent's cgroup limit{of}, {say_bytes(left)} left"


def none_refused(asked: Question[OptionsT], why: str) -> tuple[Prediction, ...]:
    """Nothing is refused any more, where refusals are counted."""
    refused = asked.number("maps.refused_per_s")
    if refused is None:
        return ()
    return (
        Prediction(
            measure="maps.refused_per_s", before=refused, after=0.0, unit="entries/s", at_most=True,
            arithmetic=why,
        ),
    )  # fmt: skip


def _first(asked: Question[OptionsT], of_memory: str, of_process: str) -> float | None:
    """The number as the probe ``memory`` has it, else as ``process`` has it."""
    seen = asked.number(f"memory.{of_memory}")
    return seen if seen is not None else asked.number(f"process.{of_process}")
