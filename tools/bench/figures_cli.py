"""Figures of the command line and the engine, against Chaos Toolkit and Ansible."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import Figure, NotYet, Spent, least_cpu, spend
from peers import BUILD, chaos_experiment, install, our_runbook, playbook, runbook


def _chaos(*arguments: str) -> Callable[[], Spent]:
    """Chaos Toolkit in its own directory, where it leaves its journal; its update check is off."""
    chaos = str(install("chaos") / "chaos")
    environment = {**os.environ, "PYTHONPATH": str(BUILD), "LC_ALL": "C.UTF-8"}
    return lambda: spend([chaos, *arguments], env=environment, cwd=BUILD)


def _ours(*arguments: str) -> Callable[[], Spent]:
    return lambda: spend([our_runbook(), *arguments])


def _run_ours(path: Path) -> Spent:
    """A run with a journal of its own, on the file system that holds the checkout."""
    with tempfile.TemporaryDirectory(dir=BUILD) as state:
        return spend(
            [our_runbook(), "run", str(path), "--yes", "--state", state],
            env={**os.environ, "RUNBOOK_STATE": state},
        )


def _cpu(name: str, ours: Spent, theirs: Spent, against: str, at_most: float) -> Figure:
    ratio = ours.cpu_s / theirs.cpu_s
    return Figure(
        name,
        ours.cpu_s * 1e3,
        "ms CPU",
        f"≤ {at_most:g}×",
        ratio <= at_most,
        theirs.cpu_s * 1e3,
        against,
        ratio,
    )


def help_text() -> list[Figure]:
    """Start: what every command pays."""
    mine, theirs = least_cpu(_ours("--help"), _chaos("--help"), times=9)
    return [_cpu("runbook --help", mine, theirs, "chaos --help", 0.8)]


def check() -> list[Figure]:
    """Reading and judging a runbook of ten steps."""
    mine, theirs = least_cpu(
        _ours("check", str(runbook(10))),
        _chaos("--no-version-check", "validate", str(chaos_experiment(10))),
        times=9,
    )
    return [_cpu("runbook check, 10 steps", mine, theirs, "chaos validate", 1.0)]


def steps() -> list[Figure]:
    """1,000 steps that do nothing; ours are each on disk before the next begins."""
    thousand = runbook(1000)
    chaos = _chaos("--no-version-check", "run", str(chaos_experiment(1000)))
    mine, theirs = least_cpu(lambda: _run_ours(thousand), chaos, times=3)
    ansible = str(install("ansible") / "ansible-playbook")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_LOCALHOST_WARNING": "False"}
    tasks = str(playbook(1000))
    (debug,) = least_cpu(
        lambda: spend([ansible, "-i", "localhost,", tasks], env=environment, cwd=BUILD), times=1
    )
    times_less = debug.cpu_s / mine.cpu_s
    return [
        _cpu("1,000 no-op steps, each flushed", mine, theirs, "chaos run (writes once, at the end)", 2.0),
        Figure(
            "1,000 no-op steps, each flushed",
            mine.cpu_s * 1e3,
            "ms CPU",
            "≥ 30× less",
            times_less >= 30,
            debug.cpu_s * 1e3,
            "ansible-playbook, debug tasks",
            times_less,
        ),
    ]


def run() -> list[Figure]:
    """A whole run against the lab: from the command to the first sample, and its memory."""
    from figures_kernel import lab  # noqa: PLC0415 - needs root and BPF

    first, peak = float("inf"), 0
    with lab("burst") as instance, tempfile.TemporaryDirectory(dir=BUILD) as state:
        pid = str(instance.pid)  # type: ignore[attr-defined]
        command = [our_runbook(), "run", "events-dropped", "--pid", pid, "--dry-run"]
        for seconds in (1, 1, 1, 1, 1, 10):  # the long one for its memory
            report = Path(state) / "report.json"
            report.unlink(missing_ok=True)
            asked = time.time()
            spent = spend(
                [*command, "--input", f"window={seconds}s", "--report", str(report)],
                env={**os.environ, "RUNBOOK_STATE": state},
            )
            if not report.exists():
                raise NotYet(f"runbook run ended with {spent.code}: {spent.output.strip()[-400:]}")
            first = min(first, _first_sample(report) - asked)
            peak = max(peak, spent.peak_bytes)
    return [
        Figure("runbook run to its first sample", first * 1e3, "ms", "< 300 ms", first < 0.3),
        Figure("peak memory of a run", peak / 2**20, "MiB", "< 80 MB", peak < 80e6),
    ]


def _first_sample(report: Path) -> float:
    """Epoch seconds at which the first probe's window began."""
    events = json.loads(report.read_text())["events"]
    return min(float(event["evidence"]["started_at"]) for event in events if event.get("kind") == "seen")


FIGURES = {"help": help_text, "check": check, "steps": steps, "run": run}
