"""What undo needs and nobody else may read: true announcements of changes whose rows had secrets taken out.

One promise: undo is exact although the journal holds no secret. A change whose announcement held one (the
text of a whole ConfigMap, a unit's command line) is put aside before its row is written, in a file that only
its owner may read; no report, page, audit or export opens it; it goes when nothing is left to take back.
The row holds the file's SHA-256 (it begins with 32 random bytes, so that no secret can be guessed from it),
so the chain of hashes covers what was put aside too.

Layout: ``STATE/sealed/RUN.NUMBER`` (0600, in a directory 0700). Cost: two fsyncs, for such changes only.

Not here: what is a secret (``engine.redaction``), rows (``engine.journal.rows``).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.errors import ChangeFailed
from engine.journal.rows import Attempt, Begun, encode, plain
from engine.record import ChangeState, Event, Intended, Settled
from engine.values import Setting

_SALT = 32
#: Changes of which nothing is left to take back.
OVER: frozenset[ChangeState] = frozenset({"undone", "not-made"})


class Sealed:
    """The true announcements of one journal."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "sealed"
        self._over: list[Path] = []

    def body(self, run: str, event: Event | Begun) -> bytes:
        """An event's row; what undo needs of it is on disk when this returns.

        Raises:
            OSError: It could not be put aside.
        """
        body = encode(event)
        if isinstance(event, Settled) and event.state in OVER:
            self._over.append(self._path(run, event.attempt))
        if not isinstance(event, Intended) or (whole := plain(event)) == body:
            return body
        content = os.urandom(_SALT) + whole
        self._write(self._path(run, event.attempt), content)
        return encode(msgspec.structs.replace(event, sealed=hashlib.sha256(content).hexdigest()))

    def whole(self, one: Attempt) -> Attempt:
        """A change with all that undo needs; where what was put aside is gone, undoing it says so."""
        if not one.sealed:
            return one
        path = self._path(one.run, one.number)
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != one.sealed:
            return msgspec.structs.replace(one, captured=_Gone(path, one))
        event = msgspec.json.decode(content[_SALT:], type=Intended)
        return msgspec.structs.replace(one, change=event.change, captured=event.captured)

    def keep(self) -> None:
        """Nothing goes: what said that it may was not written."""
        self._over.clear()

    def sweep(self) -> None:
        """Take away what nobody needs any more; call it once the rows that say so are on disk."""
        while self._over:
            with suppress(OSError):
                self._over.pop().unlink()

    def forget(self, runs: Iterable[str]) -> None:
        """Take away all that belongs to runs which are kept no longer."""
        for run in runs:
            for path in self._directory.glob(f"{run}.*"):
                if path.name.removeprefix(f"{run}.").isdigit():
                    path.unlink(missing_ok=True)

    def _path(self, run: str, attempt: int) -> Path:
        return self._directory / f"{run}.{attempt}"

    def _write(self, path: Path, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a commit that failed
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for directory in (self._directory, self._directory.parent):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(descriptor)
            os.close(descriptor)


class _Gone(dict[str, Setting]):
    """Stands for what was put aside and is there no more: whoever reads it is told."""

    def __init__(self, path: Path, one: Attempt) -> None:
        super().__init__(one.captured)
        self._problem = f"what undo needs of change {one.number} of run {one.run} is not in {path} any more"
        change = one.change
        self._fix = f"set {change.where or change.knob.name} back to {change.before_text} by hand"

    def __getitem__(self, name: str) -> NoReturn:
        raise ChangeFailed(self._problem, fix=self._fix)

    def get(self, name: str, default: object = None) -> NoReturn:
        del name, default
        raise ChangeFailed(self._problem, fix=self._fix)
