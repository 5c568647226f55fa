"""A secret that stands in a file: read when it is needed, read again when the file has changed.

One promise: a rotated secret counts with the next request, without a restart. A file may hold several
secrets, one a line, and all of them count: old and new one, while senders change over.
Source of the change: device, inode, size, time of modification (stat(2), 2 µs a request).

Not here: what is compared with it (``senders``, ``signatures``).
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from engine.errors import UsageError
from engine.redaction import HERE

#: No secret is longer; a larger file is another file.
_MAX_BYTES = 64 << 10
_MAX_SECRETS = 8
_State = tuple[int, int, int, int]


class SecretFile:
    """The secrets of one file, as they are now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: _State | None = None
        self._values: tuple[bytes, ...] = ()

    def values(self) -> tuple[bytes, ...]:
        """All of them; none while the file is missing, empty or unreadable: then nobody gets in."""
        try:
            state = _state(self.path)
            if state != self._state:
                self._values, self._state = _read(self.path), state
                HERE.declare(value.decode("utf-8", "replace") for value in self._values)
        except OSError:
            self._values, self._state = (), None
        if not self._values:
            self._state = None
        return self._values

    def check(self) -> None:
        """Raise ``UsageError`` when nobody could get in with it."""
        try:
            found = _read(self.path)
        except OSError as error:
            raise UsageError(
                f"the secret {self.path} can't be read: {error.strerror}",
                fix=f"make it, readable for the listener: (umask 077; openssl rand -hex 32 > {self.path})",
            ) from error
        if not found:
            raise UsageError(
                f"there is no secret in {self.path}", fix=f"write one: openssl rand -hex 32 > {self.path}"
            )


def make(path: Path, *, group: int | None = None) -> None:
    """A new random secret, unless there is one. 0600; 0640 for ``group``, where the listener is another user.

    Raises:
        UsageError: It can't be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(place, "wb") as file:
            if group is not None:
                os.fchown(place, -1, group)
                os.fchmod(place, 0o640)
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(place)
        with suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never in place of another
    except OSError as error:
        raise UsageError(
            f"no secret can be made at {path}: {error.strerror}", fix=f"make {path.parent} writable"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _state(path: Path) -> _State:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> tuple[bytes, ...]:
    with path.open("rb") as file:
        lines = file.read(_MAX_BYTES).split(b"\n")
    return tuple(line.strip() for line in lines if line.strip())[:_MAX_SECRETS]
