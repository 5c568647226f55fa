"""The child: carries one run as far as it goes, then ends.

One promise: any number of processes may be told to carry the same run, after whatever was killed: one of
them does it, once. Its lock tells who, the journal tells how far it has come. A run that can't begin still
stands in the journal, with the reason as its end.

Not here: which run, and when (``engine.server.worker.keeper``); the run itself (``engine.launch``).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from engine import host
from engine.errors import InUse, Refused, RunbookError, UnknownName
from engine.journal import Journal, locks
from engine.record import Asked, Ended, Event, Outcome, Run, RunHead, Told, Watcher
from engine.server.worker.order import BUSY, DONE, NOT_NOW, Line, Order
from engine.values import Decision, Plan


class Telling:
    """A watcher that writes to the worker, and never waits for it: numbers may get lost."""

    def __init__(self, out: int) -> None:
        self._out = out
        os.set_blocking(out, False)

    def begin(self, head: RunHead) -> None:
        """The head is on disk."""
        del head
        self._write(Line())

    def event(self, event: Event) -> None:
        """Something was recorded."""
        del event
        self._write(Line())

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """A number as a probe sees it."""
        self._write(Line(step or "-", label, value, unit, time.time()))

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """Nobody is here: it is asked through the journal."""
        del plan, decisions
        return None

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """Nobody is here."""
        del asked, problem
        return None

    def behind(self, run: str) -> None:
        """A run works on the target."""
        self._write(Line(behind=run))

    def _write(self, line: Line) -> None:
        with suppress(OSError):  # the worker is slow, or gone
            os.write(self._out, msgspec.json.encode(line) + b"\n")


def carry(order: Order, watcher: Watcher, behind: Callable[[str], None] = lambda _: None) -> int:
    """Carry a run as far as it goes; gives the exit code.

    ``behind`` is told which run keeps it from beginning.

    Raises:
        JournalUnavailable: Nothing could be written down, so nothing was done.
    """
    state = Path(order.state)
    try:
        lock = locks.hold_run(state, f"job-{order.run}", now=time.time())
    except Refused:
        return BUSY  # another process carries it
    with lock:
        before = _found(order.run, state)
        try:
            _begin(order, watcher) if before is None else _go_on(before, order, watcher)
        except InUse as error:  # another run works on the target, or a person has taken this one up
            behind(error.run)
            return BUSY
        except Refused as error:
            if not order.last:
                return NOT_NOW
            not_begun(order, error, "refused")
        except RunbookError as error:
            not_begun(order, error, "failed")
    return DONE


def _found(run: str, state: Path) -> Run | None:
    with Journal.open(state, write=False) as journal, suppress(UnknownName):
        return journal.run(run)
    return None


def _begin(order: Order, watcher: Watcher) -> None:
    from engine.launch import Wish, launch  # noqa: PLC0415 - loads all that runs need

    wish = Wish(
        runbook=order.runbook,
        target=order.target,
        inputs=order.inputs,
        dry_run=order.dry_run,
        policy=Path(order.policy) if order.policy else None,
        state=Path(order.state),
        by=order.by,
        run=order.run,
        alert=order.alert,
        outside=True,
    )
    launch(wish, watcher)


def _go_on(before: Run, order: Order, watcher: Watcher) -> None:
    """Take a run up that was interrupted, or that waits; one that has ended stays as it is."""
    if before.head.ended_at is not None and before.head.outcome != "waiting":
        return
    from engine.launch import Wish, go_on, policy_of  # noqa: PLC0415

    state = Path(order.state)
    wish = Wish(runbook="", policy=policy_of(order.run, state), state=state, by=order.by)
    go_on(order.run, wish, watcher)


def not_begun(order: Order, error: RunbookError, outcome: Outcome) -> None:
    """Write down that a run could not begin, or go on, and why: the audit and the page show it."""
    now = time.time()
    with Journal.open(Path(order.state)) as journal:
        found = _found(order.run, Path(order.state))
        if found is not None and found.head.ended_at is not None and found.head.outcome != "waiting":
            return
        log = journal.continue_(order.run) if found else journal.begin(head_of(order, now))
        log.note(Told(at=now, sentence=error.problem, level="error", fix=error.fix))
        log.record(Ended(at=now, outcome=outcome, sentence=_sentence(error)))


def head_of(order: Order, now: float) -> RunHead:
    """The head of a run that could not begin: as much as is known."""
    return RunHead(
        id=order.run,
        runbook=Path(order.runbook).stem,
        target=order.target,
        inputs=dict(order.inputs),
        dry_run=order.dry_run,
        started_at=now,
        by=order.by,
        alert=order.alert,
        host=host.hostname(),
        kernel=host.kernel(),
        pid=os.getpid(),
        boot_id=host.boot_id(),
    )


def _sentence(error: RunbookError) -> str:
    first = " ".join(error.problem.split())
    return f"{first[:1].upper()}{first[1:]}".rstrip(".") + "."


def _carry_traced(order: Order, watcher: Telling) -> int:
    """Carry it, traced where that is asked for; locks are free before the rest of a trace is sent."""
    if not order.trace_to:
        return carry(order, watcher, watcher.behind)
    from engine.server import tracing  # noqa: PLC0415 - only where it is asked for

    with tracing.traced(watcher, order.trace_to) as both:
        return carry(order, both, watcher.behind)


def main() -> int:
    """Read the order, do it."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    if order.doing == "carry":
        return _carry_traced(order, Telling(sys.stdout.fileno()))
    from engine.server.worker import errands  # noqa: PLC0415 - what carries a run needs none of it

    sys.stdout.buffer.write(msgspec.json.encode(errands.run(order)) + b"\n")
    sys.stdout.flush()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
