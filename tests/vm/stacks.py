"""Profiles on an old or new kernel: stacks, names of kernel functions, waits that end with nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from promises import holds, map_id, same, sample

from bpf.libbpf import BpfObject
from bpf.probes.cpu_profile import CpuProfile
from bpf.probes.reader_work import ReaderWork
from bpf.syscall import ProgramInfo, ask
from engine.clock import Cancel, SystemClock
from engine.contracts import Probe
from engine.running.looking import Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Setting, Target

_SECONDS = 4.0


def _seen(probe: Probe, agent: BpfObject, pid: int, **options: Setting) -> Evidence:
    probe.cpu_ceiling = 1.0  # an emulated CPU says nothing about what a look may cost
    cancel = Cancel()
    program = ask(agent.program_fd("sample_enter"), ProgramInfo()).id
    ring = map_id(agent, "sample_ring")
    target = Target(
        name="sample",
        ref="sample",
        processes=(Process(pid=pid),),
        program_ids=(program,),
        map_ids=(ring,),
        rings=(ring,),
    )
    (found,) = look(
        [Request(probe, options)], View(target, _SECONDS, SystemClock(cancel), cancel), grace_s=90
    )
    if not isinstance(found, Evidence):
        raise found.error
    check_probe(probe, found)
    return found


@contextmanager
def _working(code: str) -> Iterator[int]:
    """A process that does one thing again and again; its pid."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def stacks_are_sampled_and_the_kernels_functions_named() -> None:
    with sample() as agent, _working("while True: open('/dev/null').close()") as pid:
        seen = _seen(CpuProfile(), agent, pid, hz=199, symbols="own")
    holds((seen.number("samples") or 0) > 50, f"{seen.number('samples')} samples")
    holds(seen.number("bpf_share") is not None, f"code of programs: {seen.readings['bpf_share'].missing}")
    kernel = [str(row["function"]) for row in seen.tables["functions"] if row["kind"] == "kernel"]
    holds(any("syscall" in name for name in kernel), f"kernel functions {kernel[:8]}")


def waits_that_end_with_nothing_are_counted() -> None:
    polling = "import select\nnothing = select.poll()\nwhile True: nothing.poll(2)"
    with sample() as agent, _working(polling) as pid:
        seen = _seen(ReaderWork(), agent, pid)
    calls = {row["syscall"]: row for row in seen.tables["syscalls"]}
    holds("poll" in calls, f"system calls {list(calls)}")
    holds(float(calls["poll"]["waits_per_s"] or 0) > 20, str(calls["poll"]))
    same(seen.readings["spin_cores"].missing, "")


PROMISES = (stacks_are_sampled_and_the_kernels_functions_named, waits_that_end_with_nothing_are_counted)
