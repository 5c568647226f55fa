"""Maps of every kind, and strangers' maps: counted as bpftool counts them, owners told alive from gone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest

from bpf.lab import lab
from bpf.libbpf import BpfObject
from bpf.mapping import elements, filling, memory
from bpf.objects import maps
from bpf.objects.iterators import possible_cpus
from bpf.objects.names import text
from bpf.probes.map_fill import MapFill
from bpf.syscall import map_info
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.errors import ProbeFailed, TargetGone
from engine.running.looking import Missed, Request, View, look
from engine.testing import check_probe
from engine.values import Counter, Evidence, KnownMap, Process, Target
from tests.kernel.made_maps import NO_PREALLOC, Made, ended, made, nobodies, target_of
from tests.kernel.test_third_party_kernel import needs, tool

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

#: Holds a map until it is killed.
HOLDER = """
import time
from tests.kernel.made_maps import made
with made("hash", 9) as held:
    print(held.id, flush=True)
    time.sleep(60)
"""
BPFTOOL = shutil.which("bpftool", path="/usr/sbin:/sbin:/usr/bin")


def seen(target: Target | None, seconds: float = 0.6, **options: object) -> Evidence:
    view = View(target, seconds, SystemClock(), Cancel())
    (answer,) = look([Request(MapFill(), options)], view)
    assert isinstance(answer, Evidence), answer.error
    return answer


def missed(target: Target, seconds: float = 0.5, **options: object) -> Exception:
    (answer,) = look([Request(MapFill(), options)], View(target, seconds, SystemClock(), Cancel()))
    assert isinstance(answer, Missed)
    return answer.error


def dumped(map_id: int) -> int:
    """Entries as bpftool lists them."""
    told = subprocess.run([BPFTOOL, "-j", "map", "dump", "id", str(map_id)], capture_output=True, check=False)
    return len(json.loads(told.stdout))


def pid_key(number: int, *more: int) -> bytes:
    return struct.pack(f"={1 + len(more)}I", number, *more)


@pytest.fixture
def living() -> Iterator[list[int]]:
    """Some processes that live as long as the test."""
    processes = [subprocess.Popen(["sleep", "60"]) for _ in range(8)]
    yield [one.pid for one in processes]
    for one in processes:
        one.kill()
        one.wait()


# ── counting ────────────────────────────────────────────────────────────────────


HASHES = ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash")


@pytest.mark.skipif(BPFTOOL is None, reason="bpftool is not installed")
@pytest.mark.parametrize("entries", [0, 1, 700])
@pytest.mark.parametrize("kind", [*HASHES, "hash, no prealloc", "lpm_trie", "devmap_hash"])
def test_counts_are_bpftools(kind: str, entries: int) -> None:
    """Every rung that can count a kind gives the number that bpftool lists."""
    name, _, plain = kind.partition(",")
    flags = NO_PREALLOC if plain or name == "lpm_trie" else 0
    sizes = {"lpm_trie": (8, 16), "devmap_hash": (4, 4)}.get(name, (4, 16))
    wide = possible_cpus() if "percpu" in name else 1
    with made(name, 1000, key=sizes[0], value=sizes[1], flags=flags) as held:
        for number in range(entries):
            key = (
                struct.pack("<I4s", 32, struct.pack(">I", number)) if name == "lpm_trie" else pid_key(number)
            )
            value = struct.pack("=I", 1) if name == "devmap_hash" else b"x" * sizes[1] * wide
            held.put(key, value)
        listed = dumped(held.id)
        with filling.Filling() as filled:
            counted = filling.entries(map_info(held.id), filled.by_kernel(), 20_000)
        walked = filling.entries(map_info(held.id), {}, 20_000)
        assert counted.number == walked.number == listed == entries
        assert maps.count(held.id).entries == entries
        assert maps.memory_bytes(held.id) is not None


def test_slots_in_use_are_counted_and_arrays_are_not() -> None:
    """A sockmap is mostly empty slots; an array is always full."""
    with made("sockmap", 64, value=8) as held, made("array", 64) as array:
        pair = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(pair.getsockname())
        server, _ = pair.accept()
        held.put(pid_key(3), struct.pack("=Q", client.fileno()))
        held.put(pid_key(9), struct.pack("=Q", server.fileno()))
        assert filling.entries(map_info(held.id), {}, 20_000).number == 2
        assert filling.entries(map_info(held.id), {}, 10).number is None
        told = filling.entries(map_info(array.id), {}, 20_000)
        assert told.number is None
        assert "no entries to count" in told.source
        for one in (client, server, pair):
            one.close()


def test_maps_of_maps_are_counted() -> None:
    """Their values are other maps, and count one each."""
    with ExitStack() as stack:
        inner = stack.enter_context(made("array", 1))
        held = stack.enter_context(made("hash_of_maps", 16, value=4, inner=inner.fd))
        for number in range(5):
            held.put(pid_key(number), struct.pack("=I", inner.fd))
        with filling.Filling() as filled:
            assert filling.entries(map_info(held.id), filled.by_kernel(), 20_000).number == 5


def test_a_large_map_costs_what_a_small_one_does_and_is_reckoned_well() -> None:
    """A part of its buckets says how many there are, within a few percent."""
    with made("hash", 200_000) as held:
        for number in range(100_000):
            held.put(pid_key(number), b"x" * 16)
        part = elements.look(held.id, 5_000)
        assert 5_000 <= len(part.elements) < 12_000
        assert not part.whole
        assert part.entries() == pytest.approx(100_000, rel=0.08)
        assert filling.entries(map_info(held.id), {}, 5_000).source.endswith("of its buckets")


def test_values_that_are_larger_than_a_batch_are_read() -> None:
    """What a batch may take is bounded in bytes."""
    with made("hash", 40, value=65_536, flags=NO_PREALLOC) as held:
        for number in range(40):
            held.put(pid_key(number), bytes([number]) * 65_536)
        assert len(elements.look(held.id, 20_000).elements) == 40
        assert maps.count(held.id).entries == 40


@pytest.mark.parametrize(("kind", "flags"), [(k, f) for k in HASHES for f in (0, NO_PREALLOC)][:6])
def test_memory_of_an_entry_is_what_the_kernel_accounts(kind: str, flags: int) -> None:
    """By type, sizes and preallocation: within a tenth for a map of 50,000 that is full."""
    if kind.startswith("lru") and flags:
        pytest.skip("LRU maps are always preallocated")
    count = 50_000
    wide = possible_cpus() if "percpu" in kind else 1
    with made(kind, count, key=8, flags=flags) as held:
        for number in range(count):
            held.put(struct.pack("=Q", number), b"x" * 16 * wide)
        info = map_info(held.id)
        used = filling.entries(info, {}, 60_000).number
        each = memory.entry_bytes(info, possible_cpus())
        allocated = used if flags else count
        reckoned = 16 * elements.buckets(info) + each * allocated
        assert maps.memory_bytes(held.id) == pytest.approx(reckoned, rel=0.15)


# ── whose entries ───────────────────────────────────────────────────────────────


def test_gone_owners_are_told_from_living_ones(living: list[int]) -> None:
    """Named by the profile; counted exactly where all could be read."""
    with made("hash", 100) as held:
        for number in (*living, *nobodies(24)):
            held.put(pid_key(number), b"x" * 16)
        found = seen(target_of([held], maps={"made": KnownMap(pid_at=0)}))
    assert found.number("stale_entries") == 24
    assert found.number("stale_share") == 24 / 32
    assert found.number("stale_low") == found.number("stale_high") == 24 / 32
    assert (found.number("owners"), found.number("live_owners")) == (32, 8)
    assert found.text("key_kind") == "pid"
    assert found.number("cleanable") == 1
    assert len(found.tables["stale"]) == 20


def test_who_dies_within_the_window_is_not_stale_yet(living: list[int]) -> None:
    """Its agent may be about to clean up; two looks must find it gone."""
    doomed = [subprocess.Popen(["sleep", "60"]) for _ in range(5)]
    with made("hash", 100) as held:
        for number in (*living, *(one.pid for one in doomed), *nobodies(3)):
            held.put(pid_key(number), b"x" * 16)

        def end() -> None:
            for one in doomed:
                one.kill()
                one.wait()

        timer = threading.Timer(1.2, end)
        timer.start()
        found = seen(target_of([held], maps={"made": KnownMap(pid_at=0)}), 3.0)
        timer.join()
    assert found.number("stale_entries") == 3
    assert found.number("live_owners") == 8


def test_living_processes_in_the_keys_are_recognised_without_a_word(living: list[int]) -> None:
    """No profile, no types: what stands there runs here."""
    with made("hash", 100, key=12) as held:
        for place, number in enumerate((*living, *ended(4))):
            held.put(struct.pack("=3I", 1 << 30 | place, number, place), b"x" * 16)
        found = seen(target_of([held]))
        clueless = seen(target_of([held]), map="made", sample=100)
    assert found.text("key_source") == "sampled"
    assert found.number("pid_at") == 4
    assert found.number("stale_entries") == 4
    assert any("guess" in note for note in found.notes)
    assert clueless.text("name") == "made"


def test_keys_that_are_no_processes_stay_unknown() -> None:
    """Then nobody is called gone, and the reason says what to do."""
    with made("hash", 1000) as held:
        for number in range(500):
            held.put(pid_key(1 << 28 | number * 7919), b"x" * 16)
        found = seen(target_of([held]))
    assert found.text("key_kind") == "unknown"
    assert found.number("stale_share") is None
    assert "profile" in found.readings["stale_share"].missing
    assert found.number("entries") == 500


def test_types_tell_whose_the_entries_of_the_lab_are() -> None:
    """The names that its programs were built with; the profile may say the same, and not another."""
    instance = lab.start(fault="map-small")
    try:
        target = next(one for one in targets.on_this_host().find_all() if one.pid == instance.pid)
        by_types = seen(msgspec.structs.replace(target, maps={}), map="cache")
        wrong = {"cache": KnownMap(pid_at=4)}
        contradicted = seen(msgspec.structs.replace(target, maps=wrong), map="cache")
        by_profile = seen(target, map="cache")
    finally:
        lab.stop(instance)
    assert (by_types.text("key_source"), by_types.number("pid_at")) == ("types", 0)
    assert by_types.number("time_at") == 0
    assert by_types.number("stale_share") == 0
    assert contradicted.text("key_kind") == "unknown"
    assert "correct the profile" in contradicted.readings["stale_share"].missing
    assert by_profile.text("key_source") == "profile"
    assert by_profile.number("refused_per_s") > 500  # 2,000 where the generator gets its CPU


# ── come and gone ───────────────────────────────────────────────────────────────


def test_growth_turnover_and_use_are_seen(living: list[int]) -> None:
    """200 keys stay and are used, 100 come and 50 go each second."""
    with made("hash", 10_000, key=8) as held:
        stop = threading.Event()
        for number in range(200):
            held.put(pid_key(living[0], number), b"x" * 16)

        def work() -> None:
            turn, begun = 0, time.monotonic()
            while not stop.wait(max(0.0, begun + turn * 0.1 - time.monotonic())):
                for number in range(200):
                    held.put(pid_key(living[0], number), struct.pack("=QQ", turn, 0))
                for number in range(10):
                    held.put(pid_key(living[1], 1000 + turn * 10 + number), b"y" * 16)
                for number in range(5 if turn >= 10 else 0):
                    held.delete(pid_key(living[1], 1000 + (turn - 10) * 10 + number))
                turn += 1

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(1.2)
        try:
            found = seen(target_of([held], maps={"made": KnownMap(pid_at=0)}), 4.0)
        finally:
            stop.set()
            thread.join()
    assert found.number("new_keys_per_s") == pytest.approx(100, rel=0.25)
    assert found.number("gone_keys_per_s") == pytest.approx(50, rel=0.35)
    assert found.number("churn_per_s") == found.number("gone_keys_per_s")
    assert found.number("distinct_growth") == pytest.approx(100, rel=0.25)
    assert found.number("growth_per_s") == pytest.approx(50, rel=0.4)
    assert found.number("full_in_s") > 100
    assert found.number("stale_share") == 0
    assert 0.4 < found.number("used_share") <= 1
    assert found.series["entries"].values


def test_the_fullest_that_refuses_is_watched_and_lru_is_understood() -> None:
    """An LRU map that is full is at its best."""
    with made("lru_hash", 1000, name="lru") as lru, made("hash", 1000, name="plain") as plain:
        for number in range(1000):
            lru.put(pid_key(number), b"x" * 16)
        for number in range(300):
            plain.put(pid_key(number), b"x" * 16)
        target = target_of([lru, plain])
        assert seen(target).text("name") == "plain"
        found = seen(target, map="lru")
    assert found.number("pressure") == 0
    assert found.number("evicts") == 1
    assert any("LRU" in note for note in found.notes)
    assert {row["name"] for row in found.tables["maps"]} == {"lru", "plain"}


def test_the_moment_of_use_tells_a_reused_number(living: list[int]) -> None:
    """The entry is an hour older than the process that has its number now."""
    now = time.monotonic_ns()
    with made("hash", 100) as held:
        for number in living:
            held.put(pid_key(number), struct.pack("=QQ", now, 1))
        held.put(pid_key(os.getpid()), struct.pack("=QQ", max(1, now - 3_600_000_000_000), 1))
        found = seen(target_of([held], maps={"made": KnownMap(pid_at=0, time_at=0)}))
    assert found.number("stale_entries") == 1
    assert found.number("unused_s") < 60
    assert any("older than the process" in note for note in found.notes)


# ── what goes wrong ─────────────────────────────────────────────────────────────


def test_a_map_that_vanishes_is_told() -> None:
    """Its agent made a new one: the numbers of two maps are never mixed."""
    with made("hash", 100, name="stays"), ExitStack() as stack:
        held = stack.enter_context(made("hash", 100, name="goes"))
        held.put(pid_key(1), b"x" * 16)
        timer = threading.Timer(1.2, stack.close)
        timer.start()
        error = missed(target_of([held]), 3.0)
        timer.join()
    assert isinstance(error, ProbeFailed)
    assert "vanished" in error.problem
    assert "look again" in error.fix


def test_a_target_that_ends_is_told() -> None:
    """Not a map that vanished: the agent did."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    number = int(process.stdout.readline())
    target = Target(
        name="ends", ref="ends", processes=(Process(pid=process.pid),), map_ids=(number,),
    )  # fmt: skip
    timer = threading.Timer(1.2, lambda: (process.kill(), process.wait()))
    timer.start()
    error = missed(target, 3.0)
    timer.join()
    process.stdout.close()
    assert isinstance(error, TargetGone)


