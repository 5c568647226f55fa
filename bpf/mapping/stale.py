"""Entries whose owner is gone: gone at two looks, with the entry there both times.

Its promise: what is only just dying is not called stale, a number that was given to a new process is told
by the entry's own moment where there is one, and what was not looked at is not counted.

Not here: who is alive (``bpf.mapping.owners``), what a key is (``bpf.mapping.keys``).
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Collection, Mapping
from typing import NamedTuple

from bpf.mapping import owners
from bpf.mapping.elements import Element, Look
from bpf.mapping.keys import Layout
from engine.values import Scalar

#: Owners whose start is asked for, and rows shown.
_STARTS, _ROWS = 5_000, 20


class Roll(NamedTuple):
    """One look, and who of the owners of its entries was gone then."""

    look: Look
    gone: frozenset[int]


class Staleness(NamedTuple):
    """What two looks say of the owners.

    Attributes:
        checked: Entries that were there both times.
        stale: Those whose owner was gone both times, or whose number a later process has.
        reused: Of them, those whose number a later process has.
        owners, live: Different owners, and those that are alive.
        of_live: Checked entries that belong to owners that are alive.
        rows: Some stale entries, for people.
        top: Entries of the owner that has most, among those alive.
    """

    checked: int
    stale: int
    reused: int
    owners: int
    live: int
    of_live: int
    rows: tuple[dict[str, Scalar], ...]
    top: tuple[int, int] | None


def call(layout: Layout, look: Look, key_size: int) -> Roll:
    """Ask for every owner of a look, right after it, whether it is there."""
    read = layout.reader(key_size)
    numbers = frozenset(map(read, look.elements))
    if layout.kind == "cgroup":
        return Roll(look, owners.known_groups(numbers, owners.control_groups()))
    return Roll(look, owners.gone(numbers))


def compare(layout: Layout, key_size: int, then: Roll, now: Roll, *, timed: bool) -> Staleness:
    """Entries there both times, and whose owner was gone both times."""
    read = layout.reader(key_size)
    gone = then.gone & now.gone
    both = {key: element for key, element in now.look.elements.items() if key in then.look.elements}
    by_owner = Tally(map(read, both))
    successors = _successors(by_owner.keys() - gone, timed=timed and layout.of_process)
    stale = {key: element for key, element in both.items() if _is_stale(read(key), element, gone, successors)}
    reused = sum(read(key) in successors for key in stale)
    living = Tally({number: count for number, count in by_owner.items() if number not in now.gone})
    return Staleness(
        checked=len(both),
        stale=len(stale),
        reused=reused,
        owners=len(by_owner),
        live=len(living),
        of_live=sum(living.values()) - reused,
        rows=_rows(stale, layout, key_size, timed=timed),
        top=living.most_common(1)[0] if living else None,
    )


def _is_stale(number: int, element: Element, gone: Collection[int], successors: Mapping[int, int]) -> bool:
    return number in gone or element.time_ns < successors.get(number, 0) - owners.SLACK_NS


def _successors(alive: Collection[int], *, timed: bool) -> dict[int, int]:
    """When each living owner started, where entries have a moment to compare that with."""
    if not timed or len(alive) > _STARTS:
        return {}
    starts = ((number, owners.started_ns(number)) for number in alive if number)
    return {number: start for number, start in starts if start is not None}


def _rows(
    stale: Mapping[bytes, Element], layout: Layout, key_size: int, *, timed: bool
) -> tuple[dict[str, Scalar], ...]:
    read, now = layout.reader(key_size), time.monotonic_ns()
    return tuple(
        {
            "owner": read(key),
            "key": key.hex(" ", 4),
            "unused_s": (now - element.time_ns) / 1e9 if timed and element.time_ns else None,
        }
        for key, element in list(stale.items())[:_ROWS]
    )
