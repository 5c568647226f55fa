"""BPF programs of all targets: which are loaded, how often they run, what CPU they take.

Its promise: run time is never a zero that means "not counted". The kernel counts runs only while
its statistics are on: thorough keeps them on (25 to 31 ns for each run of any BPF program), else they
are on for a fifth of a second at each read, and rates are what that showed.

Not here: the reader's own CPU (``bpf.meters.agents``). Source: ``BPF_ENABLE_STATS`` (kernel 5.8).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from bpf.libbpf import BpfError, statistics
from bpf.syscall import program_info
from engine.values import BpfProgram, Family, Inventory, Sample, Target

#: How long statistics are on at each read, when they are not on all the time.
WINDOW_S = 0.2
_LABELS = ("program", "type", "id")


class _Count(NamedTuple):
    at: float
    runs: int
    ns: int


class ProgramMeter:
    """The meter ``programs``."""

    name = "programs"
    families: Mapping[str, Family] = {
        "bpf_program_loaded": Family(help="1 for each program that is loaded.", labels=_LABELS),
        "bpf_program_cpu_cores": Family(help="CPU that a program takes, in cores.", labels=_LABELS),
        "bpf_program_runs_per_second": Family(help="How often a program runs.", labels=_LABELS),
        "bpf_program_run_seconds_total": Family(
            help="Time that a program ran; only while run statistics are on for good.",
            type="counter",
            labels=_LABELS,
        ),
        "bpf_program_runs_total": Family(
            help="Runs of a program; only while run statistics are on for good.",
            type="counter",
            labels=_LABELS,
        ),
        "bpf_program_recursion_misses_total": Family(
            help="Runs left out since the program was already running on that CPU (kernel 5.12).",
            type="counter",
            labels=_LABELS,
        ),
    }

    def __init__(
        self,
        *,
        thorough: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep, self._monotonic = sleep, monotonic
        self._thorough = thorough
        self._held = ExitStack()
        self._last: dict[int, _Count] = {}
        self._counting = False

    def read(self, targets: Sequence[Target], inventory: Inventory) -> Iterator[Sample]:
        """All programs of all targets; without ``thorough`` takes ``WINDOW_S``."""
        known = {one.id: one for one in inventory.programs}
        mine = [(one.ref, known[id_]) for one in targets for id_ in one.program_ids if id_ in known]
        before, after = self._counts([program.id for _, program in mine])
        for ref, program in mine:
            yield from self._of(ref, program, before.get(program.id), after.get(program.id))

    def glance(self) -> None:
        """Nothing peaks here."""

    def close(self) -> None:
        """Statistics go off with the descriptor that switched them on."""
        self._held.close()

    def _of(
        self, ref: str, program: BpfProgram, before: _Count | None, after: _Count | None
    ) -> Iterator[Sample]:
        labels = (program.name, program.type, str(program.id))

        def sample(family: str, value: float) -> Sample:
            return Sample(family=family, value=value, target=ref, labels=labels)

        yield sample("bpf_program_loaded", 1.0)
        yield sample("bpf_program_recursion_misses_total", float(program.recursion_misses))
        if after is None:
            return
        if self._thorough:
            yield sample("bpf_program_run_seconds_total", after.ns / 1e9)
            yield sample("bpf_program_runs_total", float(after.runs))
        if before is not None and after.at > before.at:
            seconds = after.at - before.at
            yield sample("bpf_program_cpu_cores", (after.ns - before.ns) / 1e9 / seconds)
            yield sample("bpf_program_runs_per_second", (after.runs - before.runs) / seconds)

    def _counts(self, ids: list[int]) -> tuple[dict[int, _Count], dict[int, _Count]]:
        """Counts at the beginning and at the end of a stretch in which statistics were on."""
        if not ids or not self._switched_on():
            return {}, {}
        if self._thorough:
            before, self._last = self._last, self._look(ids)
            return before, self._last
        with statistics():
            before = self._look(ids)
            self._sleep(WINDOW_S)
            return before, self._look(ids)

    def _switched_on(self) -> bool:
        """Whether runs can be counted; where not, once and for all."""
        if not self._counting:
            try:
                if self._thorough:
                    self._held.enter_context(statistics())
                else:
                    with statistics():
                        pass
            except BpfError:
                return False
            self._counting = True
        return True

    def _look(self, ids: list[int]) -> dict[int, _Count]:
        found = {}
        for program in ids:
            try:
                info = program_info(program)
            except BpfError:  # it has gone since
                continue
            found[program] = _Count(self._monotonic(), info.run_cnt, info.run_time_ns)
        return found
