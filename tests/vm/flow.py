"""Lost events of the practice agent, end to end: its fault, the probe, its own count; and perf buffers."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from promises import KERNEL, holds, same

from bpf.lab import lab
from bpf.objects.perfbuf import PerfWatch
from bpf.probes.event_flow import EventFlow
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.values import Evidence


def losses_of_the_practice_agent_are_seen() -> None:
    instance = lab.start("slow-poll")  # of all faults the one that one CPU alone shows as well
    try:
        target = targets.on_this_host().find("lab")
        cancel, probe = Cancel(), EventFlow()
        probe.cpu_ceiling = 1.0  # an emulated CPU is ten times slower
        view = View(target, 4.0, SystemClock(cancel), cancel)
        (seen,) = look([Request(probe, {"sample_every": 0.02})], view)
        if not isinstance(seen, Evidence):
            raise seen.error
        told = {name: seen.number(name) for name in ("dropped_total", "full_share", "accepted_per_s")}
        holds((told["dropped_total"] or 0) > 0, f"no loss was seen: {told}")
        holds((told["full_share"] or 0) > 0, f"a full ring was not seen: {told}")
    finally:
        lab.stop(instance)


def a_perf_buffer_is_seen_with_its_size() -> None:
    with perf_buffer(pages=4), PerfWatch(os.getpid()) as watch:
        (ring,) = watch.read()
        same((ring.size, ring.head, ring.tail, ring.next_bytes), (4 * mmap.PAGESIZE, 0, 0, 0))
        holds(KERNEL < (6, 0) or ring.lost == 0, "from 6.0 on the kernel counts what is lost")


@contextmanager
def perf_buffer(pages: int) -> Iterator[None]:
    """A perf buffer of this process on CPU 0, as for BPF output. Source: perf_event_open(2)."""
    software, bpf_output, sample_raw = 1, 10, 1 << 10
    attributes = struct.pack("=IIQQQ88x", software, 120, bpf_output, 1, sample_raw)
    call = ctypes.CDLL(None, use_errno=True).syscall
    fd = call(298, ctypes.c_char_p(attributes), -1, 0, -1, 8)  # x86_64; 8: close on exec
    holds(fd >= 0, f"perf_event_open failed: {os.strerror(ctypes.get_errno())}")
    try:
        with mmap.mmap(fd, (pages + 1) * mmap.PAGESIZE):
            yield
    finally:
        os.close(fd)


PROMISES = (losses_of_the_practice_agent_are_seen, a_perf_buffer_is_seen_with_its_size)
