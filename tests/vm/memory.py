"""Memory on an old or new kernel: allocations followed, heaps read, the split of resident memory."""

from __future__ import annotations

import ctypes
import os

from promises import NotHere, holds, same

from bpf.memory import glibc_heap, processes
from bpf.memory.allocators import allocators_of
from bpf.memory.following import Follower
from bpf.stacks.address_space import AddressSpace

_SIZE, _MADE, _FREED = 4321, 60, 20


def allocations_are_followed_exactly() -> None:
    space = AddressSpace.read(os.getpid())
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    found = allocators_of(space)
    if not found.allocators:
        raise NotHere(found.why)
    with Follower(space, found.allocators, 1) as follower:
        same(follower.attach(), {})
        pieces = [libc.malloc(_SIZE) for _ in range(_MADE)]
        for piece in pieces[:_FREED]:
            libc.free(piece)
        follower.stop()
        after = libc.malloc(_SIZE)  # let go: not seen any more
        seen = [one for one in follower.pieces() if one.bytes == _SIZE]
        tally = follower.tally()
    for piece in [*pieces[_FREED:], after]:
        libc.free(piece)
    same(len(seen), _MADE - _FREED)
    holds(all(one.stack for one in seen), "pieces without the address of their caller")
    holds(tally.calls >= _MADE and tally.frees >= _FREED, f"counted {tally}")
    if follower.sizes_known:
        holds(tally.bytes <= tally.held < 2 * tally.bytes, f"sizes are off: {tally}")


def the_heap_is_read_to_its_end() -> None:
    mappings = processes.mappings(os.getpid())
    free = glibc_heap.free_in(os.getpid(), mappings)
    if free is None:
        raise NotHere("the heap is not glibc's")
    holds(free.read >= 0.9 * free.heap, f"stopped early: {free}")
    holds(0 <= free.free < free.read, f"free: {free}")


def resident_memory_is_split() -> None:
    walked, counted = (processes.split(os.getpid(), exact=exact) for exact in (True, False))
    if walked is None or counted is None:
        raise NotHere("no status of ourselves")
    same(walked.exact, True)
    holds(walked.pss is not None and 0 < walked.pss <= walked.rss * 1.05, f"PSS: {walked}")
    holds(abs(walked.anon - counted.anon) < 2 << 20, f"{walked.anon} walked, {counted.anon} counted")


PROMISES = (allocations_are_followed_exactly, the_heap_is_read_to_its_end, resident_memory_is_split)
