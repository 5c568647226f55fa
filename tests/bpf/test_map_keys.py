"""What keys are, who owns an entry, and what came and went between two looks."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import threading

from hypothesis import given
from hypothesis import strategies as st

from bpf.mapping import keys, memory, owners, values
from bpf.mapping.comparing import Comparison
from bpf.mapping.elements import Element, Look, buckets
from bpf.mapping.stale import Roll, compare
from bpf.objects.btf import Member
from bpf.syscall import MapInfo
from engine.values import KnownMap

IDS = st.integers(1, (1 << 22) - 1)


def member(name, offset=0, size=4, *kinds):
    return Member(name=name, kinds=kinds, offset=offset, size=size)


@given(st.lists(st.tuples(IDS, st.integers(0, (1 << 32) - 1)), min_size=1), st.sampled_from([0, 4, 8]))
def test_the_owner_is_read_where_the_layout_says(rows, at):
    """Whatever stands beside it."""
    layout = keys.of_profile(KnownMap(pid_at=at), 12)
    read = layout.reader(12)
    for pid, other in rows:
        fields = [other, other, other]
        fields[at // 4] = pid
        assert read(struct.pack("=3I", *fields)) == pid


def test_a_profile_that_does_not_fit_the_key_says_nothing():
    """A place beyond the key's end would read nonsense."""
    assert keys.of_profile(KnownMap(pid_at=4), 4) is None
    assert keys.of_profile(KnownMap(), 4) is None
    assert keys.of_profile(None, 4) is None


def test_a_profile_that_the_types_contradict_is_not_believed():
    """One of them is wrong, and entries are deleted by it: then nobody's word counts."""
    profile = keys.of_profile(KnownMap(pid_at=4), 8)
    types = keys.of_types([member("pid"), member("argument", 4)], 8)
    agreed = keys.agreed(profile, types)
    assert agreed.kind == "unknown"
    assert "correct the profile" in agreed.words
    assert keys.agreed(keys.of_profile(KnownMap(pid_at=0), 8), types).source == "profile"
    assert keys.agreed(None, types) is types
    assert keys.agreed(profile, None) is profile


def test_names_of_members_tell_what_a_key_is():
    """As agents call them."""
    for members, size, kind, at in (
        ([member("pid")], 4, "pid", 0),
        ([member("", 0, 4, "pid_t", "__kernel_pid_t", "int")], 4, "pid", 0),
        ([member("tgid", 4), member("cpu")], 8, "pid-in-key", 4),
        ([member("saddr"), member("pid", 8)], 12, "pid-in-key", 8),
        ([member("tid")], 4, "tid", 0),
        ([member("pid_tgid", 0, 8)], 8, "tid", 0 if sys.byteorder == "little" else 4),
        ([member("pid_tgid", 8, 8), member("fd")], 16, "pid-in-key", 8 if sys.byteorder == "little" else 12),
        ([member("cgroup_id", 0, 8)], 8, "cgroup", 0),
        ([member("sk", 0, 8, "sock")], 8, "socket", None),
        ([member("saddr"), member("daddr", 4), member("dport", 8, 2)], 12, "address", None),
    ):
        found = keys.of_types(members, size)
        assert (found.kind, found.at) == (kind, at), members
        assert found.source == "types"
    for members in ([member("ppid")], [member("", 0, 4, "__u32", "unsigned int")], [member("slot")], []):
        assert keys.of_types(members, 4) is None, members


@given(st.sets(IDS, min_size=20, max_size=80), st.integers(0, 2), st.randoms(use_true_random=False))
def test_live_processes_are_found_in_keys_at_any_place(pids, place, random):
    """Half of them alive, and numbers that are no processes beside them."""
    pids = sorted(pids)
    alive = pids[::2]
    rows = []
    for number in pids:
        fields = [random.randrange(1 << 23, 1 << 32) for _ in range(3)]
        fields[place] = number
        rows.append(struct.pack("=3I", *fields))
    found = keys.of_sample(rows, alive, highest=1 << 22)
    spread = (max(pids) - min(pids) + 1) / len(pids)
    if spread >= 4:
        assert (found.at, found.source) == (4 * place, "sampled")


@given(st.integers(5, 200))
def test_a_table_of_small_numbers_is_not_taken_for_processes(count):
    """CPU numbers, indices and ports fall into the range of process ids: dense numbers hit by chance."""
    rows = [struct.pack("=I", number) for number in range(1, count + 1)]
    assert keys.of_sample(rows, range(1, count, 3), highest=1 << 22) is None


