"""Passwords to scrypt hashes, and whether one matches.

One promise: a password is never kept, and telling that it is wrong costs the same for a user that
exists and for one that does not.

A hash is written ``$scrypt$ln=15,r=8,p=3$SALT$HASH`` (PHC string format, base64 without padding). The
costs are those that OWASP names for 32 MiB of memory; others are read too, within bounds.

Not here: who has which password (``engine.server.worker.users``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import unicodedata
from typing import NamedTuple

from engine.errors import UsageError

SHORTEST, LONGEST = 12, 1024

_FORM = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)


class _Hash(NamedTuple):
    """A hash taken apart: costs, salt, and what scrypt gave."""

    ln: int
    r: int
    p: int
    salt: bytes
    hashed: bytes


def make(password: str) -> str:
    """A new hash of a password, with a salt of its own.

    Raises:
        UsageError: It is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(
            f"a password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}",
            fix="several words that nobody says together are easy to keep in mind",
        )
    blank = _Hash(15, 8, 3, secrets.token_bytes(16), b"\0" * 32)
    return _written(blank._replace(hashed=_scrypt(password, blank)))


def problem(written: str) -> str:
    """Why a text is no hash that can be used; empty for one that can."""
    found = _FORM.fullmatch(written)
    if found is None:
        return "no scrypt hash (runbook user passwd NAME writes one)"
    ln, r, p = (int(found[number]) for number in (1, 2, 3))
    if not (10 <= ln <= 18 and 1 <= r <= 16 and 1 <= p <= 16):
        return "its costs are out of bounds (ln 10 to 18, r and p 1 to 16)"
    return "" if _read(written) else "no scrypt hash (runbook user passwd NAME writes one)"


def matches(password: str, written: str | None) -> bool:
    """Whether a password is the one of a hash; without a hash the same work, and no. Blocks: about 0.2 s."""
    stored = _read(written) if written else None
    against = stored or _NOBODY
    given = _scrypt(password[:LONGEST], against)
    right = hmac.compare_digest(given, against.hashed)
    return right and stored is not None and len(password) <= LONGEST


def _scrypt(password: str, how: _Hash) -> bytes:
    # NFKC: the same password typed on another keyboard is the same (NIST SP 800-63B, 3.1.1.2)
    whole = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        whole,
        salt=how.salt,
        n=1 << how.ln,
        r=how.r,
        p=how.p,
        dklen=len(how.hashed),
        maxmem=256 * how.r * (1 << how.ln) + (1 << 20),
    )


def _written(one: _Hash) -> str:
    salt, hashed = (base64.b64encode(part).decode().rstrip("=") for part in (one.salt, one.hashed))
    return f"$scrypt$ln={one.ln},r={one.r},p={one.p}${salt}${hashed}"


def _read(written: str) -> _Hash | None:
    found = _FORM.fullmatch(written)
    if found is None:
        return None
    try:
        salt, hashed = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in (found[4], found[5]))
    except (binascii.Error, ValueError):
        return None
    return _Hash(int(found[1]), int(found[2]), int(found[3]), salt, hashed)


#: Whom a password is held against when there is nobody of that name.
_NOBODY = _Hash(15, 8, 3, secrets.token_bytes(16), secrets.token_bytes(32))
