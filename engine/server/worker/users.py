"""``users.yaml``: names, roles and hashed passwords.

One promise: what is wrong with the file is told with line and column, and while it is wrong nobody in
it counts; it is written whole or not at all, readable by its owner only.

Not here: logins (``engine.server.worker.people``), the command (``engine.commands.user``).
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from engine import trust
from engine.errors import DocumentError, RunbookError, UsageError
from engine.language import documents
from engine.server.messages import Role
from engine.server.worker import passwords

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class User(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who may log in.

    Attributes:
        name: Letters, digits and `. _ @ + -`.
        role: What they may do.
        password: Its scrypt hash.
    """

    name: str
    role: Role
    password: str


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. ``users``: version of this form; 1."""

    users: Annotated[int, Meta(ge=1, le=1)]
    people: tuple[User, ...] = ()


class _Known(NamedTuple):
    """What a file held when it had a stamp; ``wrong``: why nobody in it counts."""

    stamp: tuple[int, ...]
    people: dict[str, User]
    wrong: RunbookError | None = None


class Users:
    """The users of a file, read again when it has changed; from any thread.

    A file that is not there has none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: _Known | None = None

    def find(self, name: str) -> User | None:
        """The user of a name. Cost: one stat.

        Raises:
            RunbookError: The file is wrong, can't be read, or can be written by others.
        """
        stamp, known = _stamp(self.path), self._known
        if known is None or known.stamp != stamp:
            known = self._known = _read(self.path, stamp)
        if known.wrong is not None:
            raise known.wrong
        return known.people.get(name)


def _read(path: Path, stamp: tuple[int, ...]) -> _Known:
    try:
        return _Known(stamp, {one.name: one for one in load(path)})
    except RunbookError as error:
        return _Known(stamp, {}, error)


def load(path: Path) -> tuple[User, ...]:
    """The users of a file, in its order; none where there is no file.

    Raises:
        DocumentError: It is wrong; every complaint with its place.
        NotTrusted: It would be obeyed as root, and others could have written it.
        RunbookError: It can't be read, or others can write it.
    """
    try:
        raw, status = trust.read(path), path.stat()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RunbookError(
            f"the users {path} can't be read: {error.strerror}", fix=f"make it readable: {path}"
        ) from error
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in (0, os.geteuid()):
        raise RunbookError(
            f"the users {path} can be written by others", fix=f"chown root {path}; chmod 600 {path}"
        )
    document, places = documents.read(_Document, raw, str(path))
    complaints = [f"{places.where(where)}: {what}" for where, what in _wrong(document.people)]
    if complaints:
        raise DocumentError(complaints, fix=f"correct {path}; nobody can log in until then")
    return document.people


def save(path: Path, people: Iterable[User]) -> None:
    """Write the file whole, readable by its owner only.

    Raises:
        UsageError: It can't be written.
    """
    lines = ["# Written by `runbook user`. Passwords are scrypt hashes.", "users: 1", "people:"]
    for one in people:
        lines += [f'  - name: "{one.name}"', f"    role: {one.role}", f'    password: "{one.password}"']
    if len(lines) == 3:
        lines[-1] = "people: []"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"the users {path} can't be written: {error.strerror}",
            fix="run it as root, or name another --file",
        ) from error


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes when the file does; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _wrong(people: tuple[User, ...]) -> Iterable[tuple[str, str]]:
    """What types can't say: path of the part, and what is wrong with it."""
    names: set[str] = set()
    for index, one in enumerate(people):
        where = f"people[{index}]"
        if not NAME.fullmatch(one.name):
            yield (
                f"{where}.name",
                "a name has 1 to 64 letters, digits or . _ @ + - and begins with a letter or digit",
            )
        if one.name in names:
            yield f"{where}.name", f"{one.name!r} stands twice"
        names.add(one.name)
        if problem := passwords.problem(one.password):
            yield f"{where}.password", problem
