"""Where a target's CPU goes: its stacks, in its own code, in the kernel and in its BPF programs.

Its promise: every share is of all samples taken, and what could not be named or seen is said. Samples in
other processes count where one of the target's BPF programs was running: that is the target's cost, on
somebody else's account.

Costs 1 to 4 µs for each tick and CPU, and for the names at the end 0.2 s of CPU and 60 MB in a child.
Not here: drawing (the report), exact run times of BPF programs (``program-cost``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bpf.libbpf import BpfError, usable
from bpf.probes.asked import named
from bpf.stacks import advice, folding, ticking
from bpf.stacks.address_space import AddressSpace
from bpf.stacks.fields import FIELDS
from bpf.stacks.folding import Profile
from bpf.stacks.naming import Ask, Naming, by_bcc
from bpf.stacks.programs import Code, code_of
from bpf.stacks.sampler import Sampler, online_cpus
from bpf.system.procfs import PROC, alive, must_live, not_running
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Cost, Evidence, Field, Reading, Support, Target

_HZ = 99  # not 100: never in step with what runs a hundred times a second
_MOST_HZ = 999
_EVERY_S = 0.5
_SOURCE = "CPU clock with BPF"


class _Sampling(NamedTuple):
    """One window's sampler, and how it is read."""

    sampler: Sampler
    programs: list[Code]
    hz: int
    ask: Ask | None


class CpuProfile:
    """The probe ``cpu-profile``."""

    name = "cpu-profile"
    short = "profile"
    summary = "Where its CPU goes: functions of its code, the kernel and its BPF programs, as stacks"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {
        "hz": "samples a second of each CPU, 1 to 999; 99 when not said",
        "symbols": "who names its functions: bcc, or own for our reader alone; bcc when not said",
    }
    needs_target = True
    cpu_ceiling = 0.2

    def __init__(self, proc: Path = PROC, ask: Ask = by_bcc) -> None:
        self._proc = proc
        self._ask = ask

    def supported(self, target: Target | None) -> Support:
        """Needs a process to look at; root, for stacks."""
        if gone := not_running(target, self._proc):
            return gone
        here = usable()
        if here.answer != "yes":
            return Support(answer="yes", why=f"by clock ticks alone, no functions: {here.why}", fix=here.fix)
        return Support(answer="yes", why="can sample stacks with BPF")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Sample for one window."""
        target = named(target, self.name)
        hz, ask = _hz(window), self._symbolizer(window)
        programs = code_of(target.program_ids) if usable().answer == "yes" else []
        expected = int(hz * window.seconds * len(online_cpus()))
        try:
            sampler = Sampler(alive(target, self._proc), programs, expected)
        except BpfError as error:
            return self._by_ticks(target, window, error)
        with sampler:
            return self._by_stacks(target, window, _Sampling(sampler, programs, hz, ask))

    def _symbolizer(self, window: Window) -> Ask | None:
        wish = window.options.get("symbols", "bcc")
        if wish not in {"bcc", "own"}:
            raise ProbeFailed(f"symbols can't be {wish!r}", fix="symbols: bcc, or symbols: own")
        return self._ask if wish == "bcc" else None

    def _by_stacks(self, target: Target, window: Window, how: _Sampling) -> Evidence:
        spaces = self._spaces(target)
        started_at = window.begin()
        began, cpu = window.clock.monotonic(), time.thread_time()
        try:
            how.sampler.start(how.hz)
        except BpfError as error:
            return self._by_ticks(target, window, error, started_at)
        shown = 0
        for _ in window.ticks(max(_EVERY_S, window.seconds / 100)):
            taken = how.sampler.taken
            window.show("samples", taken - shown)
            shown = taken
            if not alive(target, self._proc):
                break
        how.sampler.stop()
        seconds = window.clock.monotonic() - began
        spaces |= {pid: space for pid, space in self._spaces(target).items() if space.mappings}
        samples = how.sampler.read()
        if not samples:
            must_live(target, self._proc)
        naming = Naming(spaces, how.ask)
        profile = folding.keep(
            Profile(naming.name(samples), how.programs, known=bool(how.programs or not target.program_ids))
        )
        readings = {**folding.readings(profile), **_counts(profile, how, seconds), "source": _source(naming)}
        gone = (
            [] if alive(target, self._proc) else [f"{target.name} ended after {seconds:.1f} s of the window"]
        )
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=readings,
            tables={
                "functions": folding.functions(profile),
                "threads": folding.threads(profile),
                "stacks": folding.folded(profile),
            },
            notes=(*gone, *naming.notes, *advice.notes(readings, spaces.values(), go=naming.has_go)),
            cost=Cost(
                cpu_s=time.thread_time() - cpu + naming.cpu_s,
                bpf_s=how.sampler.bpf_s,
                memory_bytes=naming.peak_bytes,
            ),
        )

    def _by_ticks(
        self, target: Target, window: Window, error: BpfError, started_at: float | None = None
    ) -> Evidence:
        """The rung below: no stacks."""
        started_at = window.begin() if started_at is None else started_at
        readings, tables = ticking.watch(target, window, self._proc)
        must_live(target, self._proc)
        absent = {
            name: Reading(unit=field.unit, missing=ticking.missing(name))
            for name, field in FIELDS.items()
            if name not in readings and field.type != "rows"
        }
        problem = error.problem.splitlines()[0]
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=window.clock.now(),
            readings={**readings, **absent},
            tables=tables,
            notes=(f"stacks could not be sampled: {problem}; fix: {error.fix}",),
        )

    def _spaces(self, target: Target) -> dict[int, AddressSpace]:
        return {pid: AddressSpace.read(pid, self._proc) for pid in alive(target, self._proc)}


def _hz(window: Window) -> int:
    wish = window.options.get("hz", _HZ)
    if isinstance(wish, bool) or not isinstance(wish, int | float) or not 1 <= wish <= _MOST_HZ:
        raise ProbeFailed(f"hz can't be {wish!r}", fix=f"a number from 1 to {_MOST_HZ}: hz: 49")
    return int(wish)


def _counts(profile: Profile, how: _Sampling, seconds: float) -> dict[str, Reading]:
    taken = profile.samples
    lost = how.sampler.lost
    return {
        "samples": Reading(value=taken, source=_SOURCE),
        "hz": Reading(value=how.hz, unit="1/s", source=_SOURCE),
        "cpu_cores": Reading(value=taken / how.hz / (seconds or 1.0), unit="cores", source="samples"),
        "lost_share": Reading(
            value=lost / (taken + lost) if taken + lost else 0.0, unit="share", source=_SOURCE
        ),
    }


def _source(naming: Naming) -> Reading:
    return Reading(value=f"{_SOURCE}; names by {naming.symbolizer}", source=_SOURCE)