def test_wrong_names_and_empty_targets_are_told() -> None:
    """With what there is instead."""
    with made("hash", 100, name="mine") as held, made("array", 4) as array:
        assert "it has: mine" in missed(target_of([held]), map="yours").fix
        assert "no map with entries to count" in missed(target_of([array])).problem
    assert "no BPF map" in missed(target_of([])).problem
    assert MapFill().supported(target_of([])).answer == "no"
    with made("hash", 100, name="anybodys") as held:
        assert seen(None, map=str(held.id)).text("name") == "anybodys"


def test_a_count_of_refusals_that_is_not_there_is_told() -> None:
    """A profile may name what a new version of its agent has no more."""
    known = KnownMap(refused=Counter(counts="refused", source="bpf-variable", name="gone"))
    with made("hash", 100, name="mine") as held:
        found = seen(target_of([held], maps={"mine": known}))
    assert "gone" in found.readings["refused_per_s"].missing


def test_it_keeps_what_every_probe_promises() -> None:
    """Fields, cost, one begin."""
    with made("hash", 100) as held:
        check_probe(MapFill(), seen(target_of([held])))


# ── strangers ───────────────────────────────────────────────────────────────────


@needs("bpftrace", "bpftool", "unshare")
def test_bpftraces_maps_are_counted_as_bpftool_does() -> None:
    """A program that was told nothing of us; its map only grows, so bpftool's counts stand on either side."""
    with tool("bpftrace", "-e", "tracepoint:syscalls:sys_enter_openat { @opens[tid] = count(); }") as target:
        openers = [subprocess.Popen(["sleep", "30"]) for _ in range(12)]
        deadline = time.monotonic() + 10
        while not (name := busiest(target)):
            assert time.monotonic() < deadline
        for one in openers:
            one.kill()
            one.wait()
        number = next(n for n in target.map_ids if text(map_info(n).name) == name)
        before = dumped(number)
        found = seen(target, map=name)
        after = dumped(number)
    assert 12 <= before <= found.number("entries") <= after
    assert found.text("type") == "percpu_hash"


def busiest(target: Target) -> str:
    """The map of a target that has at least twelve entries."""
    rows = seen(target, 0.3).tables["maps"]
    return next((str(row["name"]) for row in rows if (row["entries"] or 0) >= 12), "")


@needs("opensnoop", "bpftool", "unshare")
def test_opensnoops_map_is_counted_as_bpftool_does() -> None:
    """Its entries live from the entry of a system call to its return: hardly one at a time."""
    with tool("opensnoop") as target:
        found = seen(target, map="start")
        assert found.number("entries") == pytest.approx(dumped(int(found.number("id"))), abs=3)
        assert found.number("max_entries") == 10240
        assert found.text("type") == "hash"


def test_the_samples_of_a_program_are_counted(sample_file: object) -> None:
    """An object with types, held by us: every map of it is in the table."""
    with BpfObject.open(sample_file) as agent:
        agent.load()
        ids = [Made(os.dup(agent.map(name).fd)) for name in ("sample_ring",)]
        with made("hash", 100) as held:
            found = seen(target_of([held, *ids]))
        for one in ids:
            os.close(one.fd)
    assert {row["type"] for row in found.tables["maps"]} == {"hash", "ringbuf"}
