"""The eyes on a small agent of known behaviour, and beside bpftool."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bpf.libbpf import BpfError, BpfObject, statistics
from bpf.objects import fallback, inventory, maps, pins, variables
from bpf.objects.ringbuf import RingWatch, record_bytes
from bpf.syscall import MapInfo, ProgramInfo, ask, map_ids_of, program_info

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

Sample = Callable[[int], BpfObject]
RECORD = record_bytes(64)


def map_id(agent: BpfObject, name: str) -> int:
    return ask(agent.map(name).fd, MapInfo()).id


def program_id(agent: BpfObject) -> int:
    return ask(agent.program_fd("sample_enter"), ProgramInfo()).id


def calls(number: int) -> None:
    for _ in range(number):
        os.getppid()


def until(holds: Callable[[], bool]) -> None:
    """The kernel lets go of an object a little after its last holder has."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def bpftool(kind: str) -> dict[int, dict[str, object]]:
    tool = shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if tool is None:
        pytest.skip("bpftool is not installed")
    told = subprocess.run([tool, "-j", kind], capture_output=True, check=True, text=True).stdout
    return {row["id"]: row for row in json.loads(told)}


# ── libbpf ──────────────────────────────────────────────────────────────────────


def test_a_refused_attachment_says_errno_and_what_libbpf_said(sample: Sample) -> None:
    """A bare -2 would leave the operator with nothing to search for."""
    with pytest.raises(BpfError, match=r"(?s)nonsense.*ENOENT.*libbpf: prog 'sample_enter'"):
        sample(os.getpid()).attach_raw_tracepoint("sample_enter", "nonsense")


def test_a_constant_can_not_be_set_once_loaded(sample: Sample) -> None:
    """It would change our copy only, and the program would go on with the old value."""
    with pytest.raises(BpfError, match="before load"):
        sample(os.getpid()).set_global("only_tgid", b"\1\0\0\0")


def test_statistics_count_only_within_the_block(sample: Sample) -> None:
    """Left on, they would cost every BPF program of the machine."""
    if Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip() != "0":
        pytest.skip("statistics are on already, for everybody")
    program = program_id(sample(os.getpid()))
    with statistics():
        calls(100)
        during = program_info(program).run_cnt
    assert during >= 100


# ── inventory ───────────────────────────────────────────────────────────────────


def test_the_inventory_tells_an_agents_objects_as_bpftool_does(sample: Sample) -> None:
    """Two sources that share no code agree on what is there."""
    agent = sample(os.getpid())
    seen = inventory.read()
    ours = {held.id: held for held in seen.maps if os.getpid() in held.owners}
    theirs = {key: row for key, row in bpftool("map").items() if key in ours}
    assert seen.source == "iterators"
    assert map_id(agent, "sample_ring") in ours
    assert set(theirs) == set(ours)
    for key, row in theirs.items():
        told = (ours[key].name, ours[key].type, ours[key].key_size, ours[key].max_entries)
        assert told == (row["name"], row["type"], row["bytes_key"], row["max_entries"])
    (program,) = [known for known in seen.programs if known.id == program_id(agent)]
    assert (program.type, program.attached_to, program.owners) == (
        "raw_tracepoint",
        "raw_tp sys_enter",
        (os.getpid(),),
    )


def test_run_times_of_the_inventory_are_the_kernels_own(sample: Sample) -> None:
    """They are summed over CPUs by our iterator; the kernel's own sum is the second source."""
    program = program_id(sample(os.getpid()))
    with inventory.Reader() as reader, statistics():
        calls(1000)
        before = program_info(program)
        (seen,) = [known for known in reader.read().programs if known.id == program]
        after = program_info(program)
    assert before.run_cnt <= seen.run_count <= after.run_cnt
    assert before.run_time_ns <= seen.run_ns <= after.run_time_ns
    assert seen.run_count >= 1000


def test_a_reader_sees_what_changed_and_leaves_itself_out(sample: Sample) -> None:
    """It remembers values between reads: they must not go stale."""
    with inventory.Reader() as reader:
        first = {held.id for held in reader.read().maps}
        agent = sample(os.getpid())
        ring = map_id(agent, "sample_ring")
        with_agent = {held.id: held for held in reader.read().maps}
        calls(100)
        filled = {held.id: held for held in reader.read().maps}[ring].fill_bytes
        agent.close()
        until(lambda: ring not in {held.id for held in reader.read().maps})
    assert ring not in first
    assert ring in with_agent
    assert filled is not None
    assert filled > (with_agent[ring].fill_bytes or 0)
    ours = {held.name for held in with_agent.values() if os.getpid() in held.owners}
    assert not ours & {"known", "percpu"}


def test_the_fallback_finds_the_same_objects_and_owners(sample: Sample) -> None:
    """Old kernels get less, but nothing else."""
    agent = sample(os.getpid())
    better, plain = inventory.read(), fallback.read({}, notes=("why",))
    ring = map_id(agent, "sample_ring")
    assert plain.source == "bpf-syscall"
    assert plain.notes[0] == "why"
    for attribute in ("name", "type", "max_entries", "flags", "owners"):
        first, second = (
            next(getattr(held, attribute) for held in seen.maps if held.id == ring)
            for seen in (better, plain)
        )
        assert first == second
    assert {known.id: known.name for known in plain.programs}.items() >= {
        known.id: known.name for known in better.programs
    }.items()


