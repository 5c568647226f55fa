"""Temporary changes: listed, given more time, ended now or when their time is up, made lasting.

One promise: any later process can end a lease that is due; what stands in the journal is enough. All
that is done to a lease is done under its run's lock and after a fresh look, so that two who do the same
at the same moment (the worker, the watch, a human) do it once.

Not here: giving leases (``engine.running.remedy``), starting the process that waits for them
(``engine.running.watch``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import cast

import msgspec

from engine import text
from engine.catalog import Catalog
from engine.contracts import KeptLines
from engine.errors import Refused, UsageError
from engine.journal import Journal, locks
from engine.journal.rows import Attempt
from engine.record import Extended, Resumed, Settled
from engine.running import runner, watch
from engine.running.resume import made_of, settled_as, take_back
from engine.running.scene import Tools
from engine.units import YEAR_S
from engine.values import Change

#: How often it is looked whether a lease was undone or made lasting meanwhile, in seconds.
GLANCE_S = 15.0


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One temporary change that is in force.

    Attributes:
        where: The place of the setting; before, after: as an operator reads them.
        since, until: When it was announced and when it is undone (epoch seconds).
        by: Who asked for the run.
        lines: What its owner writes into the agent's configuration to keep it.
    """

    run: str
    attempt: int
    target: str
    remediation: str
    where: str
    before: str
    after: str
    since: float
    until: float
    by: str = ""
    lines: str = ""


# ── looking ─────────────────────────────────────────────────────────────────────


def standing(journal: Journal, parts: Catalog) -> list[Lease]:
    """All temporary changes that are in force, the one that ends first at the head."""
    leased = _leased(journal)
    heads = {run: journal.head(run) for run in {one.run for one in leased}}
    found = [
        Lease(
            run=one.run,
            attempt=one.number,
            target=heads[one.run].target or one.target_ref,
            remediation=one.remediation,
            where=one.change.where or one.change.knob.name,
            before=one.change.before_text,
            after=one.change.after_text,
            since=one.intended_at,
            until=one.lease_until or 0.0,
            by=heads[one.run].by,
            lines=lines(one.change, parts),
        )
        for one in leased
    ]
    return sorted(found, key=lambda lease: (lease.until, lease.run, lease.attempt))


def next_lease(journal: Journal) -> float | None:
    """When the next lease ends (epoch seconds), or None when there is none."""
    ends = [one.lease_until for one in _leased(journal) if one.lease_until is not None]
    return min(ends, default=None)


def lines(change: Change, parts: Catalog) -> str:
    """What stands in which file once the change is kept for good, as whoever made it would write it."""
    if "lines" not in parts.names("reader"):
        return f"# {change.where or change.knob.name}\n{change.after_text}"
    return cast(KeptLines, parts.load("reader", "lines"))(change)


# ── ending ──────────────────────────────────────────────────────────────────────


def end_leases(tools: Tools) -> list[Settled]:
    """Undo every temporary change whose time is up. Runs that are being worked on are passed over."""
    settled: list[Settled] = []
    for run_id in dict.fromkeys(one.run for one in tools.journal.leases(tools.clock.now())):
        with suppress(Refused):
            settled += _end(run_id, tools, _due, "its lease has ended")
    return settled


def end_now(wanted: str, tools: Tools, attempt: int | None = None) -> list[Settled]:
    """Undo a run's temporary changes (or one of them) before their time is up, newest first.

    Raises:
        Refused: The run is being worked on.
        UsageError: It has none; or not this one.
    """
    run_id = tools.journal.run(wanted).head.id
    _chosen(run_id, tools.journal, attempt)
    why = f"its lease was ended by {tools.by or 'the operator'}"
    return _end(run_id, tools, lambda one, _: attempt in {None, one.number}, why)


def _due(one: Attempt, now: float) -> bool:
    return one.lease_until is not None and one.lease_until <= now


def _end(run_id: str, tools: Tools, wanted: Callable[[Attempt, float], bool], why: str) -> list[Settled]:
    """Take back those of a run's leases that are wanted, if another has not done so meanwhile."""
    run = tools.journal.run(run_id)
    with ExitStack() as held:
        runner.hold(held, [run.head], tools)
        now = tools.clock.now()
        mine = [one for one in _leased(tools.journal, run_id) if wanted(one, now)]
        if not mine:
            return []
        log = tools.journal.continue_(run_id)
        log.record(Resumed(at=now, by=tools.by, doing="lease-end"))
        return take_back(mine, run, log, tools, why)


