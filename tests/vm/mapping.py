"""Maps on an old or new kernel: stale entries told, deleted (in one step or two), and put back."""

from __future__ import annotations

import os
import struct

from promises import KERNEL, holds, map_id, same, sample

from bpf.libbpf import library
from bpf.mapping.owners import highest_pid
from bpf.probes.map_fill import MapFill
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.values import Change, Evidence, Knob, KnownMap, Process, Target
from remediations.knobs.map_elements import table
from remediations.knobs.stale_entries import StaleEntries

_GONE, _ALIVE = 600, 3


def _filled(fd: int) -> None:
    """Entries of processes that can't be, and of three that are."""
    for number in (*range(highest_pid() + 1, highest_pid() + 1 + _GONE), 1, 2, os.getpid()):
        library().bpf_map_update_elem(fd, struct.pack("=Q", number), struct.pack("=Q", number), 0)


def stale_entries_are_told() -> None:
    with sample() as agent:
        number = map_id(agent, "sample_hash")
        _filled(agent.map("sample_hash").fd)
        known = {"sample_hash": KnownMap(pid_at=0, pid_size=8)}
        us = (Process(pid=os.getpid()),)
        target = Target(name="sample", ref="sample", processes=us, map_ids=(number,), maps=known)
        eye = MapFill()
        eye.cpu_ceiling = 1.0  # an emulated CPU says nothing about what a look may cost
        (seen,) = look([Request(eye)], View(target, 0.6, SystemClock(), Cancel()))
        holds(isinstance(seen, Evidence), f"{getattr(seen, 'error', seen)}")
        same(seen.number("entries"), _GONE + _ALIVE)
        same(seen.number("stale_entries"), _GONE)
        same(seen.number("gone_keys_per_s"), 0.0)
        counted = seen.readings["entries"].source
        holds((KERNEL >= (6, 6)) == ("element count" in counted), f"counted by {counted}")


def stale_entries_are_deleted_and_put_back() -> None:
    with sample() as agent:
        number = map_id(agent, "sample_hash")
        _filled(agent.map("sample_hash").fd)
        knob = Knob(name="map-cleanup", backend="stale-entries", map="sample_hash", map_id=number)
        after = {"map_id": number, "pid_at": 0, "pid_size": 8}
        change = Change(knob=knob, before=None, after=after, before_text="", after_text="", why="")
        target, hands = Target(name="sample", ref="sample"), StaleEntries()
        with table(number) as held:
            before = dict(held.walk())
            captured = hands.capture(change, target)
            same(captured["kept"], _GONE)
            hands.write(change, target, captured)
            same(len(dict(held.walk())), _ALIVE)
            same(hands.state(change, target, captured), "after")
            hands.restore(change, target, captured)
            same(dict(held.walk()), before)
            same(hands.state(change, target, captured), "before")


PROMISES = (stale_entries_are_told, stale_entries_are_deleted_and_put_back)
