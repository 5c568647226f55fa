"""The agent does not run: how it came to that.

Those that a single event or a peak brings down run again, and go on, when they are started anew.
"""

from __future__ import annotations

from bpf.lab.fault import MIB, Fault, evenly

#: A process whose events the agent can't take.
ODD = {"practice.crash_on": "lab-odd-{port}"}

DOWN: tuple[Fault, ...] = (
    Fault(
        name="down-oom",
        summary="1 KiB leaks with each event; a peak uses up its cgroup's 48 MiB, and the kernel kills it.",
        settings={"practice.leak_per_event": "1KiB", "ring.size": "8MiB"},
        sources=evenly(400),
        provoked_by=("lab-peak:20000/0.2",),
        memory_bytes=48 * MIB,
        down=True,
        runbook="agent-down",
        cause="oom-killed",
        remedy="restart",
    ),
    Fault(
        name="down-crash-loop",
        summary="Each second an event comes that it can't take; its supervisor starts it again and again.",
        settings=ODD,
        sources=("lab-odd:1", *evenly(1_000)),
        supervised=True,
        down=True,
        runbook="agent-down",
        cause="crash-loop",
    ),
    Fault(
        name="down-crashed",
        summary="An event that it can't take came once: it died of a segmentation fault.",
        settings=ODD,
        sources=evenly(1_000),
        provoked_by=("lab-odd:1/0.1",),
        down=True,
        runbook="agent-down",
        cause="crashed",
        remedy="restart",
    ),
    Fault(
        name="down-stopped",
        summary="Somebody has stopped it.",
        sources=evenly(1_000),
        stopped=True,
        down=True,
        runbook="agent-down",
        cause="stopped-by-human",
    ),
    Fault(
        name="down-failed-load",
        summary="A program that the verifier refuses: the agent says so, and ends.",
        settings={"practice.bad_program": "null-check"},
        sources=evenly(1_000),
        down=True,
        runbook="agent-down",
        cause="failed-load",
    ),
)
