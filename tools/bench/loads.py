"""How surely failing loads are seen, and what watching costs: ``python tools/bench/loads.py [TIMES]``.

Six kinds of refused programs, each loaded TIMES times by bpftool, by a program that uses libbpf and by
bcc; counted as seen when name, errno and the reason at the log's end are right. Then nanoseconds per
``bpf()`` call and per other system call, armed and not, in turns; the least of several runs.

Not here: the tests (``tests/kernel/test_load_failures.py``), whose programs these are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from bpf.bcc import headers
from bpf.failures import Failure
from bpf.libbpf import BpfError, BpfObject
from bpf.loads import LoadTracer

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests/kernel/refused.bpf.c"
#: Kind → errno and what stands at the log's end; errnos as of the 6.x verifiers.
REASONS = {
    "null_check": ("EACCES", "map_value_or_null"),
    "bounds": ("EACCES", "unbounded memory access"),
    "uninitialised": ("EACCES", "R7 !read_ok"),
    "endless_loop": ("EINVAL", "infinite loop detected"),
    "wrong_helper": ("EINVAL", "bpf_skb_load_bytes#26"),
    "deep_stack": ("EACCES", "invalid write to stack"),
}
_CALLS = 50_000
_TURNS = 20


def build(directory: Path) -> None:
    """Compile each kind."""
    for kind in REASONS:
        argv = ["clang", "-O2", "-g", "-target", "bpf", f"-I/usr/include/{os.uname().machine}-linux-gnu"]
        made = directory / f"{kind}.bpf.o"
        subprocess.run([*argv, f"-D{kind.upper()}", "-c", str(SOURCE), "-o", str(made)], check=True)


def by_bpftool(directory: Path, times: int) -> None:
    """One process per load, as an operator's script would."""
    tool = shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin") or "bpftool"
    for kind in REASONS:
        argv = [tool, "prog", "load", str(directory / f"{kind}.bpf.o"), "/sys/fs/bpf/never"]
        for _ in range(times):
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def by_libbpf(directory: Path, times: int) -> None:
    """One process for all, through the library."""
    subprocess.run([sys.executable, __file__, "--load", str(directory), str(times)], check=True)


def by_bcc(directory: Path, times: int) -> None:
    """One process for all; every kind is compiled once. Any headers do: no kernel structure is read."""
    environment = dict(os.environ)
    if headers.matching(os.uname().release) is None and (halves := headers.any_halves()):
        environment["BCC_KERNEL_SOURCE"] = str(headers.merge(halves, directory / "headers"))
    script = Path(__file__).with_name("refusals_bcc.py")
    subprocess.run(["/usr/bin/python3", str(script), str(times)], check=True, env=environment)


def load_all(directory: Path, times: int) -> None:
    """The loading process of ``by_libbpf``."""
    for kind in REASONS:
        for _ in range(times):
            with BpfObject.open(directory / f"{kind}.bpf.o") as refused:
                try:
                    refused.load()
                except BpfError:
                    continue
                sys.exit(f"{kind} was not refused")


def watch(tracer: LoadTracer, act: Callable[[], None]) -> list[Failure]:
    """What was seen while something happened in other processes; read 10 times a second."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    seen: list[Failure] = []
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        seen += tracer.take(time.time())
        time.sleep(0.1)
    return seen + tracer.rest()


def right(failures: Iterable[Failure]) -> Counter[str]:
    """How many are right in all three, by kind."""
    found: Counter[str] = Counter()
    for failure in failures:
        number, reason = REASONS.get(failure.name, ("", ""))
        if number == failure.errno and reason in "\n".join(failure.last_lines()):
            found[failure.name] += 1
    return found


def capture(times: int) -> None:
    """Print loader × kind."""
    with tempfile.TemporaryDirectory() as made, LoadTracer(time.time() - time.monotonic()) as tracer:
        directory = Path(made)
        build(directory)
        for loader in (by_bpftool, by_libbpf, by_bcc):
            found = right(watch(tracer, lambda loader=loader: loader(directory, times)))
            told = "  ".join(f"{kind} {found[kind]}/{times}" for kind in REASONS)
            print(f"{loader.__name__}: {told}", flush=True)
        print(f"lost: {tracer.losses()}")


def cost() -> None:
    """Print nanoseconds per call: not armed, armed, difference and ratio."""
    with tempfile.TemporaryDirectory() as made:
        caller = Path(made) / "caller"
        source = Path(__file__).with_name("caller.c")
        subprocess.run(["cc", "-O2", str(source), "-o", str(caller)], check=True)
        free, armed = {}, {}
        for _ in range(_TURNS):
            keep_least(free, one_turn(caller))
            with LoadTracer(time.time() - time.monotonic()):
                keep_least(armed, one_turn(caller))
    for call, ns in free.items():
        more = armed[call] - ns
        print(
            f"{call}: {ns:.0f} ns, armed {armed[call]:.0f} ns: +{more:.0f} ns, ratio {armed[call] / ns:.2f}"
        )


def one_turn(caller: Path) -> dict[str, float]:
    """Nanoseconds per call, by kind of call."""
    told = subprocess.run([str(caller), str(_CALLS)], capture_output=True, text=True, check=True).stdout
    return {name: float(ns) for name, ns in (line.split("\t") for line in told.splitlines())}


def keep_least(best: dict[str, float], turn: dict[str, float]) -> None:
    """Noise only ever adds."""
    for name, ns in turn.items():
        best[name] = min(ns, best.get(name, ns))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"]:
        load_all(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(f"loads: {os.cpu_count()} CPUs, kernel {os.uname().release}", flush=True)
        capture(int(sys.argv[1]) if sys.argv[1:] else 100)
        cost()
