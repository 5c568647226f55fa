"""What each BPF program of a target costs: runs per second, nanoseconds per run, share of a CPU.

Its promise: the kernel's own run statistics, switched on for the window only, and the difference
between its two ends; what ran before does not count. BPF programs run on the account of whoever
triggers them, so none of this shows in the agent's own CPU.

While statistics are on, every BPF program of the machine runs 25 to 31 ns longer, which is not in
the numbers. Looking itself costs 3 µs per program and look.

Not here: the reader's CPU (the ``process`` probe).
Source: ``BPF_ENABLE_STATS`` (kernel 5.8), ``struct bpf_prog_info``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from bpf.libbpf import BpfError, statistics, usable
from bpf.objects.names import PROGRAM_TYPES, named, text
from bpf.syscall import ids, program_info
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Reading, Scalar, Series, Support, Target

_SOURCE = "BPF run statistics"
_EVERY_S = 0.5
_PRICE = (
    "run statistics were on for the window: each BPF run of the machine took 25 to 31 ns longer meanwhile"
)


class Counters(NamedTuple):
    """Totals of one program since it was loaded."""

    runs: int
    ns: int
    misses: int


class Look(NamedTuple):
    """Totals by program id, at one monotonic moment."""

    at: float
    programs: dict[int, Counters]


class ProgramCost:
    """The probe ``program-cost``."""

    name = "program-cost"
    short = "cost"
    summary = "Runs, nanoseconds per run and share of a CPU of each BPF program"
    fields: Mapping[str, Field] = {
        "cpu_cores": Field(help="CPU that the programs took, on whichever CPU they ran", unit="cores"),
        "runs_per_s": Field(help="runs of all programs together", unit="1/s"),
        "ns_per_run": Field(help="mean over all runs", unit="ns"),
        "hottest": Field(help="name and id of the program that took the most CPU", type="text"),
        "hottest_ns_per_run": Field(help="mean time of one run of it", unit="ns"),
        "hottest_cores": Field(help="CPU that it took", unit="cores"),
        "recursion_misses_per_s": Field(
            help="runs left out since the program was already running", unit="1/s"
        ),
        "programs": Field(help="one row per BPF program, with what it took", type="rows"),
    }
    options: Mapping[str, str] = {}
    needs_target = False
    cpu_ceiling = 0.05

    def supported(self, target: Target | None) -> Support:
        """Needs root and run statistics (kernel 5.8)."""
        here = usable()
        if here.answer != "yes":
            return here
        if target is not None and not target.program_ids:
            return Support(answer="no", why=f"{target.name} has no BPF program", fix="runbook targets")
        try:
            with statistics():
                return Support(answer="yes", why="run statistics can be switched on")
        except BpfError as error:
            return Support(answer="no", why=error.problem, fix=error.fix)

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch the target's programs, or without a target all programs, for one window."""
        wanted = target.program_ids if target is not None else None
        with statistics():
            infos = {program: program_info(program) for program in _present(wanted)}
            names = {program: text(info.name) for program, info in infos.items()}
            types = {program: named(PROGRAM_TYPES, info.type) for program, info in infos.items()}
            started_at = window.begin()
            looks = [_look(window.clock.monotonic(), names)]
            times = [started_at]
            for at in window.ticks(max(_EVERY_S, window.seconds / 300)):
                looks.append(_look(window.clock.monotonic(), names))
                times.append(at)
                window.show("BPF programs", _cores(*looks[-2:]), "cores")
        rows = _rows(looks[0], looks[-1], names, types)
        gone = len(names) - len(looks[-1].programs)
        if not rows:
            raise ProbeFailed("no BPF program was there for the whole window", fix="runbook targets")
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name if target is not None else "",
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=_readings(rows),
            series={
                "cpu": Series(
                    label="BPF programs",
                    unit="cores",
                    times=tuple(times[1:]),
                    values=tuple(_cores(a, b) for a, b in pairwise(looks)),
                )
            },
            tables={"programs": tuple(rows)},
            notes=(_PRICE, *([f"{gone} programs ended within the window and are left out"] if gone else [])),
        )


def _present(wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The ids that are there now; all of the machine when none are wanted."""
    everything = tuple(ids("prog"))
    found = everything if wanted is None else tuple(sorted(set(wanted) & set(everything)))
    if not found:
        raise ProbeFailed("none of the BPF programs to watch is loaded any more", fix="runbook targets")
    return found


def _look(at: float, programs: Mapping[int, str]) -> Look:
    seen = {}
    for program in programs:
        try:
            info = program_info(program)
        except BpfError:
            continue  # it ended
        seen[program] = Counters(info.run_cnt, info.run_time_ns, info.recursion_misses)
    return Look(at, seen)


def _cores(first: Look, last: Look) -> float:
    """CPU of the programs that were there at both moments."""
    spent = sum(now.ns - first.programs[program].ns for program, now in last.programs.items())
    return spent / 1e9 / (last.at - first.at or 1.0)


def _rows(
    first: Look, last: Look, names: Mapping[int, str], types: Mapping[int, str]
) -> list[dict[str, Scalar]]:
    """One row per program that was there all the time, the dearest first."""
    seconds = last.at - first.at or 1.0
    rows: list[dict[str, Scalar]] = []
    for program, now in last.programs.items():
        before = first.programs[program]
        runs, spent = now.runs - before.runs, now.ns - before.ns
        rows.append(
            {
                "id": program,
                "name": names[program],
                "type": types[program],
                "runs_per_s": runs / seconds,
                "ns_per_run": spent / runs if runs else None,
                "cores": spent / 1e9 / seconds,
                "recursion_misses": now.misses - before.misses,
                "recursion_misses_per_s": (now.misses - before.misses) / seconds,
            }
        )
    return sorted(rows, key=lambda row: -_number(row, "cores"))


def _number(row: Mapping[str, Scalar], name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else 0.0


def _readings(rows: list[dict[str, Scalar]]) -> dict[str, Reading]:
    cores, runs = (sum(_number(row, name) for row in rows) for name in ("cores", "runs_per_s"))
    hottest = rows[0]
    never = "" if runs else "no program ran in the window"
    return {
        "cpu_cores": Reading(value=cores, unit="cores", source=_SOURCE),
        "runs_per_s": Reading(value=runs, unit="1/s", source=_SOURCE),
        "ns_per_run": Reading(
            value=cores * 1e9 / runs if runs else None, unit="ns", source=_SOURCE, missing=never
        ),
        "hottest": Reading(value=f"{hottest['name']} ({hottest['id']})", source=_SOURCE),
        "hottest_ns_per_run": Reading(value=hottest["ns_per_run"], unit="ns", source=_SOURCE, missing=never),
        "hottest_cores": Reading(value=hottest["cores"], unit="cores", source=_SOURCE),
        "recursion_misses_per_s": Reading(
            value=sum(_number(row, "recursion_misses_per_s") for row in rows), unit="1/s", source=_SOURCE
        ),
    }
