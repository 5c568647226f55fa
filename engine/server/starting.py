"""How ``runbook serve`` begins: places, the first token and user, and a listener without privileges.

One promise: the listener answers nobody while it has any privilege left; what it needs them for (the port,
the certificate's key) is opened before.

Source: prctl(2) (no_new_privs, PDEATHSIG, CAPBSET_DROP), capabilities(7), credentials(7).
Not here: the parts themselves (``engine.server.worker.main``, ``engine.server.listener.main``), keeping
both running (``engine.server.watching``).
"""

from __future__ import annotations

import ctypes
import grp
import hashlib
import os
import pwd
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from engine import host
from engine.errors import RunbookError, UsageError
from engine.journal import default_directory
from engine.server.settings import People, Settings

#: What the extra `server` brings, by the names it is imported under.
EXTRA = ("apprise", "httptools", "itsdangerous", "starlette", "uvicorn", "uvloop")
#: The root's socket, and its token for the one sender that there is without settings.
SOCKET, TOKEN = Path("/run/runbook/worker.sock"), Path("/etc/runbook/alertmanager.token")
#: Where a try-out's parts meet: one directory for each state directory, which every user may enter.
TRY_OUTS = Path("/run")
#: User ids that systemd gives to services for as long as they run (``DynamicUser=``, UIDS-GIDS.md).
_PASSING = range(61184, 65520)
#: Hands the listener's user id on from the command to both parts.
LENT = "RUNBOOK_SERVE_UID"
_NO_NEW_PRIVS, _PDEATHSIG, _CAPBSET_DROP, _KEEPCAPS = 38, 1, 24, 8
_LAST_CAPABILITY = 63


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts keep things, and meet.

    Attributes:
        state: The state directory.
        socket: On which listener and worker meet; ``control.sock`` beside it is for this host's root.
        token: The token of the one sender that there is without senders in the settings.
        uid, gid: Of the listener.
    """

    state: Path
    socket: Path
    token: Path
    uid: int
    gid: int

    @property
    def control(self) -> Path:
        """The commands' way in."""
        return self.socket.with_name("control.sock")


def place(settings: Settings, state: Path | None, socket: Path | None, part: str | None = None) -> Place:
    """Where things are here; ``part``: for this one alone.

    With a state directory of one's own the parts meet at a place of its own: a try-out leaves alone what
    the standard one's parts use.

    Raises:
        UsageError: There is no user for the listener, or no home for the state.
    """
    try:
        where = (state or default_directory()).absolute()
    except RuntimeError as error:
        raise UsageError(f"there is no place for the state: {error}", fix="name one: --state DIR") from error
    token = where / "alertmanager.token"
    if os.geteuid() != 0:
        meeting = socket.absolute() if socket else where / "worker.sock"
        return Place(state=where, socket=meeting, token=token, uid=os.geteuid(), gid=os.getegid())
    own = state is not None or "RUNBOOK_STATE" in os.environ
    meeting = socket.absolute() if socket else _meeting(where) if own else SOCKET
    uid, gid = _user(settings, part)
    return Place(
        state=where,
        socket=meeting,
        token=meeting.with_name(TOKEN.name) if own or socket else TOKEN,
        uid=uid,
        gid=gid,
    )


def _meeting(state: Path) -> Path:
    """Where a try-out's parts meet: the state directory itself is closed to the listener's user."""
    mark = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:8]
    return TRY_OUTS / f"runbook-{mark}" / "worker.sock"


def _user(settings: Settings, part: str | None) -> tuple[int, int]:
    """The listener's user and group.

    Where there is no such user, both parts together take an id that nobody uses; the worker alone trusts
    no listener but root's; a listener alone is not started.
    """
    name = settings.listen.user
    with suppress(KeyError):
        found = pwd.getpwnam(name)
        if found.pw_uid != 0:
            return found.pw_uid, found.pw_gid
    if (lent := os.environ.get(LENT, "")).isdigit():
        return int(lent), int(lent)
    if part == "worker":
        return os.geteuid(), os.getegid()
    if part is None and (unused := _unused()):
        return unused, unused
    raise UsageError(
        f"there is no user {name!r} for the listener (and root is none)",
        fix=f"make it: useradd --system {name}; or set listen.user in the settings to one that only it uses",
    )


def _unused() -> int:
    """An id that no user, no group and no process has; 0 where there is none."""
    taken = {one.pw_uid for one in pwd.getpwall()} | {one.gr_gid for one in grp.getgrall()}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            owner = entry.stat()
            taken |= {owner.st_uid, owner.st_gid}
    return next((one for one in _PASSING if one not in taken), 0)


def at_home(settings: Settings, where: Place) -> Settings:
    """The settings with the users' file in the state directory, where the standard one is not for us."""
    standard = People().users_file
    ours = os.geteuid() == 0 and where.state == default_directory() and "RUNBOOK_STATE" not in os.environ
    if settings.people.users_file != standard or ours or Path(standard).exists():
        return settings
    people = msgspec.structs.replace(settings.people, users_file=str(where.state / "users.yaml"))
    return msgspec.structs.replace(settings, people=people)


