"""The durable record of all runs on this machine: the only authority on what was applied.

One promise: what announces a change is on disk before the change is made, and nothing written
is ever changed. Events are rows of an append-only, hash-chained SQLite table; the tables of
runs and attempts beside it are written in the same transaction and can be derived from it.

Layout of the state directory (0700): ``journal.db`` (0600, WAL, ``synchronous=FULL``),
``journal.anchor`` (end of the chain), ``locks/``. Cost: 0.1 ms a commit.

Not here: hashes (``engine.chain``), locks (``engine.locks``), SQL text (``engine.tables``),
what the events mean (``engine.record``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from engine import chain, locks, tables
from engine.errors import JournalUnavailable, RunbookError, UnknownName, UsageError
from engine.record import (
    Applied,
    ChangeState,
    Ended,
    Event,
    Intended,
    Run,
    RunHead,
    Settled,
    Told,
)
from engine.values import Change, Setting

if TYPE_CHECKING:
    import sqlite3
    from types import TracebackType

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event | Begun] | None = None


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="begun"):
    """The first row of a run in the chain: its head as it was then."""

    head: RunHead


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One change that was announced, and how it stands.

    Attributes:
        number: Within its run, from 1.
        captured: What was there before; written once, before the change.
        lease_until: When it is to be undone by itself; None for a lasting change.
        settled_at: None while nobody has said how it ended.
    """

    run: str
    number: int
    target_ref: str
    remediation: str
    state: ChangeState
    intended_at: float
    settled_at: float | None
    lease_until: float | None
    change: Change
    captured: dict[str, Setting]


