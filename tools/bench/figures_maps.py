"""Figures of the maps: watching one for stale entries, and deleting them, against bpftool doing the same.

By hand one dumps the map, looks every id up in /proc, and deletes what is gone: ``bpftool map dump``, a
script, ``bpftool batch``, which is the fastest that bpftool can do. Ours looks each entry up again before it
goes, takes it out with its value, and keeps that for undo.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable

from figures_kernel import _held, _must
from measure import Figure

_ENTRIES, _LARGE = 20_000, 1_000_000


def _cpu_s() -> float:
    """CPU of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _gone(number: int) -> bool:
    return number != 0 and not os.access(f"/proc/{number}", os.F_OK)


def _stale_by_hand(map_id: int) -> list[bytes]:
    """Keys whose owner is gone, by a dump; the holder's keys are numbers of 8 bytes."""
    dumped = subprocess.run(
        ["bpftool", "-j", "map", "dump", "id", str(map_id)], capture_output=True, check=True
    )
    keys = [bytes(int(byte, 16) for byte in entry["key"]) for entry in json.loads(dumped.stdout)]
    return [key for key in keys if _gone(int.from_bytes(key, "little"))]


def _clean_by_hand(map_id: int) -> int:
    stale = _stale_by_hand(map_id)
    with tempfile.NamedTemporaryFile("w", suffix=".batch") as batch:
        for key in stale:
            batch.write(f"map delete id {map_id} key hex {key.hex(' ')}\n")
        batch.flush()
        subprocess.run(["bpftool", "batch", "file", batch.name], stdout=subprocess.DEVNULL, check=True)
    return len(stale)


def _clean_by_us(map_id: int) -> int:
    from engine.values import Change, Knob, Target  # noqa: PLC0415 - builds on set-up
    from remediations.knobs.stale_entries import StaleEntries  # noqa: PLC0415

    after = {"map_id": map_id, "pid_at": 0, "pid_size": 8, "per_s": 10**9, "at_most": _ENTRIES}
    knob = Knob(name="map-cleanup", backend="stale-entries", map="counted", map_id=map_id)
    change = Change(knob=knob, before=None, after=after, before_text="", after_text="", why="")
    hands, target = StaleEntries(), Target(name="held", ref="held")
    captured = hands.capture(change, target)
    hands.write(change, target, captured)
    return int(str(captured["kept"]))


def cleanup() -> list[Figure]:
    """20,000 stale entries found and deleted, once with each."""
    spent: dict[Callable[[int], int], list[float]] = {_clean_by_us: [], _clean_by_hand: []}
    counts = set()
    for _ in range(3):
        for clean, times in spent.items():
            with _held("hash", _ENTRIES) as map_id:
                began = _cpu_s()
                counts.add(clean(map_id) // 1000)
                times.append(_cpu_s() - began)
    _must(len(counts) == 1, f"they deleted different numbers of entries: {counts}")
    ours, theirs = (min(times) for times in spent.values())
    return [
        Figure(
            f"finding and deleting {_ENTRIES:,} stale entries, each looked at again and kept",
            ours * 1e3,
            "ms CPU",
            "≥ 1×",
            theirs / ours >= 1,
            theirs * 1e3,
            "bpftool map dump, a look into /proc, bpftool batch delete",
            theirs / ours,
        )
    ]


def stale() -> list[Figure]:
    """How many entries of a map of a million are stale: two looks of map-fill, and a dump."""
    from bpf.mapping import elements, keys  # noqa: PLC0415 - builds on set-up
    from bpf.mapping import stale as staleness  # noqa: PLC0415

    layout = keys.Layout(kind="pid", source="profile", at=0, size=8)
    with _held("hash", _LARGE) as map_id:

        def look() -> staleness.Roll:
            return staleness.call(layout, elements.look(map_id, 20_000), 8)

        began = _cpu_s()
        first, last = look(), look()
        found = staleness.compare(layout, 8, first, last, timed=False)
        ours = _cpu_s() - began
        share = found.stale / found.checked
        began = _cpu_s()
        theirs_share = len(_stale_by_hand(map_id)) / _LARGE
        theirs = _cpu_s() - began
    _must(abs(share - theirs_share) < 0.02, f"shares differ: {share} and {theirs_share}")
    return [
        Figure(
            f"stale share of a map of {_LARGE:,} entries: two looks at {found.checked:,} of them",
            ours * 1e3,
            "ms CPU",
            "≥ 20×",
            theirs / ours >= 20,
            theirs * 1e3,
            "bpftool map dump and a look into /proc",
            theirs / ours,
            f"{share:.2%}, by the dump {theirs_share:.2%}",
        )
    ]


FIGURES = {"cleanup": cleanup, "stale": stale}
