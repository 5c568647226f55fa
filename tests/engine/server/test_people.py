"""Users, logins and sessions: who gets in, for how long, and what nobody learns."""

from __future__ import annotations

import asyncio
import hashlib
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DocumentError, RunbookError, UsageError
from engine.server.log import Log
from engine.server.messages import Login, No, Session
from engine.server.settings import Limits, Settings
from engine.server.settings import People as PeopleSettings
from engine.server.worker import keys, passwords, people, users
from engine.server.worker.attempts import MOST, WINDOW_S, Attempts, network
from engine.server.worker.users import User

WORDS = "correct horse battery"


def cheap(password: str) -> str:
    """A hash with the least costs, so that tests are quick."""
    blank = passwords._Hash(10, 1, 1, b"0123456789abcdef", b"\0" * 32)
    return passwords._written(blank._replace(hashed=passwords._scrypt(password, blank)))


class Place:
    """A worker's people, with a clock that is set by hand."""

    def __init__(self, tmp_path: Path, **limits: int) -> None:
        self.path = tmp_path / "users.yaml"
        self.state = tmp_path / "state"
        self.now = 1000.0
        self.said = io.StringIO()
        self.write(User(name="anna", role="approver", password=cheap(WORDS)))
        self.settings = Settings(
            people=PeopleSettings(users_file=str(self.path), session=1000.0, idle=300.0),
            limits=Limits(**limits),
        )
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(people.SCHEMA)
        self.people = self.again()

    def again(self) -> people.People:
        """As after a restart of the worker."""
        return people.People(
            self.settings, self.state, Log("worker", "text", self.said), now=lambda: self.now
        )

    def write(self, *who: User) -> None:
        users.save(self.path, who)

    def login(self, user: str = "anna", password: str = WORDS, remote: str = "192.0.2.1") -> Session | No:
        admitted = asyncio.run(self._admit(user, password, remote))
        return admitted if isinstance(admitted, No) else self.people.begin(self.db, admitted)

    async def _admit(self, user: str, password: str, remote: str) -> User | No:
        return await self.people.admit(Login(user=user, password=password, remote=remote))

    def who(self, session: Session | No) -> Session | None:
        assert isinstance(session, Session)
        return self.people.who(self.db, session.token)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ── logging in ──────────────────────────────────────────────────────────────────


def test_the_right_password_gives_a_session_with_the_user_s_role(place: Place) -> None:
    """A token comes back that says who it is until it ends."""
    session = place.login()
    assert isinstance(session, Session)
    assert (session.user, session.role, session.until) == ("anna", "approver", 1300.0)
    assert place.who(session) == session


def test_nobody_learns_whether_the_name_or_the_password_was_wrong(place: Place) -> None:
    """The answers are the same value, and the log names no unknown user."""
    assert place.login(password="wrong") == place.login(user="hunter2") != place.login()
    assert "hunter2" not in place.said.getvalue()
    assert "wrong" not in place.said.getvalue()


def test_an_unknown_user_costs_the_same_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each login runs scrypt exactly once, whoever asks, also while the users can't be read."""
    calls: list[dict[str, Any]] = []
    real = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda whole, **how: calls.append(how) or real(whole, **how))
    place.write(User(name="anna", role="viewer", password=passwords.make(WORDS)))
    for asked in (("anna", "no"), ("nobody", "no"), ("", ""), ("anna\0", WORDS), ("nobody", "x" * 5000)):
        calls.clear()
        place.login(*asked)
        assert [(one["n"], one["r"], one["p"]) for one in calls] == [(1 << 15, 8, 3)]
    place.path.write_text("users: [")
    calls.clear()
    assert isinstance(place.login(remote="192.0.2.9"), No)
    assert len(calls) == 1


