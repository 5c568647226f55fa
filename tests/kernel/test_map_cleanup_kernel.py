"""Stale entries are deleted, live ones never; what was deleted comes back, whoever was killed in between."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bpf.objects.iterators import possible_cpus
from engine.errors import ChangedSince
from engine.values import Change, Knob, Process, Target
from remediations.knobs.backend import NotChanged
from remediations.knobs.bpf_call import bpf
from remediations.knobs.map_elements import Table, table
from remediations.knobs.map_owners import Ownership
from remediations.knobs.processes import started_ticks
from remediations.knobs.stale_entries import StaleEntries, _take_chunk
from remediations.map_cleanup import MapCleanup
from tests.kernel.made_maps import NO_PREALLOC, Made, ended, made, nobodies

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

US = Target(name="made", ref="made", processes=(Process(pid=os.getpid()),))
_FREEZE = 22


def key(number: int, argument: int = 0) -> bytes:
    return struct.pack("=II", number, argument)


def value(first: int, second: int = 0) -> bytes:
    return struct.pack("=QQ", first, second)


def cleaning(held: Made, **given: object) -> Change:
    """The change that a plan makes, as the journal has it."""
    after = {"map_id": held.id, "pid_at": 0, "pid_size": 4, "time_at": None, **given}
    knob = Knob(name="map-cleanup", backend="stale-entries", map="made", map_id=held.id, unit="text")
    change = Change(knob=knob, before=1, after=after, before_text="1", after_text="0", why="stale")
    return msgspec.json.decode(msgspec.json.encode(change), type=Change)


def contents(held: Made) -> dict[bytes, bytes]:
    with table(held.id) as opened:
        return dict(opened.walk())


@pytest.fixture
def living() -> Iterator[list[int]]:
    processes = [subprocess.Popen(["sleep", "60"]) for _ in range(5)]
    yield [one.pid for one in processes]
    for one in processes:
        one.kill()
        one.wait()


@pytest.mark.parametrize(("kind", "flags"), [("hash", 0), ("hash", NO_PREALLOC), ("percpu_hash", 0)])
def test_the_stale_go_and_come_back_as_they_were(kind: str, flags: int, living: list[int]) -> None:
    """Byte for byte, every CPU's part included; from the journal alone."""
    wide = possible_cpus() if kind == "percpu_hash" else 1
    with made(kind, 5_000, key=8, flags=flags) as held:
        for number in nobodies(3_000):
            held.put(key(number, 7), bytes(random.randbytes(16 * wide)))
        for number in living:
            held.put(key(number, 9), b"L" * 16 * wide)
        before, change = contents(held), cleaning(held)
        remediation = MapCleanup()
        captured = json.loads(json.dumps(remediation.capture(change, US)))
        assert captured["kept"] == 3_000
        assert remediation.state(change, US, captured) == "before"
        remediation.apply(change, US, captured)
        assert remediation.state(change, US, captured) == "after"
        assert set(contents(held)) == {key(number, 9) for number in living}
        note = MapCleanup().undo(change, US, captured)
        assert contents(held) == before
    assert note == "3,000 entries are back in map made"


def test_bounds_are_kept(living: list[int]) -> None:
    """At most so many, and only so many bytes kept; the rest goes for good, and that is said."""
    with made("hash", 5_000, key=8) as held:
        for number in nobodies(1_000):
            held.put(key(number), value(1))
        change = cleaning(held, at_most=400, keep_bytes=24 * 100)
        hands = StaleEntries()
        captured = hands.capture(change, US)
        assert (captured["kept"], captured["beyond"]) == (100, 300)
        hands.write(change, US, captured)
        assert len(contents(held)) == 600
        restored = hands.restore(change, US, captured)
        assert len(contents(held)) == 700
    assert "300 more were deleted beyond what was kept" in restored.note


