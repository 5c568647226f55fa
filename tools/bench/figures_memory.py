"""Figures of memory and allocations: what looking takes, and what it costs who is looked at.

``allocations`` is measured on a program that does nothing but allocate and free, the dearest case there is:
how long a pair takes while it is watched, against the same under bcc's ``memleak`` and under valgrind. An
agent that allocates less loses as much less: multiply its pairs a second by the nanoseconds of one.

Not here: whether the sites are right (``tests/kernel/test_memory_kernel.py``, beside valgrind).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measure import Figure, NotYet

from bpf.bcc import headers

_SOURCE = Path(__file__).with_name("allocating.c")
_WARM, _LINES = 4, 8  # quarters of a second: let go by, and measured
_PROBE = """
import sys
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.values import Evidence, Process, Target
from bpf.probes.allocations import Allocations
from bpf.probes.memory import Memory

pid, seconds, name = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
probe, options = (Memory(), {}) if name == "memory" else (Allocations(), {"at_most": 10**8})
target = Target(name="bench", ref="bench", processes=(Process(pid=pid),))
cancel = Cancel()
view = View(target=target, seconds=seconds, clock=SystemClock(cancel), cancel=cancel)
for answer in look([Request(probe, options)], view):
    assert isinstance(answer, Evidence), answer
    print(answer.cost.cpu_s, answer.ended_at - answer.started_at)
"""


@contextmanager
def _program(*before: str, mib: int = 0) -> Iterator[subprocess.Popen[str]]:
    """The allocating program, run by itself or under a tool."""
    if shutil.which("gcc") is None:
        raise NotYet("needs gcc")
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "allocating"
        subprocess.run(["gcc", "-O2", "-o", made, _SOURCE], check=True)
        process = subprocess.Popen([*before, str(made), str(mib)], stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def _pair_ns(process: subprocess.Popen[str], lines: int = _LINES) -> float:
    """Nanoseconds of CPU of one malloc and free: the median of so many quarters of a second."""
    assert process.stdout is not None
    rates = [float(process.stdout.readline()) for _ in range(_WARM + lines)][_WARM:]
    return 1e9 / statistics.median(rates)


def _watched(start: Callable[[int], list[str]], environment: Mapping[str, str] | None = None) -> float:
    """The same while a tool watches it."""
    with _program() as process:
        alone = _pair_ns(process, 1)
        tool = subprocess.Popen(
            start(process.pid), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        ended = threading.Thread(target=tool.communicate, daemon=True)
        ended.start()
        assert process.stdout is not None
        seen: list[float] = []
        while ended.is_alive():
            seen.append(1e9 / float(process.stdout.readline()))
        if tool.returncode:
            raise NotYet(f"{tool.args[0]} failed")  # type: ignore[index]
        # Before it is attached and after it has let go a pair takes as long as ever.
        slow = [pair for pair in seen if pair > max(5 * alone, max(seen) / 2)]
        if not slow:
            raise NotYet(f"{tool.args[0]} was not seen to watch")  # type: ignore[index]
        return statistics.median(slow)


def _with_headers(directory: Path) -> dict[str, str]:
    """bcc needs some kernel's headers; memleak reads no kernel structure, so any do."""
    halves = headers.any_halves()
    if headers.matching(os.uname().release) or not halves:
        return {**os.environ}
    return {**os.environ, "BCC_KERNEL_SOURCE": str(headers.merge(halves, directory / "headers"))}


def _probe(pid: int, seconds: float, name: str) -> list[str]:
    return [sys.executable, "-c", _PROBE, str(pid), str(seconds), name]


def allocations() -> list[Figure]:
    """How long a malloc and its free take while they are watched."""
    with _program() as process:
        alone = _pair_ns(process)
    ours = _watched(lambda pid: _probe(pid, 3, "allocations"))
    figures = [
        Figure(
            "allocations: a malloc and its free, watched, against unwatched", ours, "ns", "stated", None,
            baseline=alone, against="unwatched", ratio=ours / alone,
        )
    ]  # fmt: skip
    if memleak := shutil.which("memleak-bpfcc"):
        with tempfile.TemporaryDirectory() as directory:
            theirs = _watched(
                lambda pid: [memleak, "-p", str(pid), "-a", "2", "2"], _with_headers(Path(directory))
            )
        figures.append(
            Figure(
                "allocations: the same against bcc's memleak", ours, "ns", "≤ 1.2", ours <= 1.2 * theirs,
                baseline=theirs, against="memleak", ratio=ours / theirs,
            )
        )  # fmt: skip
    if valgrind := shutil.which("valgrind"):
        with _program(valgrind, "-q", "--leak-check=full") as process:
            slow = _pair_ns(process, 4)
        note = "valgrind slows everything else down as well, and can't be let go"
        figures.append(
            Figure(
                "allocations: the same under valgrind", ours, "ns", "stated", None,
                baseline=slow, against="valgrind", ratio=ours / slow, note=note,
            )
        )  # fmt: skip
    return figures


def memory() -> list[Figure]:
    """CPU of the probe, for processes of two sizes; and what it costs the process."""
    figures = []
    for mib in (100, 2000):
        with _program(mib=mib) as process:
            alone = _pair_ns(process)
            tool = subprocess.Popen(_probe(process.pid, 10, "memory"), stdout=subprocess.PIPE, text=True)
            slowed = _pair_ns(process, 24) / alone - 1
            cpu_s, seconds = map(float, tool.communicate()[0].split())
        share = cpu_s / seconds * 100
        note = f"the process's own work took {max(0.0, slowed):.1%} longer"
        figures.append(
            Figure(
                f"memory: CPU while it watches {mib} MiB", share, "% of a core", "≤ 5", share <= 5, note=note
            )
        )
    return figures


FIGURES = {"allocations": allocations, "memory": memory}
