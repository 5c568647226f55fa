"""Measuring, in one way for all figures: least CPU of several runs, taken in turns.

Turns (ours, theirs, ours, theirs …) because the machine's speed drifts; the least because
noise only ever adds. CPU includes children. A figure is a ratio against a named baseline of
the same run: seconds of another day or machine are not comparable.

Not here: what is measured (``figures_*.py``).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class NotYet(Exception):
    """A figure can't be taken here; the text says why."""


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    Attributes:
        ours, baseline: Measured, in ``unit``; ``baseline`` is None for a goal in absolute units.
        ratio: What the goal speaks of; its meaning stands in ``name``.
        goal: As text, such as ``≤ 0.8``.
        met: None when it is only stated.
    """

    name: str
    ours: float
    unit: str
    goal: str
    met: bool | None
    baseline: float | None = None
    against: str = ""
    ratio: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Spent:
    """One process, from its start to its end, with its children."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    code: int
    output: str


def spend(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Spent:
    """Run once."""
    began = time.monotonic()
    with Path("/dev/null").open() as nothing:
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - began,
        peak_bytes=usage.ru_maxrss * 1024,
        code=process.returncode,
        output=output,
    )


def least_cpu(*commands: Callable[[], Spent], times: int) -> list[Spent]:
    """Each command ``times`` times, in turns; the run with the least CPU of each.

    Raises:
        NotYet: A command failed: what failed quickly is no measure.
    """
    best: list[Spent | None] = [None] * len(commands)
    for _ in range(times):
        for index, command in enumerate(commands):
            spent = command()
            if spent.code != 0:
                raise NotYet(f"a command ended with {spent.code}: {spent.output.strip()[-400:]}")
            held = best[index]
            if held is None or spent.cpu_s < held.cpu_s:
                best[index] = spent
    return [spent for spent in best if spent is not None]


def least_wall(*actions: Callable[[], object], times: int) -> list[float]:
    """Each action ``times`` times, in turns; the least wall seconds of each."""
    best = [float("inf")] * len(actions)
    for _ in range(times):
        for index, action in enumerate(actions):
            began = time.perf_counter()
            action()
            best[index] = min(best[index], time.perf_counter() - began)
    return best
