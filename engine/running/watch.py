"""The process that ends leases when their time is up: started by whoever leaves one in force.

One promise: where a temporary change is in force, somebody holds ``LOCK``, or a process that will has been
started. Whoever lets go of it looks once more afterwards, so that a lease given at that moment is not missed.

Light: the worker loads it. Not here: ending leases (``engine.running.leases``).
"""

from __future__ import annotations

import subprocess
import sys

from engine.journal import Journal, locks

#: Held, as a run's lock, by the one who ends the leases of a journal: such a process, or the worker.
LOCK = "lease-watch"


def start(journal: Journal) -> None:
    """Start the process where a lease is in force and nobody watches; it ends with the last lease.

    It outlives this process and the terminal. Should it be killed, ``runbook undo --leases`` does the
    same at any later time.
    """
    if not journal.leases(float("inf")) or locks.run_is_held(journal.directory, LOCK):
        return
    state = str(journal.directory.absolute())
    subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.cli", "undo", "--leases", "--wait", "--state", state],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
