"""Figures of cpu-profile: does it say what ``perf record`` says of the same process at the same time?

Two perf records beside each other are the measure of what chance does to samples: no profile can agree
better with perf than perf with itself. Own shares of functions are compared, of the process's own threads.

perf watches all CPUs and the process is picked out after, as cpu-profile does. A third one watches the
process alone (``-p``) and is only stated: its clock stands still while the process does, so that it ticks
too often just after a switch (``finish_task_switch``).
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from figures_kernel import lab
from measure import Figure, NotYet

_SECONDS = float(os.environ.get("PROFILE_SECONDS", "10"))
_HZ = 199
_ENOUGH = 50  # samples: fewer say nothing
_OTHERS = " (other process)"
#: What gcc and the kernel add to the name of a function or of a part of it.
_DECORATION = re.compile(r"^__(?:x64|se|do)_sys_|@.*$|\.(?:isra|part|constprop|cold).*$")
Shares = Mapping[str, float]


class _Seen(NamedTuple):
    """One profile: own share of each function; CPU that it took to make."""

    shares: Shares
    samples: int
    cpu_s: float


class _Names:
    """One name for each function, however a tool calls it: libraries give many functions several."""

    def __init__(self, pid: int) -> None:
        from bpf.stacks.address_space import AddressSpace  # noqa: PLC0415 - builds on set-up

        space = AddressSpace.read(pid)
        self._same: dict[str, str] = {}
        for mapping in space.mappings:
            with space.opened(mapping) as fd:
                if fd is not None:
                    self._take(mapping.path)

    def _take(self, path: str) -> None:
        told = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=False).stdout
        told += subprocess.run(["nm", _debug_file(path)], capture_output=True, text=True, check=False).stdout
        at: dict[str, list[str]] = {}
        for line in told.splitlines():
            address, _, rest = line.partition(" ")
            if address and rest[:1] in "tTwWiI":
                at.setdefault(address, []).append(_plain(rest[2:]))
        for names in at.values():
            self._same |= dict.fromkeys(names, min(names))

    def one(self, symbol: str) -> str:
        name = _plain(symbol.removesuffix("_[k]"))
        return "[no name]" if name.startswith("[") or "@plt" in symbol else self._same.get(name, name)


def _plain(symbol: str) -> str:
    return _DECORATION.sub("", symbol)


def _debug_file(path: str) -> str:
    """Of a stripped file its debug package's, if installed; else itself."""
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Build ID: (\w\w)(\w+)", notes)
    other = Path(f"/usr/lib/debug/.build-id/{found[1]}/{found[2]}.debug") if found else Path(path)
    return str(other if other.exists() else path)


def _shares(counted: Counter[str]) -> Shares:
    whole = sum(counted.values()) or 1
    return {name: count / whole for name, count in counted.most_common()}


def _ours(pid: int, names: _Names) -> _Seen:
    from bpf.probes.cpu_profile import CpuProfile  # noqa: PLC0415 - builds on set-up
    from engine.clock import Cancel, SystemClock  # noqa: PLC0415
    from engine.running.looking import Missed, Request, View, look  # noqa: PLC0415
    from engine.values import Process, Target  # noqa: PLC0415

    cancel = Cancel()
    target = Target(name=str(pid), ref=str(pid), processes=(Process(pid=pid),))
    view = View(target, _SECONDS, SystemClock(cancel), cancel)
    (answer,) = look([Request(CpuProfile(), {"hz": _HZ})], view)
    if isinstance(answer, Missed):
        raise NotYet(str(answer.error))
    counted: Counter[str] = Counter()
    for row in answer.tables["stacks"]:
        frames = str(row["folded"]).split(";")
        if not frames[0].endswith(_OTHERS):
            counted[names.one(frames[-1])] += int(row["samples"] or 0)
    return _Seen(_shares(counted), sum(counted.values()), answer.cost.cpu_s + answer.cost.bpf_s)


