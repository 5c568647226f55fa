"""Figures of the eyes: inventory, counting, and what watching costs a flooded agent."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from measure import Figure, NotYet, least_wall
from peers import BUILD, our_runbook

_HOLDER = Path(__file__).with_name("holder.py")
_OBJECT = re.compile(rb"^(map_id|prog_id|link_id):\s*(\d+)", re.MULTILINE)


def _must(what: bool, why: str) -> None:
    if not what:
        raise NotYet(why)


@contextmanager
def _held(kind: str, count: int) -> Iterator[int]:
    """A process holding BPF objects; gives the id of its last map."""
    _must(os.geteuid() == 0, "needs root")
    _must(shutil.which("bpftool") is not None, "the baseline bpftool is missing")
    process = subprocess.Popen(
        [sys.executable, str(_HOLDER), kind, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        _must(said[:1] == ["ready"], f"the holder of BPF objects ended: {said}")
        yield int(said[1])
    finally:
        process.communicate("")


def _bpftool_and_owners() -> int:
    """What one does by hand: three lists, and who holds each object by walking /proc."""
    for kind in ("map", "prog", "link"):
        subprocess.run(["bpftool", "-j", kind, "show"], stdout=subprocess.PIPE, check=True)
    owned = 0
    for process in os.scandir("/proc"):
        if not process.name.isdigit():
            continue
        try:
            descriptors = list(os.scandir(f"/proc/{process.name}/fdinfo"))
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                with open(descriptor.path, "rb") as text:  # noqa: PTH123 - the fastest way, in fairness
                    owned += bool(_OBJECT.search(text.read()))
            except OSError:
                continue
    return owned


def inventory() -> list[Figure]:
    """1,000 maps and 1,000 programs with their owners."""
    from bpf.objects import inventory as eyes  # noqa: PLC0415 - builds on set-up

    with _held("objects", 1000):
        began = time.perf_counter()
        with eyes.Reader() as reader:
            reader.read()
            cold = time.perf_counter() - began
            seen = reader.read()
            _must(
                sum(bool(item.owners) for item in seen.maps) >= 1000, "the inventory did not find the owners"
            )
            ours, theirs = least_wall(reader.read, _bpftool_and_owners, times=25)
    ratio = theirs / ours
    return [
        Figure(
            "inventory of 1,000 maps + 1,000 programs with owners",
            ours * 1e3,
            "ms",
            "≥ 30×",
            ratio >= 30,
            theirs * 1e3,
            "bpftool -j map, prog, link + walk of /proc",
            ratio,
            f"a first read with its set-up: {cold * 1e3:.1f} ms, {theirs / cold:.1f}×",
        )
    ]


def counting() -> list[Figure]:
    """A hash with a million entries: by the kernel's own count, and by the walk where it has none."""
    from bpf.objects import inventory, maps  # noqa: PLC0415 - builds on set-up

    with _held("hash", 1_000_000) as map_id, inventory.Reader() as reader:

        def by_kernel() -> maps.Counted:
            entries = next(each.entries for each in reader.read().maps if each.id == map_id)
            return maps.count(map_id, entries)

        counted = by_kernel()
        _must(counted.entries == 1_000_000, f"counted {counted}")
        dump = ["sh", "-c", f"bpftool map dump id {map_id} | wc -l"]
        (theirs,) = least_wall(lambda: subprocess.run(dump, stdout=subprocess.PIPE, check=True), times=2)
        kernel, walk = least_wall(by_kernel, lambda: maps.count(map_id), times=5)
    figures = [_counted(walk, theirs, 10, "batched walk")]
    if counted.source == "element count":
        figures.insert(0, _counted(kernel, theirs, 1000, counted.source))
    return figures


def _counted(ours: float, theirs: float, at_least: int, source: str) -> Figure:
    ratio = theirs / ours
    return Figure(
        f"counting a hash of 1,000,000 entries, {source}",
        ours * 1e3,
        "ms",
        f"≥ {at_least:,}×",
        ratio >= at_least,
        theirs * 1e3,
        "bpftool map dump | wc -l",
        ratio,
    )