class Journal:
    """The record of all runs. Open it with ``Journal.open``; use it from one thread."""

    def __init__(self, directory: Path, db: sqlite3.Connection) -> None:
        self.directory = directory
        self._db = db
        self._anchor = chain.Anchor(directory / "journal.anchor")
        self._tip: tuple[int, bytes] | None = None

    # ── opening ─────────────────────────────────────────────────────────────────

    @classmethod
    def open(cls, directory: Path | None = None, *, write: bool = True) -> Self:
        """Open the journal, making it when ``write`` is set.

        Args:
            directory: The state directory; by default ``default_directory()``.
            write: False to read only: nothing is made, and an absent journal is an empty one.

        Raises:
            JournalUnavailable: It can't be opened, read or (for ``write``) written.
        """
        import sqlite3  # noqa: PLC0415 - not every command needs the journal

        place = directory or default_directory()
        path = place / "journal.db"
        with explained(path):
            if write:
                _make_private(place, path)
            elif not path.exists():
                db = sqlite3.connect(":memory:", isolation_level=None)
                db.executescript(tables.SCHEMA)
                return cls(place, db)
            mode = "rw" if write else "ro"
            db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10
            )
            try:
                tables.prepare(db, write=write)
            except BaseException:
                db.close()
                raise
            journal = cls(place, db)
            if write:
                journal._anchor.begin(empty=db.execute(tables.TIP).fetchone() is None)
            return journal

    def close(self) -> None:
        """Let the files go."""
        self._anchor.close()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── writing ─────────────────────────────────────────────────────────────────

    def begin(self, head: RunHead) -> RunLog:
        """Write a run's head; on disk when this returns.

        Raises:
            JournalUnavailable: It could not be written: the run must not begin.
        """
        log = RunLog(self, head.id, 0, head.target_ref)
        with self.transaction():
            log.number = (
                self._db.execute(tables.ADD_RUN, (head.id, head.started_at, _encode(head))).lastrowid or 0
            )
            self.append(log, Begun(head=head))
        return log

    def continue_(self, run: str) -> RunLog:
        """Take up a run that was begun before, to write more of it.

        Raises:
            UnknownName: There is no such run.
        """
        with explained(self.directory):
            row = self._db.execute(tables.RUN_BY_ID, (run,)).fetchone()
        if row is None:
            raise self._no_run(run)
        number, head = row
        return RunLog(self, run, number, _head(head).target_ref)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when this ends; the anchor follows the commit.

        Raises:
            JournalUnavailable: Nothing of it was written.
        """
        with explained(self.directory):
            self._tip = None
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.commit()
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            if self._tip is not None:
                self._anchor.write(*self._tip)

    def commit(self) -> None:
        """End the transaction: the one moment at which things become durable."""
        self._db.execute("COMMIT")

    def append(self, log: RunLog, event: Event | Begun) -> int:
        """Add one row to the chain within a transaction, and what the tables derive from it."""
        if self._tip is None:
            self._tip = self._db.execute(tables.TIP).fetchone() or (0, chain.ROOT)
        seq, prev = self._tip[0] + 1, self._tip[1]
        body = _encode(event)
        digest = chain.link(prev, seq, log.run, body)
        self._db.execute(tables.ADD_EVENT, (seq, log.number, prev, digest, body))
        self._tip = (seq, digest)
        self._derive(log, event, seq)
        return seq

    def _derive(self, log: RunLog, event: Event | Begun, seq: int) -> None:
        """Keep the tables beside the chain in step with it."""
        if isinstance(event, Intended):
            row = (
                log.number,
                event.attempt,
                seq,
                log.target_ref,
                event.remediation,
                event.at,
                event.lease_until,
            )
            self._db.execute(tables.ADD_ATTEMPT, row)
        elif isinstance(event, Applied):
            self._db.execute(tables.APPLY_ATTEMPT, (log.number, event.attempt))
        elif isinstance(event, Settled):
            self._db.execute(tables.SETTLE_ATTEMPT, (event.state, event.at, log.number, event.attempt))
        elif isinstance(event, Ended):
            (head,) = self._db.execute(tables.HEAD_BY_NUMBER, (log.number,)).fetchone()
            ended = msgspec.structs.replace(
                _head(head),
                ended_at=event.at,
                outcome=event.outcome,
                sentence=event.sentence,
                signal=event.signal,
            )
            self._db.execute(tables.END_RUN, (_encode(ended), log.number))

    # ── reading ─────────────────────────────────────────────────────────────────

    def runs(self, limit: int | None = None) -> list[Run]:
        """Heads of runs, newest first; without their events."""
        with explained(self.directory):
            rows = self._db.execute(tables.RUNS, (-1 if limit is None else limit,)).fetchall()
        return [self._run(_head(head), ()) for (head,) in rows]

    def run(self, wanted: str = "last") -> Run:
        """A whole run, by its id, the beginning of its id, or ``last``.

        Raises:
            UnknownName: There is none.
            UsageError: The beginning fits several.
        """
        with explained(self.directory):
            number, head = self._find(wanted)
            bodies = self._db.execute(tables.EVENTS_OF_RUN, (number,)).fetchall()
        events = tuple(event for (body,) in bodies if not isinstance(event := _decode(body), Begun))
        return self._run(_head(head), events)

    def attempts(
        self, run: str | None = None, *, since: float = 0.0, target_ref: str | None = None
    ) -> list[Attempt]:
        """Announced changes in the order they were announced.

        Args:
            run: Only of this run (its full id).
            since: Only those announced at or after this moment (epoch seconds).
            target_ref: Only of this target.
        """
        with explained(self.directory):
            rows = self._db.execute(tables.ATTEMPTS, (run, run, since, target_ref, target_ref)).fetchall()
        return [_attempt(row) for row in rows]

    def leases(self, now: float) -> list[Attempt]:
        """Leased changes whose time was up at ``now``, newest first."""
        with explained(self.directory):
            rows = self._db.execute(tables.LEASES, (now,)).fetchall()
        return [_attempt(row) for row in rows]

    def unfinished(self) -> list[Run]:
        """Runs that neither ended nor are being worked on, newest first; without their events."""
        return [run for run in self.runs() if run.state == "interrupted"]

    def verify(self) -> list[chain.Damage]:
        """Every place where the journal is not what was written; empty when it is whole."""
        with explained(self.directory):
            rows = (chain.Row(*row) for row in self._db.execute(tables.CHAIN))
            found = chain.damages(rows, self._anchor.read())
            return found + tables.disagreements(self._db, _decode)

    def tip(self) -> tuple[int, str]:
        """The end of the chain, row and hash (hex): copy it elsewhere to detect a rewritten journal."""
        with explained(self.directory):
            seq, digest = self._db.execute(tables.TIP).fetchone() or (0, chain.ROOT)
        return seq, digest.hex()

    def _find(self, wanted: str) -> tuple[int, bytes]:
        if wanted == "last":
            row = self._db.execute(tables.LAST_RUN).fetchone()
            if row is None:
                raise UsageError("the journal holds no run yet", fix="runbook run NAME")
            return row[0], row[1]
        rows = self._db.execute(tables.RUNS_BY_PREFIX, (wanted, wanted)).fetchall()
        exact = [row for row in rows if row[2] == wanted]
        if len(rows) == 1 or exact:
            row = exact[0] if exact else rows[0]
            return row[0], row[1]
        if not rows:
            raise self._no_run(wanted)
        names = ", ".join(row[2] for row in rows[:4])
        raise UsageError(f"{wanted!r} is the beginning of several runs: {names}", fix="give more of the id")

    def _no_run(self, wanted: str) -> RunbookError:
        known = [run.head.id for run in self.runs(50)]
        return UnknownName("run", wanted, known, fix="" if known else "the journal is empty: runbook runs")

    def _run(self, head: RunHead, events: Sequence[Event]) -> Run:
        if head.ended_at is not None:
            return Run(head=head, events=tuple(events))
        held = locks.run_is_held(self.directory, head.id)
        return Run(head=head, events=tuple(events), state="running" if held else "interrupted")


class RunLog:
    """Where one run writes. Made by ``Journal.begin`` and ``Journal.continue_``.

    Attributes:
        number: The run's row.
    """

    def __init__(self, journal: Journal, run: str, number: int, target_ref: str) -> None:
        self.journal = journal
        self.run = run
        self.number = number
        self.target_ref = target_ref
        self._held_back: list[Event] = []

    def note(self, event: Event) -> None:
        """Keep an event for the next commit: for what may be lost in a crash (a step's beginning)."""
        self._held_back.append(event)

    def record(self, event: Event) -> None:
        """Write an event, and those kept back before it; on disk when this returns.

        Raises:
            JournalUnavailable: Nothing was written; kept events stay kept.
        """
        with self.journal.transaction():
            for earlier in self._held_back:
                self.journal.append(self, earlier)
            self.journal.append(self, event)
        self._held_back.clear()

    def next_attempt(self) -> int:
        """The number that the next ``Intended`` must carry."""
        return len(self.journal.attempts(self.run)) + 1


def default_directory() -> Path:
    """``$RUNBOOK_STATE``; else for root ``/var/lib/runbook``; else below the user's state directory."""
    if chosen := os.environ.get("RUNBOOK_STATE"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/runbook")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "runbook"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into the operator's words.

    Raises:
        JournalUnavailable: In place of every ``sqlite3.Error`` and ``OSError``.
    """
    import sqlite3  # noqa: PLC0415

    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = (
            (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        )
        raise JournalUnavailable(
            f"the journal {path} can't be used: {reason}; without it nothing is changed",
            fix=tables.way_out(reason, path),
        ) from error


def _make_private(place: Path, path: Path) -> None:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))


def _encode(value: object) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # a name from /proc or a log that is no UTF-8
        return _encoder.encode(_clean(msgspec.to_builtins(value)))


def _clean(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _decode(body: bytes) -> Event | Begun:
    """A row's event; one that can't be read (written by a later release) becomes a note of that."""
    global _decoder  # noqa: PLW0603 - built once, and only where the journal is read
    if _decoder is None:
        _decoder = msgspec.json.Decoder(Event | Begun)
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        return Told(at=0.0, sentence=f"an event could not be read: {error}", level="error")


def _head(text: bytes) -> RunHead:
    try:
        return msgspec.json.decode(text, type=RunHead)
    except msgspec.DecodeError as error:
        raise JournalUnavailable(
            f"the head of a run can't be read: {error}", fix="runbook audit --verify"
        ) from error


def _attempt(row: tuple[Any, ...]) -> Attempt:
    run, number, target_ref, remediation, state, intended_at, settled_at, lease_until, body = row
    event = _decode(body)
    if not isinstance(event, Intended):
        raise JournalUnavailable(
            f"change {number} of run {run} can't be read from the journal", fix="runbook audit --verify"
        )
    return Attempt(
        run=run,
        number=number,
        target_ref=target_ref,
        remediation=remediation,
        state=state,
        intended_at=intended_at,
        settled_at=settled_at,
        lease_until=lease_until,
        change=event.change,
        captured=event.captured,
    )
