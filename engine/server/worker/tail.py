"""What is new in the journal, whoever wrote it: children of the worker, commands, other processes.

One promise: every row is given in order, again until it was dealt with.

Cost: some microseconds while nothing is new (``PRAGMA data_version``, sqlite.org/pragma.html).

Not here: what is done about it (``engine.server.worker.keeper``), writing (``engine.journal``).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.journal.trouble import explained

#: So many rows are read at once; each may hold a probe's evidence.
AT_ONCE = 200
_NEW = (
    "SELECT e.seq, r.id, coalesce(CAST(e.body AS BLOB), x'') FROM events e JOIN runs r ON r.number = e.run "
    "WHERE e.seq > ? ORDER BY e.seq LIMIT ?"
)


class _Kind(msgspec.Struct, frozen=True):
    kind: str


class Row(NamedTuple):
    """One row of the journal: an event of a run as JSON; ``kind``: its tag, or ``begun`` for a head."""

    seq: int
    run: str
    kind: str
    body: bytes


class Tail:
    """The end of a journal that is there already. ``at``: the last row that was dealt with."""

    def __init__(self, directory: Path, at: int | None) -> None:
        self._path = directory / "journal.db"
        with explained(self._path):
            address = f"{self._path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA query_only = ON")
        self._version = -1
        self.at = self.tip() if at is None else at

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def tip(self) -> int:
        """The last row that is there."""
        with explained(self._path):
            return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def is_new(self) -> bool:
        """Whether anything was written since this was asked last."""
        with explained(self._path):
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        new, self._version = version != self._version, version
        return new

    def read(self) -> list[Row]:
        """The next rows behind ``at``; none when there are no more."""
        with explained(self._path):
            found = self._db.execute(_NEW, (self.at, AT_ONCE)).fetchall()
        return [Row(seq, run, _kind(body), body) for seq, run, body in found]

    def look_again(self) -> None:
        """What was read could not be dealt with."""
        self._version = -1


def _kind(body: bytes) -> str:
    try:
        return _kinds.decode(body).kind
    except msgspec.DecodeError:
        return ""


_kinds = msgspec.json.Decoder(_Kind)
