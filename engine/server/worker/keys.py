"""The key that signs sessions and links, and the signing.

One promise: the key is made once, readable by its owner only, and what was signed for one purpose
counts for no other (each has its own salt).

Not here: what is signed (``engine.server.worker.people``, ``engine.server.worker.links``).
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import RunbookError, UsageError

if TYPE_CHECKING:
    from itsdangerous import URLSafeSerializer

NAME = "serve.key"
#: Nothing that we sign is longer.
_LONGEST = 2048


def signing_key(state: Path) -> bytes:
    """The key of a state directory, made on first use: 32 random bytes in hex, mode 0600.

    Raises:
        RunbookError: It can't be made or read, or others can read it.
    """
    path = state / NAME
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status, key = os.fstat(descriptor), file.read(4096).strip()
    except OSError as error:
        raise RunbookError(
            f"the key {path} can't be read: {error.strerror}", fix=f"make {state} writable for this user"
        ) from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in (0, os.geteuid()):
        raise RunbookError(
            f"the key {path} can be read by others, so what it signs proves nothing",
            fix=f"rm {path}: a new one is made, and everybody logs in again",
        )
    if len(key) < 32:
        raise RunbookError(f"the key {path} is too short", fix=f"rm {path}: a new one is made")
    return key


def _make(path: Path) -> None:
    """A new key, whole or not at all; of two processes that make one the first wins."""
    draft = path.with_name(f".{NAME}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(descriptor)
        if not path.exists():
            os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def session_tokens(key: bytes) -> URLSafeSerializer:
    """Signs ids of sessions."""
    return _signer(key, "runbook session")


def link_tokens(key: bytes) -> URLSafeSerializer:
    """Signs links."""
    return _signer(key, "runbook link")


def read(signer: URLSafeSerializer, signed: str) -> Any:  # noqa: ANN401 - whatever was signed
    """What was signed, or None where it was not signed here for this purpose."""
    from itsdangerous import BadData  # noqa: PLC0415 - of the extra [server]

    if not signed or len(signed) > _LONGEST or not signed.isascii():
        return None
    try:
        return signer.loads(signed)
    except (BadData, ValueError, RecursionError):
        return None


def _signer(key: bytes, purpose: str) -> URLSafeSerializer:
    try:
        from itsdangerous import URLSafeSerializer  # noqa: PLC0415 - of the extra [server]
    except ImportError as error:
        raise UsageError(
            "logins and links need itsdangerous, which is not installed",
            fix="pip install 'bpf-runbook[server]'",
        ) from error
    import hashlib  # noqa: PLC0415

    return URLSafeSerializer(
        key, salt=purpose, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )
