"""Temporary changes: ended when their time is up, or made lasting.

One promise: any later process can end a lease that is due; what stands in the journal is enough.

Not here: giving leases (``engine.running.remedy``), the process that waits for them (``engine.launch``).
"""

from __future__ import annotations

from contextlib import ExitStack, suppress

from engine.errors import Refused
from engine.journal import Journal, locks
from engine.record import Resumed, Settled
from engine.running import runner
from engine.running.resume import made_of, settled_as, take_back
from engine.running.scene import Tools

#: How often it is looked whether a lease was undone or made lasting meanwhile, in seconds.
GLANCE_S = 15.0


def end_leases(tools: Tools) -> list[Settled]:
    """Undo every temporary change whose time is up. Runs that are being worked on are passed over."""
    due = tools.journal.leases(tools.clock.now())
    settled: list[Settled] = []
    for run_id in dict.fromkeys(one.run for one in due):
        run = tools.journal.run(run_id)
        with ExitStack() as held, suppress(Refused):
            runner.hold(held, [run.head], tools)
            log = tools.journal.continue_(run_id)
            log.record(Resumed(at=tools.clock.now(), by=tools.by, doing="lease-end"))
            mine = [one for one in reversed(due) if one.run == run_id]
            settled += take_back(mine, run, log, tools, "its lease has ended")
    return settled


def keep_leases(tools: Tools) -> None:
    """Wait for leases and end them, until none is left, somebody asks to stop, or the journal is gone.

    It looks again every ``GLANCE_S``: a lease may have been given, ended or made lasting meanwhile.
    """
    there = (tools.journal.directory / "journal.db").exists
    while not tools.cancel and there() and (until := next_lease(tools.journal)) is not None:
        left = until - tools.clock.now()
        tools.clock.sleep(min(max(left, 1.0), GLANCE_S))
        if left <= 0:
            end_leases(tools)


def next_lease(journal: Journal) -> float | None:
    """When the next lease ends (epoch seconds), or None when there is none."""
    ends = [one.lease_until for one in journal.leases(float("inf")) if one.lease_until is not None]
    return min(ends, default=None)


def make_lasting(wanted: str, tools: Tools) -> list[Settled]:
    """Keep a run's temporary changes for good; gives those that were leased."""
    run = tools.journal.run(wanted)
    with ExitStack() as held:
        held.enter_context(locks.hold_run(tools.journal.directory, run.head.id, now=tools.clock.now()))
        log = tools.journal.continue_(run.head.id)
        leased = [one for one in tools.journal.attempts(run.head.id) if one.state == "leased"]
        because = f"made lasting by {tools.by or 'the operator'}"
        settled = [settled_as(tools.clock.now(), made_of(one, run, tools), "kept", because) for one in leased]
        for event in settled:
            log.record(event)
    return settled