def test_elements_are_counted_alike_by_every_rung(sample: Sample) -> None:
    """The kernel's count, a batched walk and a walk key by key must not disagree."""
    agent = sample(os.getpid())
    held = agent.map("sample_hash")
    for key in range(300):
        subject = key.to_bytes(8, "little")
        assert_updated(held.fd, subject, subject)
    target = map_id(agent, "sample_hash")
    (seen,) = [known for known in inventory.read().maps if known.id == target]
    keys = [key for batch, _ in maps.lookup_batch(target) for key in split(batch, 8)]
    assert maps.count(target).entries == 300
    assert seen.entries in (300, None)
    assert len(set(keys)) == 300
    assert maps.delete_batch(target, [*keys[:100], b"\xff" * 8, *keys[100:200]]) == 200
    assert maps.count(target).entries == 100


def split(joined: bytes, size: int) -> list[bytes]:
    return [joined[at : at + size] for at in range(0, len(joined), size)]


def assert_updated(fd: int, key: bytes, value: bytes) -> None:
    from bpf.library import library  # noqa: PLC0415 - only tests fill maps

    assert library().bpf_map_update_elem(fd, key, value, 0) == 0


def test_a_per_cpu_counter_is_summed_over_cpus(sample: Sample) -> None:
    """Reading one CPU's part would tell a fraction of the truth."""
    agent = sample(os.getpid())
    before = maps.sum_percpu(map_id(agent, "sample_percpu"))
    calls(500)
    assert maps.sum_percpu(map_id(agent, "sample_percpu")) - before >= 500


def test_the_maps_of_a_program_and_their_memory_are_told(sample: Sample) -> None:
    """A plan that grows a ring has to know what it takes now."""
    agent = sample(os.getpid())
    ring = map_id(agent, "sample_ring")
    assert ring in map_ids_of(program_id(agent))
    assert (maps.memory_bytes(ring) or 0) >= 65536


def test_pins_are_found_where_a_bpf_file_system_is_mounted() -> None:
    """Without one there are none, and that is no error."""
    assert isinstance(pins.read(), dict)


# ── rings and variables ─────────────────────────────────────────────────────────


def test_a_rings_positions_tell_the_agents_own_count(sample: Sample) -> None:
    """Bytes produced are the accepted events times their record size, exactly."""
    agent = sample(os.getpid())
    with RingWatch(map_id(agent, "sample_ring")) as ring:
        calls(2000)
        consumer, producer = ring.positions()
        received = int.from_bytes(agent.get_global("received"), "little")
        dropped = int.from_bytes(agent.get_global("dropped"), "little")
    assert (consumer, producer) == (0, received * RECORD)
    assert producer + RECORD > ring.size  # it is full
    assert dropped > 0


def test_only_a_ring_can_be_watched_as_one(sample: Sample) -> None:
    """Other maps' memory would be taken for positions."""
    with pytest.raises(BpfError, match="no ring buffer"):
        RingWatch(map_id(sample(os.getpid()), ".bss"))


def test_a_variable_is_found_by_name_and_read_as_it_counts(sample: Sample) -> None:
    """The agent's own counters are the best source of its losses."""
    agent = sample(os.getpid())
    ids = map_ids_of(program_id(agent))
    with variables.find(ids, "calls") as counter, variables.find(ids, "below_zero") as signed:
        before = counter.read()
        calls(100)
        assert counter.read() - before >= 100
        assert signed.read() == -5


def test_writing_one_variable_loses_no_count_of_another(sample: Sample) -> None:
    """A write of the whole value would throw away what the kernel counted meanwhile."""
    agent = sample(os.getpid())
    ids = map_ids_of(program_id(agent))
    with variables.find(ids, "calls") as counter, variables.find(ids, "dropped") as other:
        before = counter.read()
        for number in range(500):
            os.getppid()
            other.write(number)
        assert counter.read() - before >= 500


def test_a_live_knob_takes_effect_at_once_and_fits_its_size(sample: Sample) -> None:
    """Sampling without a reload hangs on this."""
    agent = sample(os.getpid())
    ids = map_ids_of(program_id(agent))
    with variables.find(ids, "sample_n") as knob:
        knob.write(1_000_000)
        assert knob.read() == 1_000_000
        with pytest.raises(BpfError, match="does not fit"):
            knob.write(1 << 32)


def test_a_frozen_constant_says_that_only_a_restart_changes_it(sample: Sample) -> None:
    """Not 'permission denied', which would send people looking for rights."""
    ids = map_ids_of(program_id(sample(os.getpid())))
    with pytest.raises(BpfError, match="constant"):
        variables.find(ids, "only_tgid").write(1)


def test_an_unknown_variable_names_those_that_are_there(sample: Sample) -> None:
    """A typo in a profile is then seen at once."""
    ids = map_ids_of(program_id(sample(os.getpid())))
    with pytest.raises(variables.VariableUnknown) as caught:
        variables.find(ids, "droped")
    assert "dropped" in caught.value.fix


def test_a_data_map_without_btf_is_unknown_and_not_absent() -> None:
    """A stripped agent has the variable; only its name is not in the kernel."""
    nameless = made_data_map()
    try:
        with pytest.raises(variables.VariableUnknown, match="without BTF"):
            variables.find([ask(nameless, MapInfo()).id], "dropped")
    finally:
        os.close(nameless)


def made_data_map() -> int:
    """A mappable array, as libbpf makes one for a section, but with no types."""
    lib = ctypes.CDLL("libbpf.so.1")
    options = struct.pack("=QIIIIII", 32, 0, 0, 0, 0, 0, 1 << 10)  # bpf_map_create_opts: size … map_flags
    arguments = (ctypes.c_uint32(2), b"bare.bss", ctypes.c_uint32(4), ctypes.c_uint32(64), ctypes.c_uint32(1))
    fd = lib.bpf_map_create(*arguments, options)
    assert fd >= 0
    return int(fd)
