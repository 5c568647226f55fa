"""The chain of hashes that makes tampering with the journal visible.

One promise: a row altered, removed, moved or cut off at the end is found and named. Each row's
hash covers the hash of the row before it; the last one also stands in a small file beside the
database, the anchor, so that a shortened journal is seen too.

What it can't do: somebody who may write both files can make a whole new chain. Against that,
copy the anchor elsewhere from time to time (``docs/journal.md``).

Not here: reading and writing rows (``engine.journal``).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

#: What the first row stands on.
ROOT = bytes(32)

_ANCHOR = re.compile(rb"(\d{20}) ([0-9a-f]{64})\n")


class Row(NamedTuple):
    """One event as it lies on disk."""

    seq: int
    run: str
    prev: bytes
    hash: bytes
    body: bytes


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One place where the journal is not what was written.

    Attributes:
        seq: The row, counted from 1; run: the run it belongs to, where known.
        what: ``altered``, ``removed``, ``moved``, ``cut-off``, ``head`` (a table beside the
            chain says something else), ``anchor`` (the anchor itself is missing or unreadable).
    """

    seq: int
    run: str = ""
    what: str
    sentence: str


def link(prev: bytes, seq: int, run: str, body: bytes) -> bytes:
    """The hash of a row: SHA-256 over the hash before it, its place, its run and its body."""
    return hashlib.sha256(b"%b%d %b\n%b" % (prev, seq, run.encode(), body)).digest()


class Anchor:
    """The end of the chain, in a file of its own; written after each commit, never before.

    It may lag behind the journal by a commit (a crash in between) and never runs ahead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def write(self, seq: int, digest: bytes) -> None:
        """Note the new end. Cost: one small write to the page cache."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.pwrite(self._descriptor, b"%020d %s\n" % (seq, digest.hex().encode()), 0)

    def begin(self, *, empty: bool) -> None:
        """Make the file together with an empty chain: later its absence means that it was removed."""
        if empty and not self._path.exists():
            self.write(0, ROOT)

    def read(self) -> tuple[int, bytes] | None:
        """The end as noted, or None when there is none or it can't be read."""
        try:
            found = _ANCHOR.fullmatch(self._path.read_bytes())
        except OSError:
            return None
        return (int(found[1]), bytes.fromhex(found[2].decode())) if found else None

    def close(self) -> None:
        """Let the file go; twice is once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def damages(rows: Iterable[Row], anchor: tuple[int, bytes] | None) -> list[Damage]:
    """Every place where the chain is broken, in order; empty when it is whole.

    Args:
        rows: All rows by rising ``seq``.
        anchor: The end as noted beside the database.
    """
    found: list[Damage] = []
    last, tip, anchored = 0, ROOT, False
    for row in rows:
        found += _between(last, tip, row)
        if link(row.prev, row.seq, row.run, row.body) != row.hash:
            found.append(_damage(row, "altered", "its content does not match its hash"))
        if anchor is not None and row.seq == anchor[0]:
            anchored = True
            if row.hash != anchor[1]:
                found.append(_damage(row, "altered", "the anchor holds another hash for it"))
        last, tip = row.seq, row.hash
    if anchor is None:
        if last:
            found.append(Damage(seq=last, what="anchor", sentence="the anchor is missing or unreadable"))
    elif anchor[0] > last:
        found.append(_missing(last + 1, anchor[0], "cut-off"))
    elif not anchored and anchor[0]:
        found.append(
            Damage(seq=anchor[0], what="removed", sentence=f"row {anchor[0]}, the anchored one, is gone")
        )
    return found


def _between(last: int, tip: bytes, row: Row) -> list[Damage]:
    if row.seq != last + 1:
        return [_missing(last + 1, row.seq - 1, "removed")]
    if row.prev != tip:
        return [_damage(row, "moved", f"it was not written after row {last} as that stands now")]
    return []


def _missing(first: int, last: int, what: str) -> Damage:
    rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
    place = " at the end" if what == "cut-off" else ""
    return Damage(seq=first, what=what, sentence=f"{rows} missing{place}")


def _damage(row: Row, what: str, why: str) -> Damage:
    return Damage(
        seq=row.seq, run=row.run, what=what, sentence=f"row {row.seq} of run {row.run} was {what}: {why}"
    )
