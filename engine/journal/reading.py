"""What a journal tells: runs, changes, leases; and whether it is whole.

Not here: opening and writing (``store``), the audit's rows (``engine.auditing``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.errors import RunbookError, UnknownName, UsageError, nearest
from engine.journal import chain, derived, examining, keys, locks, statements, tables
from engine.journal.chain import DROPPED
from engine.journal.rows import DETAILS, Attempt, Begun, Cut, Keyed, attempt_of, decode, head_of
from engine.journal.sealed import Sealed
from engine.journal.trouble import explained
from engine.record import Event, Run, RunHead

if TYPE_CHECKING:
    import sqlite3


class Reading:
    """The half of a journal that only looks."""

    directory: Path
    _db: sqlite3.Connection
    _anchor: chain.Anchor
    _sealed: Sealed
    #: Of the tables as they lie on disk.
    _version: int = tables.VERSION

    def runs(self, limit: int | None = None) -> list[Run]:
        """Heads of runs, newest first; without their events."""
        with explained(self.directory):
            rows = self._db.execute(statements.RUNS, (-1 if limit is None else limit,)).fetchall()
        return [self._run(head_of(head), ()) for (head,) in rows]

    def run(self, wanted: str = "last") -> Run:
        """A whole run, by its id, the beginning of its id, or ``last``.

        Raises:
            UnknownName: There is none.
            UsageError: The beginning fits several.
        """
        with explained(self.directory):
            number, head = self._find(wanted)
            bodies = self._db.execute(statements.EVENTS_OF_RUN, (number,)).fetchall()
        found = self._run(head_of(head), _events(bodies))
        children = [one for one in self.called_by(found.head.id) if one.rpartition(".")[0] == found.head.id]
        return msgspec.structs.replace(found, called=tuple(self.run(one) for one in children))

    def has(self, run: str) -> bool:
        """Whether there is a run of this full id. Cost: one look into an index."""
        with explained(self.directory):
            return self._db.execute(statements.RUN_BY_ID, (run,)).fetchone() is not None

    def head(self, run: str) -> RunHead:
        """A run's head, by its full id.

        Raises:
            UnknownName: There is no such run.
        """
        with explained(self.directory):
            row = self._db.execute(statements.RUN_BY_ID, (run,)).fetchone()
        if row is None:
            raise self._no_run(run)
        return head_of(row[1])

    def bodies(self, run: str, after: int = 0) -> list[tuple[int, bytes]]:
        """Rows of one run that follow row ``after``, as they were written: row number and JSON.

        The first row of a run is its head (``rows.Begun``). For whoever passes a run on as it grows.
        Cost: one look into an index when there is nothing new.

        Args:
            run: Its full id; an unknown one has no rows.
            after: The number of the last row that is known already.
        """
        with explained(self.directory):
            rows = self._db.execute(statements.BODIES, (run, after)).fetchall()
        return [(seq, body) for seq, body in rows if not body.startswith(DROPPED)]

    def active(self, since: float, until: float) -> list[RunHead]:
        """Heads of runs of which something may have happened from ``since`` until ``until``, oldest first.

        Runs with an event long after their end (undone, a lease ended) are among them. Cost: reads the
        heads of those alone.
        """
        with explained(self.directory):
            rows = self._db.execute(statements.ACTIVE, (until, since)).fetchall()
        heads = ((head_of(head), last, settled) for _, head, last, settled in rows)
        return [
            head
            for head, last, settled in heads
            if last is not None or head.ended_at is None or max(head.ended_at, settled or 0.0) >= since
        ]

    def brief(self, run: str) -> Run:
        """One run without its details and without those that it called: all that its audit tells of.

        Raises:
            UnknownName: There is no such run.
        """
        with explained(self.directory):
            row = self._db.execute(statements.RUN_BY_ID, (run,)).fetchone()
            if row is None:
                raise self._no_run(run)
            kinds = msgspec.json.encode(sorted(DETAILS)).decode()
            bodies = self._db.execute(statements.BRIEF, (row[0], kinds)).fetchall()
        return self._run(head_of(row[1]), _events(bodies))

    def notes(self) -> list[Keyed | Cut]:
        """What the chain says of itself: with which key it went on when, and that rows had been cut off."""
        with explained(self.directory):
            rows = self._db.execute(statements.OF_NO_RUN).fetchall()
        return [event for (body,) in rows if isinstance(event := decode(body), Keyed | Cut)]

    def called_by(self, run: str) -> list[str]:
        """Ids of all runs that a run called, those that they called included, oldest first."""
        with explained(self.directory):
            return [name for (name,) in self._db.execute(statements.CALLED_BY, (run,))]

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
            rows = self._db.execute(statements.ATTEMPTS, (run, run, since, target_ref, target_ref)).fetchall()
        return [attempt_of(row) for row in rows]

    def leases(self, now: float) -> list[Attempt]:
        """Leased changes whose time was up at ``now``, newest first."""
        with explained(self.directory):
            rows = self._db.execute(statements.LEASES, (now,)).fetchall()
        return [attempt_of(row) for row in rows]

    def whole(self, attempt: Attempt) -> Attempt:
        """A change with the secrets that undo needs: for undo only, never to be shown."""
        return self._sealed.whole(attempt)

    def verify(self) -> list[chain.Damage]:
        """Every place where the journal is not what was written; empty when it is whole."""
        return list(self.examine().damages)

    def examine(
        self, named: Iterable[Path] = (), tip: tuple[int, str] | None = None, *, complete: bool = True
    ) -> examining.Findings:
        """Check every row against the chain, and the tables beside it. Cost: reads the whole journal.

        Args:
            named: Files with keys, besides those in their places.
            tip: Row and hash (hex) that were kept elsewhere.
            complete: It lies in its place, so that its anchor must be there.

        Raises:
            UsageError: A named key can't be read.
        """
        found, named = keys.known(self.directory, named), tuple(named)
        with explained(self.directory):
            anchor = self._anchor.read()
            made_here = (self.directory / keys.NAME).exists()
            expects = bool(named or made_here or (anchor and anchor.key) or self._version >= tables.VERSION)
            against = examining.Against(found, anchor, tip, expects, complete)
            rows = (chain.Row(*row) for row in self._db.execute(statements.CHAIN))
            findings = examining.examine(rows, against)
            damages = (*findings.damages, *derived.disagreements(self._db))
        return msgspec.structs.replace(findings, damages=damages)

    def tip(self) -> tuple[int, str]:
        """The end of the chain, row and hash (hex): copy it elsewhere to detect a rewritten journal."""
        with explained(self.directory):
            seq, digest = self._db.execute(statements.TIP).fetchone() or (0, chain.ROOT)
        return seq, digest.hex()

    def _find(self, wanted: str) -> tuple[int, bytes]:
        if wanted == "last":
            row = self._db.execute(statements.LAST_RUN).fetchone()
            if row is None:
                raise UsageError("the journal holds no run yet", fix="runbook run NAME")
            return row[0], row[1]
        rows = self._db.execute(statements.RUNS_BY_PREFIX, (wanted,)).fetchall()
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
        return UnknownName("run", wanted, known, fix=_nearby(wanted, known))

    def _run(self, head: RunHead, events: Sequence[Event]) -> Run:
        if head.ended_at is not None:
            return Run(head=head, events=tuple(events))
        held = locks.run_is_held(self.directory, head.id)
        return Run(head=head, events=tuple(events), state="running" if held else "interrupted")


def _events(bodies: Iterable[tuple[bytes]]) -> tuple[Event, ...]:
    """The events of one run; contents that were dropped are left out."""
    found = (decode(body) for (body,) in bodies if not body.startswith(DROPPED))
    return tuple(event for event in found if not isinstance(event, Begun | Keyed | Cut))


def _nearby(wanted: str, known: list[str]) -> str:
    """The way out when there is no such run; a list of all would hide it."""
    if not known:
        return "the journal is empty: runbook runs"
    near = nearest(wanted, known)
    return f"did you mean {near!r}?" if near else f"see them with: runbook runs; the last is {known[0]}"
