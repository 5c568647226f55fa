"""The tables beside the chain: runs, attempts, moments; what they must say, and where they say otherwise.

One promise: they can be made from the chain alone, so whoever alters them is found.

Not here: transactions (``store``), the chain itself (``examining``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from engine.journal import statements
from engine.journal.chain import DROPPED, Damage
from engine.journal.rows import Begun, decode, head_of, plain
from engine.record import (
    Alerted,
    Answered,
    Applied,
    Barred,
    Ended,
    Event,
    Extended,
    Intended,
    Pruned,
    Resumed,
    Ruled,
    RunHead,
    Settled,
)
from engine.redaction import HERE

if TYPE_CHECKING:
    import sqlite3

#: Of a change, as the table of attempts holds it.
_COLUMNS = ("seq", "target", "remediation", "state", "intended_at", "settled_at", "lease_until")
#: Events that can come after a run's end and that somebody may have to answer for.
LATER = (Alerted, Answered, Barred, Ended, Extended, Pruned, Resumed, Ruled, Settled)


def head_after(head: RunHead, event: Ended | Resumed) -> RunHead:
    """A run's head once it has ended; or once a run that waited is gone on with."""
    if isinstance(event, Ended):
        return msgspec.structs.replace(
            head, ended_at=event.at, outcome=event.outcome, sentence=event.sentence, signal=event.signal
        )
    if event.doing != "resume":
        return head
    return msgspec.structs.replace(head, ended_at=None, outcome=None, sentence="", signal=0)


def follow(db: sqlite3.Connection, run: int, target_ref: str, event: Event | Begun, seq: int) -> None:
    """Keep the tables in step with an event that was added to the chain as row ``seq``."""
    match event:
        case Intended():
            row = (run, event.attempt, seq, target_ref, event.remediation, event.at, event.lease_until)
            db.execute(statements.ADD_ATTEMPT, row)
        case Applied():
            db.execute(statements.APPLY_ATTEMPT, (run, event.attempt))
        case Settled():
            db.execute(statements.SETTLE_ATTEMPT, (event.state, event.at, run, event.attempt))
        case Extended():
            db.execute(statements.EXTEND_ATTEMPT, (event.lease_until, run, event.attempt))
        case Ended() | Resumed():
            (head,) = db.execute(statements.HEAD_BY_NUMBER, (run,)).fetchone()
            db.execute(statements.END_RUN, (plain(head_after(head_of(head), HERE.struct(event))), run))
        case Pruned():
            db.execute(statements.PRUNE_RUN, (seq, run))
        case _:
            pass
    if isinstance(event, LATER):
        db.execute(statements.TOUCH, (run, event.at))


class _Wanted:
    """What the tables must hold, from the chain."""

    def __init__(self) -> None:
        self.heads: dict[int, RunHead] = {}
        self.attempts: dict[tuple[int, int], dict[str, Any]] = {}
        self.moments: dict[int, float] = {}
        self.pruned: dict[int, int] = {}

    def take(self, seq: int, run: int, event: object, *, keyed: bool) -> None:
        """One event of the chain, in order."""
        if isinstance(event, Begun):
            self.heads[run] = event.head
        elif isinstance(event, Ended | Resumed) and run in self.heads:
            self.heads[run] = head_after(self.heads[run], event)
        elif isinstance(event, Intended):
            self.attempts[run, event.attempt] = {
                "seq": seq, "remediation": event.remediation, "state": "intended",
                "intended_at": event.at, "settled_at": None, "lease_until": event.lease_until,
                "target": self.heads[run].target_ref if run in self.heads else "",
            }  # fmt: skip
        elif isinstance(event, Applied | Settled | Extended):
            self.attempts.setdefault((run, event.attempt), {}).update(_after(event))
        elif isinstance(event, Pruned):
            self.pruned[run] = seq
        if keyed and isinstance(event, LATER):
            self.moments[run] = event.at


def _after(event: Applied | Settled | Extended) -> dict[str, Any]:
    match event:
        case Applied():
            return {"state": "applied"}
        case Settled():
            return {"state": event.state, "settled_at": event.at}
        case Extended():
            return {"lease_until": event.lease_until}


def disagreements(db: sqlite3.Connection) -> list[Damage]:
    """Where the tables say something else than the chain they derive from."""
    wanted = _Wanted()
    for seq, run, seal, body in db.execute(statements.CONTENTS):
        if not body.startswith(DROPPED):
            wanted.take(seq, run, decode(body), keyed=seal is not None)
    return [*_runs(db, wanted), *_attempts(db, wanted), *_moments(db, wanted)]


def _runs(db: sqlite3.Connection, wanted: _Wanted) -> Iterator[Damage]:
    left = dict(wanted.heads)
    for number, name, started, gone, text in db.execute(statements.HEADS):
        head = left.pop(number, None)
        if head is None or _head(text) != head or (name, started) != (head.id, head.started_at):
            yield _damage(str(name), f"the head of run {name} was altered")
        elif gone != wanted.pruned.get(number):
            yield _damage(str(name), f"whether details of run {name} were dropped was altered")
    for head in left.values():
        yield _damage(head.id, f"the head of run {head.id} was removed")


def _attempts(db: sqlite3.Connection, wanted: _Wanted) -> Iterator[Damage]:
    rows = db.execute(statements.CHANGES).fetchall()
    found = {(run, number): dict(zip(_COLUMNS, rest, strict=True)) for run, number, *rest in rows}
    for key in sorted({*found, *wanted.attempts}):
        if found.get(key) != wanted.attempts.get(key):
            run = wanted.heads[key[0]].id if key[0] in wanted.heads else "?"
            yield _damage(run, f"the table of changes was altered: change {key[1]} of run {run}")


def _moments(db: sqlite3.Connection, wanted: _Wanted) -> Iterator[Damage]:
    found = dict(db.execute("SELECT run, last_at FROM moments").fetchall())
    for number in sorted({*found, *wanted.moments}):
        if found.get(number) != wanted.moments.get(number):
            run = wanted.heads[number].id if number in wanted.heads else "?"
            yield _damage(run, f"when something happened last in run {run} was altered")


def _damage(run: str, sentence: str) -> Damage:
    return Damage(seq=0, run=run, what="head", sentence=sentence)


def _head(text: bytes) -> RunHead | None:
    try:
        return msgspec.json.decode(text, type=RunHead)
    except msgspec.DecodeError:
        return None