class _Perf:
    """``perf record -g``, for as long as our window.

    Args:
        whose: Its arguments for what to watch.
    """

    def __init__(self, pid: int, place: Path, whose: list[str]) -> None:
        self._pid, self._file = pid, place
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(_HZ), "-g", *whose]
        self._process = subprocess.Popen(
            [*command, "-o", str(place), "--", "sleep", str(_SECONDS)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def seen(self, names: _Names) -> _Seen:
        """Wait for it, and have the stacks named."""
        _, _, recording = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(
            ["perf", "script", "-i", str(self._file), "--pid", str(self._pid), "-F", "ip,sym"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        naming = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        innermost = [block.strip().partition("\n")[0].partition(" ")[2] for block in told.split("\n\n")]
        counted = Counter(names.one(symbol.strip()) for symbol in innermost if symbol)
        return _Seen(
            _shares(counted), sum(counted.values()), recording.ru_utime + recording.ru_stime + naming
        )


def overlap(one: Shares, other: Shares) -> float:
    """The share of samples that both put into the same functions: 1 is all."""
    return sum(min(share, other.get(name, 0.0)) for name, share in one.items())


def common(one: Shares, other: Shares) -> tuple[int, int]:
    """Of the ten hottest functions of ``one``, from 1 % on: how many the other has too, of how many."""
    top = [name for name, share in list(one.items())[:10] if share >= 0.01]
    return sum(name in other for name in top), len(top)


def compared(name: str, pid: int) -> list[Figure]:
    """One process, watched four times at once."""
    names = _Names(pid)
    with tempfile.TemporaryDirectory() as directory:
        whose = (["-a"], ["-a"], ["-p", str(pid)])
        perfs = [_Perf(pid, Path(directory) / str(place), each) for place, each in enumerate(whose)]
        mine = _ours(pid, names)
        theirs, again, alone = (perf.seen(names) for perf in perfs)
    if min(mine.samples, theirs.samples) < _ENOUGH:
        raise NotYet(f"{name} used too little CPU: {mine.samples} and {theirs.samples} samples")
    agreed, itself = overlap(theirs.shares, mine.shares), overlap(theirs.shares, again.shares)
    found, top = common(theirs.shares, mine.shares)
    hottest = [next(iter(each.shares)) for each in (mine, theirs)]
    return [
        Figure(
            f"cpu-profile of {name}: samples put into the same functions as by perf",
            agreed * 100,
            "%",
            "≥ 0.9× of perf with itself, all of its top functions",
            agreed >= 0.9 * itself and found == top,
            itself * 100,
            "a second perf record",
            agreed / itself,
            f"{found} of perf's {top} top functions of 1 % and more; hottest {hottest[0]} and {hottest[1]}; "
            f"{mine.samples:,} and {theirs.samples:,} samples; "
            f"with perf record -p {overlap(alone.shares, mine.shares):.1%}, "
            f"which agrees with perf record -a to {overlap(alone.shares, theirs.shares):.1%}",
        ),
        Figure(
            f"cpu-profile of {name}: CPU to sample and name",
            mine.cpu_s * 1e3,
            "ms",
            "stated",
            None,
            alone.cpu_s * 1e3,
            "perf record -p and perf script",
            mine.cpu_s / alone.cpu_s,
        ),
    ]


@contextmanager
def _spender() -> Iterator[int]:
    """A C program built with frame pointers."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "spender"
        source = Path(__file__).with_name("spender.c")
        subprocess.run(
            ["cc", "-O0", source, "-o", made],
            check=True,
        )
        with _running([str(made)]) as process:
            yield process.pid


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def _snooper() -> Iterator[int]:
    """bpftrace with one line of output for each file that is opened, and somebody who opens files."""
    tool = shutil.which("bpftrace")
    if tool is None or shutil.which("unshare") is None:
        raise NotYet("bpftrace or unshare is not installed")
    program = 'tracepoint:syscalls:sys_enter_openat { printf("%s %s\\n", comm, str(args->filename)); }'
    mounts = "mount -t tracefs t /sys/kernel/tracing; mount -t debugfs d /sys/kernel/debug; exec "
    opening = "import os\nwhile True: os.close(os.open('/dev/null', 0))"
    with (
        _running(["unshare", "-m", "sh", "-c", f'{mounts} {tool} -e "$0"', program]) as snooper,
        _running([sys.executable, "-c", opening]),
    ):
        time.sleep(3.0)  # it compiles
        if snooper.poll() is not None:
            raise NotYet("it does not run here")
        yield snooper.pid


def profile() -> list[Figure]:
    """A C program of known shares, the practice agent twice, and a tool of others."""
    if os.geteuid() != 0 or shutil.which("perf") is None:
        raise NotYet("needs root, and the baseline perf (linux-perf)")
    figures: list[Figure] = []
    with _spender() as pid:
        figures += compared("a C program", pid)
    for fault in ("cpu-bound", "busy-poll"):
        with lab(fault) as instance:
            time.sleep(1.0)
            figures += compared(f"the practice agent ({fault})", instance.pid)  # type: ignore[attr-defined]
    try:
        with _snooper() as pid:
            figures += compared("bpftrace under load", pid)
    except NotYet as reason:
        print(f"profile of bpftrace: not measured: {reason}", flush=True)
    return figures


FIGURES = {"profile": profile}
