"""Old runs become small: what was looked at on the way goes, what somebody may have to answer for stays.

One promise: a row never goes, only its content, and its digest stays in its place: number, run, kind of
event and hash are there as they were, and the chain verifies. Whose rows went, when and by whom is itself
a row of the chain (``record.Pruned``), written in the same transaction.

A run is left whole while anything of it, of the run that called it or of those that it called may still be
asked for: it goes on, waits, or a change of it is in force.

Not here: which kinds are details (``rows.DETAILS``), how a journal without them is checked (``examining``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from engine.journal import chain, statements
from engine.journal.examining import digest_over
from engine.journal.rows import DETAILS, Attempt, attempt_of, head_of
from engine.journal.store import Journal
from engine.journal.trouble import explained
from engine.record import Pruned, RunHead

#: So many pages go back to the file system at a time; a page has 4 KiB, and writers wait meanwhile.
PAGES = 1024


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What was dropped: runs, rows and bytes of their contents."""

    runs: int = 0
    rows: int = 0
    bytes: int = 0


def prune(journal: Journal, *, keep_s: float, now: float, by: str, at_most: int | None = None) -> Pruning:
    """Drop the details of runs that ended more than ``keep_s`` seconds ago; one transaction for each.

    It can be called again and again, and be killed at any moment. Cost: a read of all heads that are whole
    still, then some ms a run; others write in between.

    Args:
        journal: Opened for writing.
        keep_s: How long runs are kept whole, in seconds.
        now: Epoch seconds.
        by: Who is answerable for it.
        at_most: So many runs at this time.

    Raises:
        JournalUnavailable: It can't be written; each run is whole or done.
    """
    done = Pruning()
    journal._db.execute("PRAGMA secure_delete = ON")  # what goes is not left in the file
    for number, run in list(_old(journal, now - keep_s)):
        if at_most is not None and done.runs >= at_most:
            break
        rows, size = _prune_one(journal, number, run, (keep_s, now, by))
        done = Pruning(runs=done.runs + bool(rows), rows=done.rows + rows, bytes=done.bytes + size)
    if done.rows:
        _give_back(journal)
    return done


def _old(journal: Journal, before: float) -> Iterator[tuple[int, str]]:
    """Number and id of whole runs that nobody asks for any more, by themselves and by their families."""
    with explained(journal.directory):
        rows = journal._db.execute(statements.OLD_RUNS).fetchall()
        standing = {one.run.partition(".")[0] for one in _standing(journal)}
    families = standing | {
        name.partition(".")[0] for _, name, head, _, last in rows if not _over(head_of(head), last, before)
    }
    yield from ((number, name) for number, name, *_ in rows if name.partition(".")[0] not in families)


def _over(head: RunHead, last: float | None, before: float) -> bool:
    """Whether a run ended, and was last touched, before a moment."""
    ended = head.ended_at is not None and head.outcome != "waiting"
    return ended and max(head.ended_at or 0.0, last or 0.0) < before


def _standing(journal: Journal) -> Iterator[Attempt]:
    """Changes that are, or may be, in force; a start that was kept is not, for nothing takes it back."""
    for row in journal._db.execute(statements.STANDING):
        one = attempt_of(row)
        if not (one.state == "kept" and one.change.final):
            yield one


def _prune_one(journal: Journal, number: int, run: str, said: tuple[float, float, str]) -> tuple[int, int]:
    """Drop one run's details; gives how many rows and bytes. Looks once more under the journal's lock."""
    keep_s, now, by = said
    db = journal._db
    with journal.transaction():
        (head,) = db.execute(statements.HEAD_BY_NUMBER, (number,)).fetchone()
        digests = dict(_details(db, number))
        if not digests or not _over(head_of(head), None, now - keep_s):
            return 0, 0
        if any(one.run == run for one in _standing(journal)):
            return 0, 0
        stretches = tuple(_stretches(digests))
        event = Pruned(at=now, rows=stretches, digest=digest_over(stretches, digests), by=by, keep_s=keep_s)
        journal.append(journal.continue_(run), event)
        size = sum(_drop(db, seq, digest) for seq, digest in digests.items())
    journal._sealed.forget([run])
    return len(digests), size


def _details(db: sqlite3.Connection, number: int) -> Iterator[tuple[int, bytes]]:
    """Rows of a run that are details, with the digests of their contents."""
    for seq, kind in db.execute(statements.KINDS_OF_RUN, (number,)).fetchall():
        if kind is not None and kind not in DETAILS:
            continue
        (body,) = db.execute(statements.BODY, (seq,)).fetchone()
        if chain.kind_of(body) in DETAILS:
            yield seq, chain.digest_of(body)


def _stretches(seqs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Numbers in rising order as first and last of each stretch without a gap."""
    first = last = 0
    for seq in seqs:
        if last and seq != last + 1:
            yield first, last
            first = seq
        first, last = first or seq, seq
    if last:
        yield first, last


def _drop(db: sqlite3.Connection, seq: int, digest: bytes) -> int:
    (body,) = db.execute(statements.BODY, (seq,)).fetchone()
    db.execute(statements.DROP_BODY, (chain.DROPPED + digest.hex().encode(), seq))
    return len(body)


def _give_back(journal: Journal) -> None:
    """Hand the freed pages back to the file system, a few at a time, so that writers get in between."""
    db = journal._db
    with explained(journal.directory):
        (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
        if mode == 0:  # made by an earlier release: once as a whole, then page by page
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("VACUUM")
        left = free = db.execute("PRAGMA freelist_count").fetchone()[0]
        while left:
            db.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
            (left,) = db.execute("PRAGMA freelist_count").fetchone()
            if left >= free:
                break
            free = left
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
