"""Failing loads on an old or new kernel, with the program that suits it and with the other one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from promises import HERE, KERNEL, NotHere, holds, same

from bpf.failures import Failure
from bpf.loads import LoadTracer

#: Kind → what stands near the log's end on every verifier since 5.10.
REASONS = {
    "null_check": ("map_value_or_null",),
    "bounds": ("unbounded memory access",),
    "uninitialised": ("R7 !read_ok",),
    "endless_loop": ("infinite loop detected",),
    "wrong_helper": ("bpf_skb_load_bytes#26", "unknown func"),
    "deep_stack": ("invalid write to stack", "invalid stack"),
    "no_licence": ("GPL",),
}


def _fails(tracer: LoadTracer, *argv: str) -> tuple[list[Failure], str]:
    """Failures of one process, and what it printed."""
    made = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = made.communicate()[0].strip()
    return [failure for failure in tracer.rest() if failure.pid == made.pid], said


def _tracer(*, bounded: bool | None = None) -> LoadTracer:
    return LoadTracer(time.time() - time.monotonic(), bounded=bounded)


def _fail(kind: str) -> Failure:
    with _tracer() as tracer:
        seen, said = _fails(tracer, sys.executable, str(HERE / "failing.py"), kind, "1")
    same(len(seen), 1)
    same(seen[0].errno, said)
    return seen[0]


def _refusals(*, bounded: bool | None) -> None:
    tool = shutil.which("bpftool")
    holds(tool is not None, "bpftool is not in the machine")
    with _tracer(bounded=bounded) as tracer:
        for kind, reasons in REASONS.items():
            argv = (str(tool), "prog", "load", str(HERE / f"{kind}.bpf.o"), "/sys/fs/bpf/never")
            seen, _ = _fails(tracer, *argv)
            # libbpf tries harmless programs first, and tells nobody when they fail
            mine = [failure for failure in seen if failure.name == kind]
            same((kind, len(mine)), (kind, 1))
            log = "\n".join(mine[0].last_lines())
            holds(any(reason in log for reason in reasons), f"{kind}: {log!r}")
            same((kind, mine[0].type, mine[0].log_complete), (kind, "raw_tracepoint", True))


def refused_programs_are_seen_with_the_end_of_their_log() -> None:
    _refusals(bounded=None)


def so_they_are_with_the_program_for_older_kernels() -> None:
    _refusals(bounded=True)


def a_map_that_can_not_be_made_is_seen() -> None:
    seen = _fail("ring")
    same((seen.command, seen.name, seen.type, seen.errno), ("MAP_CREATE", "wrong_ring", "ringbuf", "EINVAL"))


def what_the_kernel_refuses_is_told_from_what_seccomp_refuses() -> None:
    kernel, filtered = _fail("not-permitted"), _fail("seccomp")
    same((kernel.errno, filtered.errno), ("EPERM", "EPERM"))
    same((kernel.refused_by, filtered.refused_by), ("", "seccomp"))
    same((filtered.command, filtered.name), ("MAP_CREATE", "fine_map"))


def other_calls_are_seen() -> None:
    for kind, command in (
        ("types", "BTF_LOAD"),
        ("tracepoint", "RAW_TRACEPOINT_OPEN"),
        ("link", "LINK_CREATE"),
    ):
        same(_fail(kind).command, command)


def losses_are_counted() -> None:
    with _tracer() as tracer:
        argv = [sys.executable, str(HERE / "failing.py"), "ring", "20000"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        seen, lost = len(list(tracer.attempts())), tracer.losses().lost
    holds(lost > 0, "nothing was lost")
    same(seen + lost, 20000)


def the_program_that_suits_is_taken() -> None:
    with _tracer() as tracer:
        notes = tracer.notes
    if KERNEL >= (5, 17):
        same(notes, ())
        raise NotHere("it has bpf_loop, which is taken")
    holds(any("bpf_loop" in note for note in notes), f"notes: {notes}")


PROMISES: tuple[Callable[[], None], ...] = (
    refused_programs_are_seen_with_the_end_of_their_log,
    so_they_are_with_the_program_for_older_kernels,
    a_map_that_can_not_be_made_is_seen,
    what_the_kernel_refuses_is_told_from_what_seccomp_refuses,
    other_calls_are_seen,
    losses_are_counted,
    the_program_that_suits_is_taken,
)
