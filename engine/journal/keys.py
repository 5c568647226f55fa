"""The key with which the chain is made: where it lies, how it is made, what it is called.

One promise: rows made with a key that an intruder can't read can't be made by them. So a key belongs
where the journal's copies don't go: ``$RUNBOOK_AUDIT_KEY_FILE``, ``/etc/runbook/audit.key``; without
either one is made in the state directory, which still shows what was altered in a copy.

Not here: hashes (``engine.journal.chain``).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from engine.errors import JournalUnavailable, UsageError

STANDARD_PLACE = Path("/etc/runbook/audit.key")
#: In the state directory.
NAME = "journal.key"
#: Where one waits that was just made, until rows on the disk were made with it: where ``NAME`` lies beside a
#: journal none of whose rows has a key, somebody made it anew who has not got it.
_FRESH = ".journal.key.new"
#: A shorter one can be tried out, in bytes.
SHORTEST = 16


class Key(NamedTuple):
    """A key and what it is called in each row that was made with it."""

    secret: bytes
    id: str


def of(content: bytes) -> Key:
    """The key that a file holds; line breaks around it do not count."""
    secret = content.strip(b"\r\n")
    return Key(secret, hashlib.sha256(secret).hexdigest()[:8])


def own(directory: Path) -> Key:
    """The key for new rows; made on first use where nobody has chosen one. Under the journal's write lock.

    Raises:
        JournalUnavailable: It can't be read or is no key: without it nothing is written.
        OSError: It can't be made.
    """
    chosen = os.environ.get("RUNBOOK_AUDIT_KEY_FILE")
    if chosen:
        return _usable(Path(chosen))
    if _readable(STANDARD_PLACE):
        return _usable(STANDARD_PLACE)
    place, fresh = directory / NAME, directory / _FRESH
    waits = fresh.exists()  # looked for first: another process may put it in its place at any moment
    if place.exists():
        return _usable(place)
    if not waits:
        _make(fresh)
    try:
        return _usable(fresh)
    except JournalUnavailable:
        if not place.exists():
            raise
        return _usable(place)


def settle(directory: Path) -> None:
    """Put a key that was just made in its place: rows that were made with it are on the disk."""
    fresh = directory / _FRESH
    with suppress(FileNotFoundError, FileExistsError):
        (directory / NAME).hardlink_to(fresh)
    fresh.unlink(missing_ok=True)


def known(directory: Path, named: Iterable[Path] = ()) -> dict[str, Key]:
    """All keys that are at hand for checking, by what they are called.

    Raises:
        UsageError: One that the operator named can't be read or is no key.
    """
    found = [_named(path) for path in named]
    chosen = os.environ.get("RUNBOOK_AUDIT_KEY_FILE")
    own_places = (directory / NAME, directory / _FRESH)
    places = (*((Path(chosen),) if chosen else ()), STANDARD_PLACE, *own_places)
    found += [of(path.read_bytes()) for path in places if _readable(path)]
    return {key.id: key for key in found if len(key.secret) >= SHORTEST}


def _named(path: Path) -> Key:
    try:
        key = of(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"the key {path} can't be read: {error.strerror}", fix="name a file that can"
        ) from None
    if len(key.secret) < SHORTEST:
        raise UsageError(f"{path} holds no key: it is shorter than {SHORTEST} bytes", fix="name another file")
    return key


def _readable(path: Path) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)


def _usable(path: Path) -> Key:
    """The key in a file that nobody else can read."""
    fix = f"head -c 32 /dev/urandom | base64 > {path}; chmod 600 {path}"
    try:
        with path.open("rb") as file:
            mode, key = os.fstat(file.fileno()).st_mode, of(file.read(4096))
    except OSError as error:
        raise JournalUnavailable(
            f"the key of the journal, {path}, can't be read: {error.strerror}; without it nothing is changed",
            fix=fix if isinstance(error, FileNotFoundError) else f"make it readable for this user: {path}",
        ) from error
    if mode & 0o027:
        raise JournalUnavailable(
            f"the key of the journal, {path}, can be read or changed by others", fix=f"chmod 600 {path}"
        )
    if len(key.secret) < SHORTEST:
        raise JournalUnavailable(f"{path} holds no key: it is shorter than {SHORTEST} bytes", fix=fix)
    return key


def _make(place: Path) -> None:
    """Put a fresh key there, whole and on disk, unless another process was first."""
    scratch = place.with_name(f".{place.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_hex(32).encode() + b"\n")
        os.fsync(descriptor)
        place.hardlink_to(scratch)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        scratch.unlink()
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