# ── what watching costs the agent ───────────────────────────────────────────────


@contextmanager
def lab(fault: str) -> Iterator[object]:
    """The practice agent with one fault, in a directory of its own."""
    from bpf.lab import lab as practice  # noqa: PLC0415 - builds on set-up

    _must(os.geteuid() == 0, "needs root and BPF")
    instance = practice.start(fault=fault, directory=BUILD / "lab")
    try:
        yield instance
    finally:
        practice.stop(instance)


def _received(url: str) -> float:
    """Events the agent has received so far, by its own metrics."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("bpf_events_received_total") and not line.startswith("#")
    )


def _throughput(url: str, seconds: float) -> float:
    """Events per second over a window."""
    before, began = _received(url), time.monotonic()
    time.sleep(seconds)
    after, ended = _received(url), time.monotonic()
    return (after - before) / (ended - began)


class _Watched(NamedTuple):
    """What the agent loses while it is watched.

    Attributes:
        lost_share: Median over the rounds of throughput lost, beside the windows around it.
        spread: From the lower to the upper quartile of the rounds.
        cpu_cores: What the probes took.
        per_s: The agent's throughput unwatched.
    """

    lost_share: float
    spread: tuple[float, float]
    cpu_cores: float
    per_s: float


def _watched(url: str, pid: int, probes: list[str]) -> _Watched:
    """Throughput with and without watching, in turns; each watched window beside the two around it."""
    rounds, seconds = 9, 4.0
    runbook = BUILD / f"watch-{len(probes)}.yaml"
    runbook.write_text(
        f"runbook: {runbook.stem}\nsummary: For measuring.\n"
        f"steps:\n  - look: [{', '.join(probes)}]\n    with: {{window: {seconds + 2:g}s}}\n"
    )
    plain, losses, cores = [_throughput(url, seconds)], [], []
    for _ in range(rounds):
        watching = subprocess.Popen(
            [our_runbook(), "run", str(runbook), "--pid", str(pid), "--json"],
            env={**os.environ, "RUNBOOK_STATE": str(BUILD / "watch-state")},
            stdout=subprocess.PIPE,
        )
        time.sleep(1.0)  # past its start
        watched = _throughput(url, seconds)
        told, _ = watching.communicate()
        _must(watching.returncode == 0, f"runbook run ended with {watching.returncode}")
        plain.append(_throughput(url, seconds))
        losses.append(1 - 2 * watched / (plain[-2] + plain[-1]))
        seen = [event["evidence"] for event in json.loads(told)["events"] if event["kind"] == "seen"]
        cores.append(sum(each["cost"]["cpu_s"] for each in seen) / (seconds + 2))
    lower, middle, upper = statistics.quantiles(losses, n=4)
    return _Watched(middle, (lower, upper), statistics.median(cores), statistics.median(plain))


def watching() -> list[Figure]:
    """What the agent loses of its throughput at full flood while we look."""
    with lab("flood") as instance:
        our_runbook()
        url, pid = instance.metrics_url, instance.pid  # type: ignore[attr-defined]
        off = _watched(url, pid, ["event-flow", "process"])
        on = _watched(url, pid, ["event-flow", "process", "program-cost"])
    return [
        _lost("throughput lost while event-flow and process watch", off, "< 1 %", _kept(off)),
        _lost("the same with program-cost, statistics on", on, "stated", None),
    ]


def _kept(seen: _Watched) -> bool | None:
    """Less than one in a hundred lost; None where the rounds differ too much among themselves to say."""
    low, high = seen.spread
    return None if high - low > 0.02 else seen.lost_share < 0.01


def _lost(name: str, seen: _Watched, goal: str, met: bool | None) -> Figure:
    low, high = seen.spread
    note = (
        f"quartiles {low:.1%} to {high:.1%}, of {seen.per_s:,.0f} events/s;"
        f" the probes took {seen.cpu_cores / (os.cpu_count() or 1):.2%} of the machine's CPU"
    )
    return Figure(name, seen.lost_share * 100, "%", goal, met, note=note)


FIGURES = {"inventory": inventory, "counting": counting, "watching": watching}