def test_no_faster_than_agreed() -> None:
    """1,000 entries at 2,000 a second take half a second; the clock is handed in."""
    slept, now = [], [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    hands = StaleEntries(sleep=sleep, monotonic=lambda: now[0])
    with made("hash", 5_000, key=8) as held:
        for number in nobodies(1_000):
            held.put(key(number), value(1))
        change = cleaning(held, per_s=2_000)
        hands.write(change, US, hands.capture(change, US))
        assert not contents(held)
    assert sum(slept) == pytest.approx(0.5)


# ── races ───────────────────────────────────────────────────────────────────────

#: Writes into entries of a map in the walk's order, turn after turn, and says at the end what it wrote last.
UPDATER = """
import json, struct, sys, time
from remediations.knobs.bpf_call import bpf
from remediations.knobs.map_elements import table
import ctypes
number, seconds = int(sys.argv[1]), float(sys.argv[2])
with table(number) as held:
    keys = [key for key, _ in held.walk()][::3]
    wrote, turn = {}, 0
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        turn += 1
        for key in keys:
            value = struct.pack("=QQ", turn, 1)
            at, what = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, 16)
            bpf(2, struct.pack("=IxxxxQQQ", held._fd, ctypes.addressof(at), ctypes.addressof(what), 0))
            wrote[key.hex()] = turn
    print(json.dumps(wrote), flush=True)
"""


def test_what_is_used_meanwhile_is_never_lost(living: list[int]) -> None:
    """A live updater writes a third of the very entries that are being deleted, all the time.

    Whatever it wrote last stands there at the end; all others are gone.
    """
    with made("hash", 40_000, key=8) as held:
        for place, number in enumerate(nobodies(20_000)):
            held.put(key(number, place), value(0))
        for number in living:
            held.put(key(number), value(0))
        command = [sys.executable, "-c", UPDATER, str(held.id), "1.5"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as updater:
            assert updater.stdout.readline() == "ready\n"
            change, hands = cleaning(held, per_s=1_000_000), StaleEntries()
            captured = hands.capture(change, US)
            updater.stdin.write("go\n")
            updater.stdin.flush()
            hands.write(change, US, captured)
            wrote = json.loads(updater.stdout.readline())
        left = contents(held)
    assert wrote
    assert {name: struct.unpack("=QQ", left[bytes.fromhex(name)])[0] for name in wrote} == wrote
    assert set(left) == {bytes.fromhex(name) for name in wrote} | {key(number) for number in living}


class Interleaved:
    """A map whose agent writes exactly between two steps of the cleaner."""

    def __init__(self, entries: dict[bytes, bytes], at: str, agent: object) -> None:
        self.entries, self._at, self._agent = entries, at, agent

    def _now(self, step: str) -> None:
        if step == self._at:
            self._at = ""
            self._agent(self.entries)

    def take(self, wanted: bytes) -> bytes | None:
        self._now("before take")
        taken = self.entries.pop(wanted, None)
        self._now("after take")
        return taken

    def put(self, wanted: bytes, held: bytes) -> bool:
        self._now("before put")
        if wanted in self.entries:
            return False
        self.entries[wanted] = held
        return True


@pytest.mark.parametrize("at", ["before take", "after take", "before put"])
def test_between_any_two_steps_the_agents_word_counts(at: str) -> None:
    """Every place where an agent can write in between, one after the other."""
    (nobody,) = nobodies(1)
    held = Interleaved({key(nobody): value(1)}, at, lambda entries: entries.update({key(nobody): value(2)}))
    if at == "before put":
        held.entries[key(nobody)] = value(9)  # used since it was captured: taken out, and put back
    _take_chunk(held, Ownership(pid_at=0), [(key(nobody), value(1))])
    assert held.entries[key(nobody)] == value(2)


def test_an_owner_that_is_back_keeps_its_entry() -> None:
    """Its number is given to a new process right after its entry was taken out."""
    (nobody,) = ended(1)
    born: list[subprocess.Popen[bytes]] = []

    def birth(_entries: object) -> None:
        """Ask the kernel for this very number."""
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(nobody - 1))
        born.append(subprocess.Popen(["sleep", "60"]))

    held = Interleaved({key(nobody): value(1)}, "after take", birth)
    last = Path("/proc/sys/kernel/ns_last_pid").read_text()
    try:
        gone = _take_chunk(held, Ownership(pid_at=0), [(key(nobody), value(1))])
        if born[0].pid != nobody:
            pytest.skip("somebody else was born first")
    finally:
        Path("/proc/sys/kernel/ns_last_pid").write_text(last)
        born[0].kill()
        born[0].wait()
    assert gone == 0
    assert held.entries == {key(nobody): value(1)}


#: Captures, says what, and deletes slowly.
CLEANER = """
import json, sys
import msgspec
from engine.values import Change, Target
from remediations.knobs.stale_entries import StaleEntries
change = msgspec.json.decode(sys.stdin.buffer.readline(), type=Change)
target = Target(name="made", ref="made")
captured = StaleEntries().capture(change, target)
print(json.dumps(captured), flush=True)
StaleEntries().write(change, target, captured)
"""


def test_killed_in_between_everything_comes_back() -> None:
    """kill -9 in the middle of the deletion: a fresh process undoes it from the journal."""
    with made("hash", 20_000, key=8) as held:
        for number in nobodies(10_000):
            held.put(key(number), value(number))
        before, change = contents(held), cleaning(held, per_s=4_000)
        cleaner = subprocess.Popen(
            [sys.executable, "-c", CLEANER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        cleaner.stdin.write(msgspec.json.encode(change) + b"\n")
        cleaner.stdin.flush()
        captured = json.loads(cleaner.stdout.readline())
        deadline = time.monotonic() + 20
        while len(contents(held)) > 9_000:
            assert time.monotonic() < deadline
        cleaner.send_signal(signal.SIGKILL)
        cleaner.communicate()
        left = len(contents(held))
        assert 0 < left < 10_000
        remediation = MapCleanup()
        assert remediation.state(change, US, captured) == "after"
        note = remediation.undo(change, US, captured)
        assert contents(held) == before
        assert remediation.state(change, US, captured) == "before"
        assert remediation.undo(change, US, captured) in (None, "")
    assert f"{10_000 - left:,} entries are back" in note


# ── what goes wrong ─────────────────────────────────────────────────────────────


def test_a_map_that_filled_up_again_takes_nothing_back_and_says_so() -> None:
    """There is no room: it is as full as before, with later entries of the same leak."""
    nobody = nobodies(200)
    with made("hash", 100, key=8) as held:
        for number in nobody[:100]:
            held.put(key(number), value(1))
        change, hands = cleaning(held), StaleEntries()
        captured = hands.capture(change, US)
        hands.write(change, US, captured)
        for number in nobody[100:]:
            held.put(key(number), value(2))
        restored = hands.restore(change, US, captured)
        assert hands.state(change, US, captured) == "before"
    assert restored.note == "for 100 there is no room: the map has filled up again"


def test_a_map_that_went_with_its_agent_has_nothing_to_undo() -> None:
    """After a restart the entries are gone with the map."""
    with made("hash", 100, key=8) as held:
        held.put(key(*nobodies(1)), value(1))
        change, hands = cleaning(held), StaleEntries()
        captured = hands.capture(change, US)
        hands.write(change, US, captured)
    deadline = time.monotonic() + 10
    gone = Target(name="made", ref="made")
    while "went with its agent" not in hands.restore(change, gone, captured).note:
        assert time.monotonic() < deadline  # the kernel lets go of a map a moment after its last descriptor
    assert "is gone though its agent runs" in hands.restore(change, US, captured).note
    assert hands.state(change, US, captured) == "before"
    with pytest.raises(NotChanged, match="can't be opened"):
        hands.capture(change, US)


def test_another_boot_has_other_maps_of_the_same_number() -> None:
    """Ids start anew: nothing is put into a stranger's map."""
    with made("hash", 100, key=8) as held:
        held.put(key(*nobodies(1)), value(1))
        change, hands = cleaning(held), StaleEntries()
        captured = hands.capture(change, US) | {"boot": "another"}
        with pytest.raises(ChangedSince):
            hands.write(change, US, captured)
        assert hands.state(change, US, captured) == "before"
        assert "is gone" in hands.restore(change, US, captured).note


def test_a_frozen_map_is_left_alone() -> None:
    """Only its programs may write into it."""
    with made("hash", 100, key=8) as held:
        held.put(key(*nobodies(1)), value(1))
        bpf(_FREEZE, struct.pack("=I", held.fd))
        change, hands = cleaning(held), StaleEntries()
        captured = hands.capture(change, US)
        with pytest.raises(NotChanged, match="frozen"):
            hands.write(change, US, captured)
        assert len(contents(held)) == 1


def test_nothing_stale_any_more_is_no_change(living: list[int]) -> None:
    """Cleaned by its agent in between, or used again."""
    with made("hash", 100, key=8) as held:
        (nobody,) = nobodies(1)
        held.put(key(nobody), value(1))
        change, hands = cleaning(held), StaleEntries()
        captured = hands.capture(change, US)
        held.put(key(nobody), value(2))
        with pytest.raises(NotChanged, match="none was deleted"):
            hands.write(change, US, captured)
        held.delete(key(nobody))
        for number in living:
            held.put(key(number), value(1))
        with pytest.raises(ChangedSince, match="any more"):
            hands.capture(change, US)


def test_other_kinds_of_maps_are_refused() -> None:
    """An LRU map cleans itself, an array has no entries of anybody."""
    for kind in ("lru_hash", "array"):
        with made(kind, 100) as held, pytest.raises(NotChanged, match="not the one"):
            StaleEntries().capture(cleaning(held), US)


def test_the_moment_of_use_tells_a_reused_number() -> None:
    """An entry that is an hour older than we are is not ours, though it bears our number."""
    with made("hash", 100, key=8) as held:
        now = time.monotonic_ns()
        held.put(key(os.getpid(), 1), value(max(1, now - 3_600_000_000_000)))
        held.put(key(os.getpid(), 2), value(now))
        change, hands = cleaning(held, time_at=0), StaleEntries()
        hands.write(change, US, hands.capture(change, US))
        assert set(contents(held)) == {key(os.getpid(), 2)}


def test_threads_and_zombies_keep_their_entries() -> None:
    """A thread is not listed in /proc, a zombie is not gone."""
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert started_ticks(zombie.pid) is None
    stop, told = threading.Event(), []
    thread = threading.Thread(target=lambda: (told.append(threading.get_native_id()), stop.wait(20)))
    thread.start()
    with made("hash", 100, key=8) as held:
        deadline = time.monotonic() + 10
        while not told:
            assert time.monotonic() < deadline
        for number in (zombie.pid, told[0], 0, *nobodies(1)):
            held.put(key(number), value(1))
        change, hands = cleaning(held), StaleEntries()
        hands.write(change, US, hands.capture(change, US))
        assert set(contents(held)) == {key(zombie.pid), key(told[0]), key(0)}
    stop.set()
    thread.join()
    zombie.wait()


@pytest.mark.parametrize("size", [1, 63, 64, 5_000])
def test_the_walk_sees_every_entry_once(size: int) -> None:
    """In batches, and key by key where the kernel has none."""
    with made("hash", size, key=8) as held:
        for number in range(size):
            held.put(key(number + 1), value(number))
        with table(held.id) as opened:
            by_batches, by_keys = dict(opened.walk()), dict(Table._by_keys(opened))
        assert by_batches == by_keys == {key(n + 1): value(n) for n in range(size)}


def test_kernels_that_delete_in_two_steps_give_the_same() -> None:
    """Below 5.14: a look, then the deletion."""
    with made("hash", 100, key=8) as held:
        held.put(key(1), value(5))
        with table(held.id) as opened:
            opened.one_step = False
            assert opened.take(key(1)) == value(5)
            assert opened.take(key(1)) is None
        assert not contents(held)
