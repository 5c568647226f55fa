"""The eyes' rungs on an old or new kernel: inventory, rings, variables, maps, failed reserves, facts."""

from __future__ import annotations

import os
import struct

from promises import KERNEL, RECORD, NotHere, calls, holds, map_id, number, same, sample

from bpf.libbpf import library, statistics
from bpf.objects import drops, fallback, inventory, maps, pins, variables
from bpf.objects.iterators import possible_cpus
from bpf.objects.ringbuf import RingWatch
from bpf.probes.kernel_facts import KernelFacts
from bpf.syscall import program_info
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Inventory


def _of_sample(seen: Inventory) -> dict[str, object]:
    """What an inventory says of the sample, without what only one rung tells."""
    (program,) = (one for one in seen.programs if one.name == "sample_enter")
    (ring,) = (one for one in seen.maps if one.name == "sample_ring")
    links = [link.program_id == program.id for link in seen.links if link.program_id == program.id]
    return {
        "type": program.type,
        "owners": program.owners,
        "ring": (ring.id, ring.type, ring.max_entries, ring.owners),
        "uses": ring.id in program.map_ids,
        "links": links,
    }


def inventory_by_iterators_is_the_inventory_by_system_calls() -> None:
    with sample():
        best = inventory.read()
        plain = fallback.read(pins.read())
        same(best.source, "iterators")
        same(_of_sample(best), _of_sample(plain))
        same(_of_sample(best)["owners"], (os.getpid(),))


def ring_positions_are_what_was_written() -> None:
    with sample() as agent, RingWatch(map_id(agent, "sample_ring")) as ring:
        before, already = ring.positions()[1], number(agent, "received")
        calls(300)
        written, received = ring.positions()[1] - before, number(agent, "received") - already
        # a look at the counter is a system call itself, and written too
        holds(abs(written // RECORD - received) <= 2, f"{written} bytes for {received} records")
        holds(received >= 300, f"only {received} received")


def a_variable_is_found_read_and_written() -> None:
    with sample() as agent:
        ids = [map_id(agent, ".data"), map_id(agent, ".bss")]
        with variables.find(ids, "below_zero") as below, variables.find(ids, "sample_n") as one_in:
            same(below.read(), -5)
            one_in.write(10)
            same(number(agent, "sample_n"), 10)


def elements_are_counted_exactly() -> None:
    with sample() as agent:
        hash_id, fd = map_id(agent, "sample_hash"), agent.map("sample_hash").fd
        for key in range(1000):
            library().bpf_map_update_elem(fd, struct.pack("=Q", key), struct.pack("=Q", key), 0)
        counted = maps.count(hash_id)
        same((counted.entries, counted.source), (1000, "batched walk"))
        (held,) = (one for one in inventory.read().maps if one.id == hash_id)
        if held.entries is None:
            holds(KERNEL < (6, 6), "the kernel has an element count, and it was not used")
            raise NotHere("no element count before 6.6; batches count exactly")
        same(held.entries, 1000)


def run_statistics_count_runs() -> None:
    with sample() as agent, statistics():
        (program,) = (one.id for one in inventory.read().programs if one.name == "sample_enter")
        before = program_info(program).run_cnt
        calls(200)
        holds(program_info(program).run_cnt - before >= 200, "fewer runs than system calls")
        del agent


def failed_reserves_are_counted_exactly() -> None:
    if KERNEL > (6, 12):
        same(drops.supported().answer, "no")
        raise NotHere("the helper can't be traced from 6.13 on, and supported() says so")
    with sample() as agent, drops.FailedReserves() as counter:
        ring = map_id(agent, "sample_ring")

        def look_twice() -> tuple[int, int, int]:
            """The agent's own count before and after ours: looking makes system calls, which may drop."""
            return number(agent, "dropped"), counter.read().get(ring, 0), number(agent, "dropped")

        first = look_twice()
        calls(2000)  # the ring holds 910, and nobody reads
        last = look_twice()
        counted = last[1] - first[1]
        holds(counted > 1000, "too little was dropped")
        least, most = last[0] - first[2], last[2] - first[0]
        holds(least <= counted <= most, f"{counted} counted, the agent says {least} to {most}")


def kernel_facts_are_all_known() -> None:
    cancel = Cancel()
    (seen,) = look([Request(KernelFacts())], View(None, 0.1, SystemClock(cancel), cancel))
    if not isinstance(seen, Evidence):
        raise seen.error
    check_probe(KernelFacts(), seen)
    for name in ("fentry", "fexit", "kprobe", "iterator", "raw_tracepoint", "tp_btf", "ring_buffer"):
        same((name, seen.text(name)), (name, "yes"))
    same(seen.text("element_count"), "yes" if KERNEL >= (6, 6) else "no")
    same(seen.text("failed_reserves"), "yes" if KERNEL <= (6, 12) else "no")
    same(possible_cpus() >= 1, True)


PROMISES = (
    inventory_by_iterators_is_the_inventory_by_system_calls,
    ring_positions_are_what_was_written,
    a_variable_is_found_read_and_written,
    elements_are_counted_exactly,
    run_statistics_count_runs,
    failed_reserves_are_counted_exactly,
    kernel_facts_are_all_known,
)