def must_be_installed() -> None:
    """Raise ``UsageError`` when the libraries of the extra are missing."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"`runbook serve` needs {', '.join(missing)}, not installed here",
            fix="install it: pip install 'bpf-runbook[server]'",
        )


def without_secret(settings: Settings) -> Iterator[tuple[str, str]]:
    """Senders that could never get in: path of the part in the settings, and what is wrong."""
    from engine.server.listener.secret_file import SecretFile  # noqa: PLC0415

    for index, sender in enumerate(settings.senders):
        where, file = f"senders[{index}].token_file", sender.token_file
        if sender.signature is not None:
            where, file = f"senders[{index}].signature.secret_file", sender.signature.secret_file
        try:
            SecretFile(Path(file)).check()
        except UsageError as error:
            yield where, f"sender {sender.name}: {error.problem}; {error.fix}"


def must_be_alone(where: Place) -> None:
    """Raise ``Refused`` when a worker keeps the state directory already."""
    from engine.server.worker import main  # noqa: PLC0415 - its libraries are asked for before

    _make(where)
    with main.alone(where.state):
        pass


# ── the parts ───────────────────────────────────────────────────────────────────


def work(settings: Settings, where: Place) -> None:
    """Be the worker until SIGTERM. Raises ``RunbookError``."""
    from engine.server.worker import main  # noqa: PLC0415 - the listener needs none of it

    _end_with_parent()
    if os.geteuid() == 0:
        from engine import trust  # noqa: PLC0415

        trust.only_root()
    main.run(settings, where)


def listen(settings: Settings, where: Place) -> None:
    """Be the listener until SIGTERM, without any privilege. Raises ``RunbookError``."""
    from engine.server.listener import main  # noqa: PLC0415 - the worker needs none of it

    opening = main.open_doors(settings)
    if os.geteuid() == 0:
        give_up_privileges(where.uid, where.gid)
    _end_with_parent()
    main.serve(settings, where.socket, opening, token_file=None if settings.senders else where.token)


def give_up_privileges(uid: int, gid: int) -> None:
    """Become another user for good: no group of root's, no capability, no way to get one.

    Raises:
        RunbookError: Something of it is left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL beyond the last that the kernel knows
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.chdir("/")
    os.umask(0o077)
    refused = libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if refused or _has_privileges():
        raise RunbookError(
            "the listener could not give up its privileges", fix="start it as another user: systemd's User="
        )


def _has_privileges() -> bool:
    """Whether anything of root is left: an id, or a capability (``/proc/self/status``)."""
    if 0 in (*os.getresuid(), *os.getresgid(), *os.getgroups()):
        return True
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sets = dict(line.split(":", 1) for line in lines if line.startswith("Cap"))
    return any(int(sets[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))


def _end_with_parent() -> None:
    """Get SIGTERM when the process dies that keeps both parts running; only where there is one."""
    parent = os.environ.get("RUNBOOK_SERVE_PARENT", "")
    if parent:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent):
            os.kill(os.getpid(), signal.SIGTERM)


# ── first use ───────────────────────────────────────────────────────────────────


def first_use(settings: Settings, where: Place, *, terminal: bool) -> Iterator[str]:
    """Make what is missing, and tell where it is. A password is told to a terminal only, once.

    Raises:
        RunbookError: It can't be made.
    """
    from engine.server.listener import secret_file  # noqa: PLC0415
    from engine.server.worker import passwords, users  # noqa: PLC0415

    _make(where)
    if where.uid in _PASSING:
        yield (
            f"warning: there is no user {settings.listen.user!r}: the listener runs as uid {where.uid}, which"
            f" nobody has now; for more than a try-out: useradd --system {settings.listen.user}"
        )
    if not settings.senders:
        other = where.gid if where.gid != os.getegid() else None
        if not where.token.exists():
            secret_file.make(where.token, group=other)
        elif other is not None:  # made for another listener's group
            os.chown(where.token, -1, other, follow_symlinks=False)
        yield f"alerts: POST {address(settings)}/v1/alerts/alertmanager, bearer token in {where.token}"
    path = Path(settings.people.users_file)
    if users.load(path):
        return
    name = host.operator().partition(" ")[0]
    if not terminal or not users.NAME.fullmatch(name):
        yield "nobody can log in yet: runbook user add NAME --role approver" + (
            f" --file {path}" if str(path) != People().users_file else ""
        )
        return
    password = secrets.token_urlsafe(12)
    users.save(path, [users.User(name=name, role="approver", password=passwords.make(password))])
    yield f"first user: {name}, password {password} (shown this once; runbook user passwd {name})"


def _make(where: Place) -> None:
    """Make the directories. Raises ``UsageError``."""
    try:
        where.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not where.socket.parent.exists():
            where.socket.parent.mkdir(parents=True)
            where.socket.parent.chmod(0o755)  # whatever the umask is: the listener is another user
    except OSError as error:
        raise UsageError(
            f"{error.filename or where.state} can't be made: {error.strerror}",
            fix="name a state directory that you may write: --state DIR",
        ) from error


def address(settings: Settings) -> str:
    """Where people and senders reach it."""
    at = settings.listen
    if at.public_url:
        return at.public_url.rstrip("/")
    name = f"[{at.address}]" if ":" in at.address else at.address
    return f"{'https' if at.certificate else 'http'}://{name}:{at.port}"