@settings(max_examples=12, deadline=None)
@given(name=st.text(st.characters(), max_size=100), password=st.text(st.characters(), max_size=100))
def test_hostile_names_and_passwords_are_just_wrong(
    name: str, password: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Quotes, NULs, lone surrogates, other directions of writing: no session, no crash."""
    place = Place(tmp_path_factory.mktemp("people"))
    assert isinstance(place.login(name, password), No)


def test_a_password_counts_however_its_letters_are_composed(place: Place) -> None:
    """The same letters typed on another keyboard are the same password."""
    place.write(User(name="anna", role="viewer", password=cheap("Zürich am See ﬁn")))
    assert isinstance(place.login(password="Zürich am See fin"), Session)


def test_a_password_is_not_cut_where_it_is_long(place: Place) -> None:
    """Whoever knows only its first thousand characters does not get in."""
    place.write(User(name="anna", role="viewer", password=cheap("x" * passwords.LONGEST)))
    assert isinstance(place.login(password="x" * passwords.LONGEST), Session)
    assert isinstance(place.login(password="x" * (passwords.LONGEST + 1)), No)


# ── limits ──────────────────────────────────────────────────────────────────────


def test_after_so_many_failures_an_address_waits_even_with_the_right_password(tmp_path: Path) -> None:
    """Guessing is slow; when five minutes are over it may be tried again."""
    place = Place(tmp_path, logins=3)
    for number in range(3):
        place.login(user=f"u{number}", password="no")
    refused = place.login()
    assert isinstance(refused, No)
    assert "too many failed logins" in refused.problem
    assert refused.why == "later"
    assert 0 < refused.retry_after_s <= WINDOW_S
    assert isinstance(place.login(remote="198.51.100.1"), Session)
    place.now += WINDOW_S
    assert isinstance(place.login(), Session)


def test_a_clock_that_is_set_back_shuts_nobody_out(tmp_path: Path) -> None:
    """Failures of tomorrow count for nothing today."""
    place = Place(tmp_path, logins=3)
    for number in range(3):
        place.login(user=f"u{number}", password="no")
    place.now -= 3600.0
    assert isinstance(place.login(), Session)


def test_after_so_many_failures_a_name_waits_from_wherever(tmp_path: Path) -> None:
    """Many addresses guess no faster; a name that no user has is treated alike."""
    for name in ("anna", "nobody"):
        place = Place(tmp_path, logins=3)
        for number in range(3):
            place.login(user=name, password="no", remote=f"192.0.2.{number}")
        refused = place.login(user=name, remote="192.0.2.77")
        assert isinstance(refused, No)
        assert "too many" in refused.problem


def test_many_attempts_at_once_are_counted_at_once(tmp_path: Path) -> None:
    """Attempts count from their beginning: a burst gets no more guesses than a row of them."""
    place = Place(tmp_path, logins=5)

    async def burst() -> list[User | No]:
        return await asyncio.gather(*(place._admit("anna", "no", "192.0.2.1") for _ in range(30)))

    answers = asyncio.run(burst())
    assert sum(one == people._WRONG for one in answers) == 5


def test_logins_that_succeed_count_for_nothing(tmp_path: Path) -> None:
    """Who logs in often is not shut out."""
    place = Place(tmp_path, logins=2)
    assert all(isinstance(place.login(), Session) for _ in range(6))


def test_what_is_remembered_of_attempts_is_bounded() -> None:
    """A million names fill no memory."""
    attempts = Attempts(10)
    for number in range(MOST + 500):
        attempts.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"name {number}", 0.0)
    assert len(attempts._failed) == MOST


def test_of_ipv6_a_whole_network_is_one_address() -> None:
    """Whoever has a /64 has not 2^64 tries."""
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1")
    assert network("not an address\n") == "not an address\n"


# ── sessions ────────────────────────────────────────────────────────────────────


def test_a_session_lasts_over_a_restart_and_ends_when_unused(place: Place) -> None:
    """Row and key are on disk; time without use ends it."""
    session = place.login()
    place.people = place.again()
    place.now += 299
    assert place.who(session)
    place.now += 299
    assert place.who(session)
    place.now += 300
    assert place.who(session) is None


def test_a_session_ends_though_it_is_used(place: Place) -> None:
    """Nobody stays logged in for ever."""
    session = place.login()
    for _ in range(4):
        place.now += 200
        assert place.who(session)
    place.now += 200
    assert place.who(session) is None


def test_looking_often_writes_seldom(place: Place) -> None:
    """A page that is looked at each second does not make the disk work."""
    session, before = place.login(), place.db.total_changes
    for _ in range(59):
        place.now += 1
        assert place.who(session)
    assert place.db.total_changes == before


def test_a_logout_counts_at_once(place: Place) -> None:
    """The token is worth nothing any more, wherever it is kept."""
    session, other = place.login(), place.login()
    assert isinstance(session, Session)
    place.people.end(place.db, session.token)
    assert place.who(session) is None
    assert place.who(other)


@pytest.mark.parametrize(
    "changed",
    [
        (User(name="anna", role="viewer", password=cheap(WORDS)),),
        (User(name="anna", role="approver", password=cheap("another pass phrase")),),
        (),
    ],
    ids=["role", "password", "removed"],
)
def test_a_changed_user_is_logged_out(place: Place, changed: tuple[User, ...]) -> None:
    """Another role, another password or no such user any more: the next request is told to log in."""
    session = place.login()
    place.write(*changed)
    assert place.who(session) is None


def test_while_the_users_file_is_wrong_nobody_counts_and_nobody_is_lost(place: Place) -> None:
    """A typo shuts the door; mended, those who were in are in again."""
    session, good = place.login(), place.path.read_bytes()
    place.path.write_text("users: 1\npeople:\n  - nmae: anna\n")
    assert place.who(session) is None
    assert "users.yaml:3:5" in place.said.getvalue()
    place.path.write_bytes(good)
    assert place.who(session)


@pytest.mark.parametrize("what", ["", "x", "a.b", "a" * 5000, "é", "W10.x.y", "\0"])
def test_a_token_that_was_not_made_here_is_nobody_s(place: Place, what: str) -> None:
    """Whatever stands in the cookie."""
    assert place.people.who(place.db, what) is None


def test_a_token_of_another_key_or_purpose_is_nobody_s(place: Place, tmp_path: Path) -> None:
    """A link's signature is no session, nor is that of another worker."""
    session = place.login()
    (id_,) = place.db.execute("SELECT id FROM sessions").fetchone()
    mine = keys.signing_key(place.state)
    for signer in (keys.link_tokens(mine), keys.session_tokens(b"x" * 64)):
        assert place.people.who(place.db, str(signer.dumps(id_))) is None
    assert place.who(session)


def test_ended_sessions_are_swept(place: Place) -> None:
    """The table does not grow for ever."""
    place.login()
    place.now += 301
    place.people.forget(place.db)
    assert place.db.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


# ── the key ─────────────────────────────────────────────────────────────────────


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600, the same the next time, and refused where others can read it."""
    key, path = keys.signing_key(tmp_path), tmp_path / keys.NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.signing_key(tmp_path) == key
    assert list(tmp_path.iterdir()) == [path]
    path.chmod(0o640)
    with pytest.raises(RunbookError, match="can be read by others"):
        keys.signing_key(tmp_path)


# ── the file ────────────────────────────────────────────────────────────────────


def complaints(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "users.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as error:
        users.load(path)
    return error.value.complaints


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("users: 2\n", ":1:8", "too much"),
        ('users: 1\npeople:\n  - {name: "a b", role: viewer, password: HASH}\n', ":3:12", "a name has"),
        ("users: 1\npeople:\n  - {name: anna, role: chief, password: HASH}\n", ":3:24", "chief"),
        ("users: 1\npeople:\n  - {name: anna, role: viewer, password: secret}\n", ":3:42", "no scrypt hash"),
        (
            "users: 1\npeople:\n" + "  - {name: a, role: viewer, password: HASH}\n" * 2,
            ":4:12",
            "stands twice",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_told_with_its_place(
    tmp_path: Path, text: str, place: str, words: str
) -> None:
    """File, line, column, and what to write; never the password."""
    said = complaints(tmp_path, text.replace("HASH", f'"{cheap(WORDS)}"'))
    assert any(place in one and words in one for one in said), said
    assert "secret" not in " ".join(said)


@pytest.mark.parametrize("costs", ["ln=30,r=8,p=1", "ln=15,r=99,p=1", "ln=1,r=8,p=1"])
def test_costs_that_would_take_the_machine_are_refused(costs: str) -> None:
    """A hash of terabytes stops at the door."""
    salt, hashed = cheap(WORDS).split("$")[3:]
    assert "out of bounds" in passwords.problem(f"$scrypt${costs}${salt}${hashed}")
    assert not passwords.problem(cheap(WORDS))


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Whoever could write it could let themselves in."""
    path = tmp_path / "users.yaml"
    users.save(path, ())
    path.chmod(0o666)
    with pytest.raises(RunbookError, match="can be written by others"):
        users.load(path)


def test_a_new_password_has_a_salt_of_its_own_and_a_least_length() -> None:
    """Two users with one password have two hashes; a short one is refused."""
    assert passwords.make(WORDS) != passwords.make(WORDS)
    assert passwords.matches(WORDS, passwords.make(WORDS))
    with pytest.raises(UsageError):
        passwords.make("short")
