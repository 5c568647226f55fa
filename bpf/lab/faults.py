"""The faults of the practice agent: what each sets, who makes its events, and what would mend it.

Each is a real shortage or mistake, tuned so that its symptom is clear on two CPUs that are not
idle. ``runbook`` practises it; ``cause`` and ``remedy`` are what its diagnosis should find and what it
should do.

Not here: starting anything (``lab``). The agent's own defaults are in ``lab-agent.yaml``.
"""

from __future__ import annotations

from bpf.lab.down_faults import DOWN
from bpf.lab.fault import Fault, evenly
from bpf.lab.load_faults import LOAD
from bpf.lab.loss_faults import LOSS
from bpf.lab.use_faults import USE
from engine.errors import UnknownName

HEALTHY = Fault(
    name="healthy", summary="Nothing is wrong: 10k events/s, all of them read.", sources=evenly(10_000)
)

#: All faults, by name; those of one runbook stand together.
FAULTS: dict[str, Fault] = {fault.name: fault for fault in (*LOSS, *USE, *DOWN, *LOAD)}


def faults_of(runbook: str) -> tuple[Fault, ...]:
    """The faults that a runbook is practised on; empty: all, those of one runbook side by side.

    Raises:
        UnknownName: There is none for it, with the nearest runbook that has some.
    """
    runbooks = dict.fromkeys(fault.runbook for fault in FAULTS.values())
    if runbook and runbook not in runbooks:
        raise UnknownName("runbook with faults to practise on", runbook, runbooks)
    wanted = [runbook] if runbook else list(runbooks)
    return tuple(fault for name in wanted for fault in FAULTS.values() if fault.runbook == name)


def fault_named(name: str) -> Fault:
    """The fault of that name; empty is the healthy agent.

    Raises:
        UnknownName: With the nearest right name.
    """
    if not name:
        return HEALTHY
    if name not in FAULTS:
        raise UnknownName("fault", name, FAULTS)
    return FAULTS[name]
