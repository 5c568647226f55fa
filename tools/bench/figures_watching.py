"""Figures of what is always on, or asked for at a glance: quick-check, the exporter, ``runbook top``.

The exporter stands beside Prometheus' node_exporter, scraped as often; top beside ``bpftool`` asked for
programs and maps as often, which is what people type with ``watch``. CPU is the process's own.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figures_kernel import lab
from measure import Figure, NotYet, spend
from peers import BUILD, our_runbook

_SCRAPES, _PAUSE_S = 40, 0.25
_EVERY_S = 15.0  # as a scrape is usually configured
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_SERVERS = Path("build/servers")


def quick_check() -> list[Figure]:
    """From the command to its end, on a healthy agent."""
    took = []
    with lab("") as agent, tempfile.TemporaryDirectory() as state:
        target = f"lab:{agent.config_file}"  # type: ignore[attr-defined]
        command = [our_runbook(), "run", "quick-check", "--target", target, "--state", state]
        for _ in range(10):
            spent = spend(command)
            if spent.code not in {0, 1}:
                raise NotYet(f"quick-check ended with {spent.code}")
            took.append(spent.wall_s)
    took.sort()
    note = f"median {took[len(took) // 2]:.2f} s of {len(took)}"
    return [Figure("quick-check, the slowest", took[-1], "s", "< 3", took[-1] < 3, note=note)]


def exporter() -> list[Figure]:
    """CPU of one scrape, and what that is at one every 15 s; memory after all of them."""
    with lab(""), _listening([our_runbook(), "exporter", "--listen", "127.0.0.1:0"]) as (ours, url):
        mine, memory = _scraped(ours, url), _resident(ours)
    figures = [
        Figure(
            "exporter: share of a core at a scrape every 15 s",
            100 * mine / _EVERY_S,
            "%",
            "< 1",
            mine / _EVERY_S < 0.01,
        ),
        Figure("exporter: resident memory", memory / 2**20, "MiB", "< 80", memory < 80 * 2**20),
    ]
    command = [str(_node_exporter()), "--web.listen-address=127.0.0.1:9199"]
    with _listening(command, "http://127.0.0.1:9199/metrics") as (theirs, url):
        node = _scraped(theirs, url)
    figures.append(
        Figure(
            "exporter: CPU of a scrape",
            1000 * mine,
            "ms",
            "stated",
            None,
            baseline=1000 * node,
            against="node_exporter",
            ratio=mine / node,
        )
    )
    return figures


def top() -> list[Figure]:
    """Share of a core while it reads every 2 s, beside bpftool asked for programs and maps as often."""
    times, every = 10, 2.0
    with lab(""):
        idle = spend([our_runbook(), "top", "-n", "1", "--every", "100ms"]).cpu_s
        ours = spend([our_runbook(), "top", "-n", str(times), "--every", f"{every}s"]).cpu_s - idle
        bpftool = sum(
            spend(["bpftool", "-j", kind, "show"]).cpu_s for kind in ("prog", "map") for _ in range(10)
        )
    share, theirs = ours / ((times - 1) * every), bpftool / 10 / every
    return [
        Figure(
            "top: share of a core, read every 2 s",
            100 * share,
            "%",
            "< 3",
            share < 0.03,
            baseline=100 * theirs,
            against="bpftool prog, map",
            ratio=share / theirs,
            note="with owners, fill, peaks, rates and the agent's own counters, which bpftool does not tell",
        )
    ]


@contextmanager
def _listening(command: list[str], url: str = "") -> Iterator[tuple[int, str]]:
    """A server until the end; gives its pid and its page. Without ``url`` it says the page on stderr."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL if url else subprocess.PIPE, text=True)
    try:
        if not url:
            found = re.match(r"http\S+?(?=;)", process.stderr.readline() if process.stderr else "")
            if found is None:
                raise NotYet(f"{command[0]} did not say where it listens")
            url = found[0]
        deadline = time.monotonic() + 10
        while not _answers(url):
            if time.monotonic() > deadline:
                raise NotYet(f"{command[0]} did not answer")
            time.sleep(0.05)
        yield process.pid, url
    finally:
        process.terminate()
        process.wait(timeout=10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
    except OSError:
        return False
    return True


def _scraped(pid: int, url: str) -> float:
    """CPU seconds of one scrape, over many."""
    before = _cpu(pid)
    for _ in range(_SCRAPES):
        _answers(url)
        time.sleep(_PAUSE_S)
    return (_cpu(pid) - before) / _SCRAPES


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _node_exporter() -> Path:
    """Unpacked, never installed: installing would start it."""
    program = _SERVERS / "usr/bin/prometheus-node-exporter"
    if not program.exists():
        debs = BUILD / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(["apt-get", "download", "-qq", program.name], cwd=debs, check=False)
        found = sorted(debs.glob(f"{program.name}_*.deb"))
        if got.returncode or not found:
            raise NotYet(f"{program.name} is not to be had here")
        subprocess.run(["dpkg-deb", "-x", found[-1], _SERVERS], check=True)
    return program


FIGURES = {"quick-check": quick_check, "exporter": exporter, "top": top}
