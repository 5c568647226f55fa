"""Who may log in, with which role, and for how long a login lasts.

One promise: nobody learns from an answer, or from the time that it takes, whether a name exists; a
token counts only while its row stands in ``sessions`` and its user stands in the file as at the login.

Users: a YAML file (``settings.people.users_file``), read again when it changes; while it is wrong or
can be written by others nobody counts. Passwords: scrypt (RFC 7914) with the costs that OWASP names for
32 MiB, one at a time, in a thread: about 0.2 s. Tokens: itsdangerous, with the key ``serve.key``.
Functions that take a connection run single statements and never commit: the transaction is the caller's.

Not here: what roles may do (``engine.server.worker.answering``), links (``engine.server.worker.links``).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from engine.errors import RunbookError
from engine.server import messages
from engine.server.log import Log
from engine.server.messages import No, Role, Session
from engine.server.settings import Settings, seconds
from engine.server.worker import keys, passwords
from engine.server.worker.attempts import Attempts
from engine.server.worker.users import User, Users

if TYPE_CHECKING:
    import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    role TEXT NOT NULL,
    proof TEXT NOT NULL,
    made_at REAL NOT NULL,
    used_at REAL NOT NULL
) WITHOUT ROWID;
"""

#: A use is written down when the last one on record is older than this: looking costs no write.
_COARSE_S = 60.0
#: So many logins may wait for their turn; each takes 32 MiB and about 0.2 s, one at a time.
_MOST_WAITING = 16

_WRONG = No(problem="name or password is wrong", fix="runbook user list shows the names", why="login")
_MANY = "too many failed logins"


class _Row(NamedTuple):
    """A session as it stands in the table."""

    id: str
    user: str
    proof: str
    made_at: float
    used_at: float


class People:
    """The users of this worker and their sessions.

    Args:
        settings: Of ``people`` and ``limits``.
        state: The state directory, where the key is made on first use.
        log: Told of logins; never of passwords, nor of names that no user has.
    """

    def __init__(
        self, settings: Settings, state: Path, log: Log, now: Callable[[], float] = time.time
    ) -> None:
        self._users = Users(Path(settings.people.users_file))
        self._attempts = Attempts(settings.limits.logins)
        self._lasts = seconds(settings.people.session)
        self._idle = seconds(settings.people.idle)
        self._key = keys.signing_key(state)
        self._log = log
        self._now = now
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    # ── logging in ──────────────────────────────────────────────────────────────

    async def admit(self, asked: messages.Login) -> User | No:
        """The user with this name and password. One scrypt, whoever asks; no database."""
        now = self._now()
        counted = self._attempts.take(asked.remote, asked.user, now)
        if isinstance(counted, float):
            self._log.warning("login refused", remote=asked.remote, because=_MANY)
            fix = f"try again in {max(1, round(counted / 60))} min"
            return No(problem=_MANY, fix=fix, why="later", retry_after_s=counted)
        if self._waiting >= _MOST_WAITING:
            self._attempts.give_back(counted)
            return No(
                problem="too many people log in at once",
                fix="try again in a moment",
                why="later",
                retry_after_s=5.0,
            )
        self._waiting += 1
        try:
            async with self._turn:
                user, problem, right = await asyncio.to_thread(self._look, asked.user, asked.password)
        finally:
            self._waiting -= 1
        if problem:
            return No(problem=problem, fix="the worker's log says why", why="failed")
        if user is None or not right:
            self._log.warning("login failed", remote=asked.remote, user=user.name if user else "(unknown)")
            return _WRONG
        self._attempts.give_back(counted)
        self._log.info("login", remote=asked.remote, user=user.name, role=user.role)
        return user

    def _look(self, name: str, password: str) -> tuple[User | None, str, bool]:
        """The user of a name, why nobody can be looked up, and whether the password is theirs."""
        user, problem = self._found(name)
        return user, problem, passwords.matches(password, user.password if user else None)

    def _found(self, name: str) -> tuple[User | None, str]:
        """The user of a name, and why nobody can be looked up."""
        try:
            return self._users.find(name), ""
        except RunbookError as error:
            self._log.error("users can't be read", error=error)
            return None, "nobody can log in now"

    # ── sessions ────────────────────────────────────────────────────────────────

    def begin(self, db: sqlite3.Connection, user: User) -> Session:
        """A session for somebody who was admitted; its row is written."""
        now, id_ = self._now(), secrets.token_urlsafe(18)
        row = (id_, user.name, user.role, _proof(user), now, now)
        db.execute("INSERT INTO sessions (id, user, role, proof, made_at, used_at) VALUES (?,?,?,?,?,?)", row)
        return self._session(_Row(id_, user.name, _proof(user), now, now), user)

    def who(self, db: sqlite3.Connection, token: str) -> Session | None:
        """Whose token this is; None where it counts no more. Writes at most once a minute."""
        now, row = self._now(), self._row(db, token)
        if row is None:
            return None
        try:
            user = self._users.find(row.user)
        except RunbookError as error:
            self._log.error("users can't be read", error=error)
            return None
        ended = now >= self._until(row) or now < row.made_at - _COARSE_S
        if ended or user is None or _proof(user) != row.proof:
            with suppress(sqlite3.Error):  # it counts no more, whether its row goes or not
                db.execute("DELETE FROM sessions WHERE id = ?", (row.id,))
            return None
        if now - row.used_at >= _COARSE_S:
            with suppress(sqlite3.Error):  # a full disk: whoever is in stays in, and sees why
                db.execute("UPDATE sessions SET used_at = ? WHERE id = ?", (now, row.id))
            row = row._replace(used_at=now)
        return self._session(row, user)

    def end(self, db: sqlite3.Connection, token: str) -> None:
        """A token counts no more."""
        if (row := self._row(db, token)) is not None:
            db.execute("DELETE FROM sessions WHERE id = ?", (row.id,))
            self._log.info("logout", user=row.user)

    def forget(self, db: sqlite3.Connection) -> None:
        """Rows of sessions that have ended; to be called now and then."""
        now = self._now()
        db.execute(
            "DELETE FROM sessions WHERE made_at <= ? OR used_at <= ?", (now - self._lasts, now - self._idle)
        )

    def role_of(self, name: str) -> Role | None:
        """The role of a user now; None for somebody who is none (any more), or while nobody counts."""
        user, _ = self._found(name)
        return user.role if user else None

    def _session(self, row: _Row, user: User) -> Session:
        token = keys.session_tokens(self._key).dumps(row.id)
        return Session(token=str(token), user=user.name, role=user.role, until=self._until(row))

    def _until(self, row: _Row) -> float:
        return min(row.made_at + self._lasts, row.used_at + self._idle)

    def _row(self, db: sqlite3.Connection, token: str) -> _Row | None:
        id_ = keys.read(keys.session_tokens(self._key), token)
        if not isinstance(id_, str):
            return None
        found = db.execute(
            "SELECT id, user, proof, made_at, used_at FROM sessions WHERE id = ?", (id_,)
        ).fetchone()
        return None if found is None else _Row(*found)


def _proof(user: User) -> str:
    """What changes with a user's role or password, so that sessions end with them."""
    return hashlib.sha256(msgspec.json.encode((user.name, user.role, user.password))).hexdigest()