def test_too_few_keys_tell_nothing():
    """Four numbers may be anything."""
    assert keys.of_sample([], [1, 2], highest=100) is None
    assert keys.of_sample([struct.pack("=I", 7)] * 9, [7], highest=100) is None
    assert keys.of_sample([b"ab"], [7], highest=100) is None


# ── who is alive ────────────────────────────────────────────────────────────────


def test_processes_threads_and_zombies_are_not_gone():
    """A thread is not listed in /proc and answers there; a zombie has not gone before it is waited for."""
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    tids: list[int] = []
    told, stop = threading.Event(), threading.Event()

    def work() -> None:
        tids.append(threading.get_native_id())
        told.set()
        stop.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    told.wait(10)
    alive = {os.getpid(), tids[0], zombie.pid, 0}
    assert owners.gone(alive | {owners.highest_pid() + 5}) == {owners.highest_pid() + 5}
    stop.set()
    thread.join()
    zombie.wait()
    assert owners.gone([zombie.pid]) == {zombie.pid}


def test_from_within_another_pid_namespace_nobody_is_called_gone(tmp_path):
    """Numbers in maps count in the first namespace; looked up in another all would seem dead."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").touch()
    assert "hostPID" in owners.why_blind(tmp_path)
    assert "not mounted" in owners.why_blind(tmp_path / "nowhere")


def test_control_groups_are_known_by_their_inode(tmp_path):
    """That is what the helper gives a program."""
    (tmp_path / "a/b").mkdir(parents=True)
    known = owners.control_groups([tmp_path])
    assert (tmp_path / "a/b").stat().st_ino in known
    assert owners.known_groups([1, (tmp_path / "a").stat().st_ino], known) == {1} - known
    assert owners.control_groups([tmp_path], at_most=1) is None
    assert owners.known_groups([1], None) == frozenset()


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share_and_narrows(hits, of):
    """What a sample says of the whole, with how sure that is."""
    hits = min(hits, of)
    low, high = owners.confidence(hits, of)
    assert 0 <= low <= hits / of + 1e-9 <= high + 2e-9 <= 1 + 2e-9
    wider = owners.confidence(hits * 10, of * 10)
    assert wider[1] - wider[0] <= high - low + 1e-9


# ── between looks ───────────────────────────────────────────────────────────────


def partial(elements, stop):
    """A look at the buckets below ``stop``, where a key's bucket is its first byte; two keys a batch."""
    rows = sorted((key, digest) for key, digest in elements.items() if key[0] < stop)
    seen = {key: Element(digest, 0) for key, digest in rows}
    stops, count = [], 0
    for bucket in range(stop):
        count += sum(key[0] == bucket for key, _ in rows)
        stops.append((count, bucket + 1.0))
    whole = stop == 256
    return Look(seen, (*stops, (count, math.inf)) if whole else tuple(stops), whole, stop / 256)


KEYS = st.dictionaries(st.binary(min_size=2, max_size=2), st.integers(0, 1), max_size=60)


@given(KEYS, KEYS, st.sampled_from([64, 200, 256]), st.sampled_from([64, 200, 256]))
def test_what_two_looks_share_is_compared_exactly(before, after, reach, later):
    """What a look stopped short of it has not seen go; what an earlier one stopped short of is not new."""
    low = min(reach, later)
    compared = Comparison()
    compared.add(0.0, partial(before, reach))
    compared.add(2.0, partial(after, later))
    found = compared.result()
    came = [key for key in after if key[0] < low and key not in before]
    went = [key for key in before if key[0] < low and key not in after]
    both = [key for key in before if key[0] < low and key in after]
    scale = 2.0 * low / 256
    assert found.came == len(came) / scale
    assert found.went == len(went) / scale
    assert found.first_seen == len(came) / scale
    assert found.used == sum(before[key] != after[key] for key in both) / scale


def test_a_key_that_comes_back_is_not_new():
    """Keys that come and go are churn; keys never seen before are cardinality."""
    compared = Comparison()
    for moment, present in enumerate(({b"aa": 0}, {}, {b"aa": 0}, {b"bb": 0})):
        compared.add(float(moment), partial(present, 256))
    found = compared.result()
    assert (found.came, found.went, found.first_seen, found.seen) == (2 / 3, 2 / 3, 1 / 3, 2)


