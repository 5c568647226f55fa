"""Bringing a practice agent down, in the way that its fault asks for.

Not here: the faults (``down_faults``), starting and stopping instances (``lab``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bpf.lab import processes
from bpf.lab.fault import Fault
from bpf.lab.instances import Instance
from bpf.lab.rights import LabFailed
from bpf.lab.settings import own_sources
from bpf.lab.waiting import until

DOWN_WAIT_S = 20.0
LOOPS = 2
#: What its supervisor says each time.
STARTED_AGAIN = "supervisor: lab-agent"


def bring_down(
    instance: Instance,
    fault: Fault,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """End a running agent as ``fault`` says; waits until it is gone, or has died twice under its supervisor.

    Raises:
        LabFailed: It still runs.
    """
    if fault.stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(instance.pid, signal.SIGTERM)
    if fault.provoked_by:
        _provoke(instance, fault)

    def is_down() -> bool:
        if fault.supervised:
            return deaths(instance) >= LOOPS
        return processes.ended(instance.pid) is not None

    if not until(is_down, DOWN_WAIT_S, every=0.05, sleep=sleep, monotonic=monotonic):
        raise LabFailed(f"the agent still runs after {DOWN_WAIT_S:.0f} s", fix="runbook doctor")


def deaths(instance: Instance) -> int:
    """How often its supervisor has said that it started it again."""
    try:
        return Path(instance.log_file).read_text(errors="replace").count(STARTED_AGAIN)
    except OSError:
        return 0


def _provoke(instance: Instance, fault: Fault) -> None:
    """Make the events that it can't take, until it is gone."""
    port = urlsplit(instance.metrics_url).port or 0
    argv = [str(processes.GENERATOR), "--for", str(int(DOWN_WAIT_S)), "--with-pid", str(instance.pid)]
    for source in own_sources(fault.provoked_by, port):
        argv += ["--source", source]
    # its pid file's name on the command line is what ``stop`` finds it by
    argv += ["--pid-file", str(Path(instance.directory) / "generator.pid")]
    pid = processes.spawn(argv, Path(instance.directory) / "generator.log")
    until(lambda: processes.ended(pid) is not None, DOWN_WAIT_S, every=0.05)
