"""One map of a target, watched for a window: how many entries, which keys, whose.

Its promise: every number is of the same map from the window's start to its end; a map that vanishes in
between is told, never replaced in silence.

Not here: which map (``bpf.probes.map_fill``), readings (``bpf.mapping.readings``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bpf.libbpf import BpfError
from bpf.mapping import elements, keys, owners, stale, values
from bpf.mapping.comparing import Comparison, Movement
from bpf.mapping.filling import Entries
from bpf.mapping.memory import kind
from bpf.objects import btf
from bpf.syscall import MapInfo
from engine.values import KnownMap

#: Kinds whose keys say something, and that can be read without harm.
_KEYED = frozenset(
    ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "hash_of_maps", "lpm_trie", "sockhash")
)


class Facts(NamedTuple):
    """What is known of a map before it is watched.

    Attributes:
        layout: What a key is.
        time_at: Where in a value the moment of the last use stands, if it does.
        fixed: Why its entries can't be deleted and put back from outside; empty when they can.
    """

    layout: keys.Layout
    time_at: int | None
    fixed: str


class Watched(NamedTuple):
    """One map over one window.

    Attributes:
        counts: (epoch seconds, entries), where they could be told.
        last: The last count, or why there is none.
        movement: Keys that came, went and were used.
        staleness: Whose owners are gone; None where that can't be told, for the reason ``unknown``.
        whole: Every look came to the end of the map.
        unused_s: Median time since an entry's last use; None where values tell no moment.
    """

    info: MapInfo
    facts: Facts
    counts: tuple[tuple[float, int], ...]
    last: Entries
    movement: Movement
    staleness: stale.Staleness | None
    unknown: str
    whole: bool
    unused_s: float | None


def facts_of(info: MapInfo, known: KnownMap | None) -> Facts:
    """Find out what a map's keys and values are: 0.1 to 1 ms."""
    members_of_key, members_of_value = _members(info)
    fixed = values.why_not_cleanable(kind(info), members_of_value)
    if known is not None and not known.clean:
        fixed = "the agent's profile says that it must not be cleaned from outside"
    if kind(info) not in _KEYED:
        return Facts(keys.UNKNOWN, None, fixed)
    seen = elements.sample(info.id)
    layout = keys.agreed(keys.of_profile(known, info.key_size), keys.of_types(members_of_key, info.key_size))
    if layout is None and seen and not owners.why_blind():
        sampled = [key for key, _ in seen]
        layout = keys.of_sample(sampled, owners.running(), highest=owners.highest_pid())
    if "percpu" in kind(info):
        return Facts(layout or keys.UNKNOWN, None, fixed)
    time_at = known.time_at if known is not None else None
    if time_at is None:
        time_at = values.time_place(members_of_value, [value for _, value in seen])
    return Facts(layout or keys.UNKNOWN, time_at, fixed)


def _members(info: MapInfo) -> tuple[Sequence[btf.Member], Sequence[btf.Member]]:
    """Members of the key and of the value, by the types that the map was loaded with."""
    if not info.btf_id or not info.btf_key_type_id:
        return (), ()
    try:
        with btf.of_kernel_object(info.btf_id) as types:
            return types.members(info.btf_key_type_id), types.members(info.btf_value_type_id)
    except BpfError:
        return (), ()


class Watch:
    """Looks at one map again and again."""

    def __init__(self, info: MapInfo, facts: Facts, at_most: int) -> None:
        self.info, self.facts = info, facts
        self._at_most = at_most
        self._compared = Comparison()
        self._whole = True
        self._counts: list[tuple[float, int]] = []
        self._last = Entries(None, "it was not counted")
        self._roll: stale.Roll | None = None
        self._blind = self._why_blind()

    def look(self, epoch: float, moment: float, counted: Entries) -> None:
        """Look once: the count, and the keys where they can be read.

        Raises:
            BpfError: The map is gone.
        """
        self._last = counted
        if counted.number is not None:
            self._counts.append((epoch, counted.number))
        if kind(self.info) not in _KEYED:
            return
        seen = elements.look(self.info.id, self._at_most, self.facts.time_at)
        self._compared.add(moment, seen)
        self._whole &= seen.whole
        if self._roll is None and not self._blind:
            self._roll = stale.call(self.facts.layout, seen, self.info.key_size)

    def result(self) -> Watched:
        """What all looks together say."""
        staleness = None
        last = self._compared.last
        if self._roll is not None and last is not None and last[1] is not self._roll.look:
            now = stale.call(self.facts.layout, last[1], self.info.key_size)
            timed = self.facts.time_at is not None
            staleness = stale.compare(self.facts.layout, self.info.key_size, self._roll, now, timed=timed)
        return Watched(
            info=self.info,
            facts=self.facts,
            counts=tuple(self._counts),
            last=self._last,
            movement=self._compared.result(),
            staleness=staleness,
            unknown=self._blind or "the window was cut short: one look only",
            whole=self._whole,
            unused_s=self._unused_s(),
        )

    def _why_blind(self) -> str:
        """Why nobody can be looked for behind the keys; empty when somebody can."""
        layout = self.facts.layout
        if kind(self.info) not in _KEYED:
            return f"a map of kind {kind(self.info)} has no keys to look at"
        if layout.kind == "unknown" and layout.words:
            return layout.words
        if layout.kind == "unknown":
            return (
                "what its keys are is unknown: neither profile nor types say so, and they look like no"
                " processes (maps: in the agent's profile tells it)"
            )
        if layout.kind == "cgroup" and layout.at is not None:
            return "" if owners.control_groups() else "no control groups of version 2 can be seen"
        if not layout.of_process:
            return f"its keys are of kind {layout.kind}: whether those still exist is not looked up"
        return owners.why_blind()

    def _unused_s(self) -> float | None:
        if self.facts.time_at is None or self._compared.last is None:
            return None
        moment, look = self._compared.last
        times = sorted(element.time_ns for element in look.elements.values() if element.time_ns)
        return max(0.0, moment - times[len(times) // 2] / 1e9) if times else None