def test_looks_that_can_not_be_compared_say_so():
    """A walk key by key that stopped short shares no known part with the next one."""
    compared = Comparison()
    assert compared.result().came is None
    look = Look({b"aa": Element(0, 0)}, ((1, 0.0),), False, None, batched=False)
    compared.add(0.0, look)
    compared.add(1.0, look)
    assert compared.result().came is None
    assert look.entries() is None


@given(st.sets(IDS, max_size=30), st.sets(IDS, max_size=30), st.sets(IDS, max_size=30))
def test_stale_is_who_was_gone_at_both_looks(present, dead_then, dead_now):
    """Who dies within the window may yet be cleaned; who came within it was not looked for twice."""
    layout = keys.Layout(kind="pid", source="profile", at=0)
    look = Look({struct.pack("=I", pid): Element(0, 0) for pid in present}, ((0, math.inf),), True, 1.0)
    then, now = Roll(look, frozenset(dead_then)), Roll(look, frozenset(dead_now))
    found = compare(layout, 4, then, now, timed=False)
    assert found.checked == len(present)
    assert found.stale == len(present & dead_then & dead_now)
    assert found.live == len(present - dead_now)


def test_a_number_that_was_given_to_a_new_process_is_told_by_the_moment():
    """Our own pid stands in an entry of before we were started: it is somebody else's."""
    layout = keys.Layout(kind="pid", source="profile", at=0)
    key, mine = struct.pack("=I", os.getpid()), owners.started_ns(os.getpid())
    for moment, stale in ((mine - 5_000_000_000, 1), (mine + 1_000_000, 0)):
        look = Look({key: Element(0, moment)}, ((1, math.inf),), True, 1.0)
        roll = Roll(look, frozenset())
        assert compare(layout, 4, roll, roll, timed=True).stale == stale


# ── values and memory ───────────────────────────────────────────────────────────


def test_the_moment_of_the_last_use_is_found_by_name_and_proven_by_value():
    """A count called time is not taken for a clock."""
    members = [member("start_ns", 0, 8), member("last_seen_ns", 8, 8), member("count", 16, 8)]
    now = owners.started_ns(os.getpid()) + 1
    rows = [struct.pack("=3Q", now - 50, now - 10, 3) for _ in range(5)]
    assert values.time_place(members, rows) == 8
    assert values.time_place(members, [struct.pack("=3Q", now, 1 << 60, 3)]) == 0
    assert values.time_place(members, [struct.pack("=3Q", 5, 7, 3)]) is None
    assert values.time_place([], rows) is None
    assert not values.are_moments([])


def test_entries_that_only_a_program_can_make_are_not_cleanable():
    """A timer that is deleted and put back would never fire."""
    assert values.why_not_cleanable("hash", [member("count", 0, 8)]) == ""
    assert "bpf_timer" in values.why_not_cleanable("hash", [member("timer", 0, 16, "bpf_timer")])
    assert values.why_not_cleanable("lpm_trie", [])


@given(st.integers(1, 1 << 20))
def test_a_table_has_as_many_buckets_as_entries_or_more(entries):
    """Up to a power of two."""
    count = buckets(MapInfo(max_entries=entries))
    assert count >= entries
    assert count < 2 * entries or entries == 1
    assert count & (count - 1) == 0


def test_memory_of_an_entry_by_kind():
    """By the kernel's structures: 48 bytes before the key; slabs without preallocation; a value per CPU."""
    sizes = {"key_size": 8, "value_size": 16, "max_entries": 10}
    assert memory.entry_bytes(MapInfo(type=1, **sizes), 4) == 72
    assert memory.entry_bytes(MapInfo(type=1, map_flags=1, **sizes), 4) == 96
    assert memory.entry_bytes(MapInfo(type=5, **sizes), 4) == 64 + 4 * 16
    assert memory.entry_bytes(MapInfo(type=2, **sizes), 4) is None
    assert memory.entry_bytes(MapInfo(type=11, **sizes), 4) == 96
    assert (
        memory.entry_bytes(MapInfo(type=1, map_flags=1, key_size=8, value_size=9000, max_entries=1), 1) > 9000
    )
    assert memory.evicts(MapInfo(type=9))
    assert memory.preallocated(MapInfo(type=9, map_flags=1))
    assert not memory.preallocated(MapInfo(type=11))
    assert memory.kind(MapInfo(type=99)) == "type-99"