def keep_leases(tools: Tools) -> None:
    """Wait for leases and end them, until none is left, somebody asks to stop, or the journal is gone.

    One process per journal does so. It looks again every ``GLANCE_S``: a lease may have been given, ended
    or made lasting meanwhile; and once more after it has let go, since whoever gave one before saw it here.
    """
    there = (tools.journal.directory / "journal.db").exists
    with suppress(Refused):
        while not tools.cancel and there() and next_lease(tools.journal) is not None:
            with locks.hold_run(tools.journal.directory, watch.LOCK, now=tools.clock.now()):
                _wait_for_all(tools, there)


def _wait_for_all(tools: Tools, there: Callable[[], bool]) -> None:
    while not tools.cancel and there() and (until := next_lease(tools.journal)) is not None:
        left = until - tools.clock.now()
        tools.clock.sleep(min(max(left, 1.0), GLANCE_S))
        if left <= 0:
            end_leases(tools)


# ── more time, or for good ──────────────────────────────────────────────────────


def extend(
    wanted: str, tools: Tools, attempt: int | None = None, *, seconds: float = 0.0, comment: str = ""
) -> list[Extended]:
    """Give a run's temporary changes (or one of them) so many seconds more; fewer when negative.

    The time is added to the end that was set; one that is over already is due at once.

    Raises:
        Refused: The run is being worked on; or the policy lets no lease last so long.
        UsageError: It has no temporary change; or not this one; or it is no such time.
    """
    if not -YEAR_S <= seconds <= YEAR_S:  # nor what is no number
        raise UsageError(f"{seconds:g} s is no time that a lease can be given", fix="write at most 366d")
    run_id = tools.journal.run(wanted).head.id
    with locks.hold_run(tools.journal.directory, run_id, now=tools.clock.now()):
        now, log = tools.clock.now(), tools.journal.continue_(run_id)
        events = []
        for one in _chosen(run_id, tools.journal, attempt):
            until = max((one.lease_until or now) + seconds, now)
            _must_be_allowed(one, until, tools)
            events.append(
                Extended(at=now, attempt=one.number, lease_until=until, by=tools.by, comment=comment)
            )
        for event in events:
            log.record(event)
    return events


def _must_be_allowed(one: Attempt, until: float, tools: Tools) -> None:
    """A lease may always be made shorter."""
    most = float(tools.policy.lease.at_most)
    if most and until > one.intended_at + most and until > (one.lease_until or 0.0):
        raise Refused(
            f"change {one.number} of run {one.run} would last {text.span(until - one.intended_at)};"
            f" the policy lets a lease last {text.span(most)} at most",
            fix=f"runbook leases keep {one.run} {one.number} makes it last; or the policy: lease.at_most",
        )


def make_lasting(wanted: str, tools: Tools, attempt: int | None = None) -> list[Settled]:
    """Keep a run's temporary changes (or one of them) for good; gives those that were leased.

    Raises:
        Refused: The run is being worked on.
        UsageError: The attempt that is named is no temporary change.
    """
    run = tools.journal.run(wanted)
    with locks.hold_run(tools.journal.directory, run.head.id, now=tools.clock.now()):
        log = tools.journal.continue_(run.head.id)
        leased = _leased(tools.journal, run.head.id)
        if attempt is not None:
            leased = _chosen(run.head.id, tools.journal, attempt)
        because = f"made lasting by {tools.by or 'the operator'}"
        settled = [settled_as(tools.clock.now(), made_of(one, run, tools), "kept", because) for one in leased]
        for event in settled:
            log.record(event)
    return settled


def lines_of(wanted: str, settled: Sequence[Settled], tools: Tools) -> str:
    """The lines of changes that were made lasting, each under its place."""
    kept = {one.attempt for one in settled}
    changes = tools.journal.attempts(tools.journal.run(wanted).head.id)
    return "\n\n".join(lines(one.change, tools.parts) for one in changes if one.number in kept)


# ── shared ──────────────────────────────────────────────────────────────────────


def _leased(journal: Journal, run: str | None = None) -> list[Attempt]:
    """Temporary changes in force, oldest first."""
    found = reversed(journal.leases(float("inf")))
    return [one for one in found if run is None or one.run == run]


def _chosen(run: str, journal: Journal, attempt: int | None) -> list[Attempt]:
    """The leases that somebody means.

    Raises:
        UsageError: There are none.
    """
    found = [one for one in _leased(journal, run) if attempt in {None, one.number}]
    if not found:
        what = "no change of it is" if attempt is None else f"its change {attempt} is not"
        raise UsageError(f"run {run}: {what} temporary and in force", fix="see them with: runbook leases")
    return found
