"""The chain of hashes that makes tampering with the journal visible: one row, and the chain's end.

One promise: who has not the key can't make a row, nor a new chain. Each row's hash is an HMAC-SHA256
over the hash before it, the row's place, its run, what kind of event it is and the digest of its content;
so a content may go (``retention``) and the chain still holds. The last hash also stands in a small file
beside the database, the anchor, under a hash of its own, so that a shortened journal is seen too.

Rows of an earlier release (tables version 1) have a plain SHA-256 over their content and no seal; they
stay as they are, and the first keyed row is chained to them.

Not here: keys (``keys``), checking all rows (``examining``), reading and writing them (``store``).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.journal.keys import Key

#: What the first row stands on.
ROOT = bytes(32)
#: How a seal begins that was made as ``keyed`` does; the key's id follows.
SEAL = "hmac-sha256:"
#: What stands in place of a content that was dropped; the content's SHA-256 follows. No JSON begins so.
DROPPED = b"sha256:"

_ANCHOR = re.compile(rb"(\d{20}) ([0-9a-f]{64})(?: ([0-9a-f]{8}) ([0-9a-f]{64}))?\n")
_KIND = re.compile(rb'\{"kind":"([a-z-]+)"')


class Row(NamedTuple):
    """One event as it lies on disk.

    Attributes:
        run: The run's id; empty for what belongs to none.
        kind: Of the event; None in rows of an earlier release.
        seal: How it was made, ``hmac-sha256:1a2b3c4d``; None in rows of an earlier release.
        body: Its content, or the digest of it.
    """

    seq: int
    run: str
    kind: str | None
    seal: str | None
    prev: bytes
    hash: bytes
    body: bytes

    @property
    def dropped(self) -> bool:
        """Whether only the digest of its content is left."""
        return self.body.startswith(DROPPED)


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One place where the journal is not what was written.

    Attributes:
        seq: The row, counted from 1; run: the run it belongs to, where known.
        what: ``altered``, ``removed``, ``moved``, ``cut-off``, ``forged`` (made without the key),
            ``dropped`` (its content is gone and nobody is on record for it), ``head`` (a table beside the
            chain says something else), ``anchor`` (the anchor itself is missing or unreadable).
    """

    seq: int
    run: str = ""
    what: str
    sentence: str


def link(prev: bytes, seq: int, run: str, body: bytes) -> bytes:
    """The hash of a row of an earlier release."""
    return hashlib.sha256(b"%b%d %b\n%b" % (prev, seq, run.encode(), body)).digest()


def keyed(key: Key, row: Row) -> bytes:
    """The hash that a row must have, by everything else in it. Cost: 2 µs."""
    kind = (row.kind or "").encode()
    said = b"runbook row\n%b%d %b\n%b\n%b" % (row.prev, row.seq, row.run.encode(), kind, digest_of(row.body))
    return hmac.digest(key.secret, said, "sha256")


def digest_of(body: bytes) -> bytes:
    """The SHA-256 of a content, also where only it is left; empty when that can't be read."""
    if not body.startswith(DROPPED):
        return hashlib.sha256(body).digest()
    try:
        return bytes.fromhex(body[len(DROPPED) :].decode())
    except ValueError:
        return b""


def kind_of(body: bytes) -> str:
    """What kind of event a content is, without reading all of it; empty when it is none."""
    found = _KIND.match(body)
    return found[1].decode() if found else ""


class End(NamedTuple):
    """The end of the chain as noted in the anchor; an earlier release's has neither ``key`` nor ``proof``."""

    seq: int
    hash: bytes
    key: str = ""
    proof: bytes = b""


class Anchor:
    """The end of the chain, in a file of its own; written after each commit, never before.

    It may lag behind the journal by a commit (a crash in between) and never runs ahead.
    """

    def __init__(self, path: Path, key: Key | None = None) -> None:
        self._path = path
        self.key = key
        self._descriptor = -1

    def write(self, seq: int, digest: bytes) -> None:
        """Note the new end. Cost: one small write to the page cache."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        line = b"%020d %s" % (seq, digest.hex().encode())
        if self.key is not None:
            proof = anchored(self.key, seq, digest)
            line += b" %s %s" % (self.key.id.encode(), proof.hex().encode())
        os.pwrite(self._descriptor, line + b"\n", 0)

    def begin(self, *, empty: bool) -> None:
        """Make the file together with an empty chain: later its absence means that it was removed."""
        if empty and not self._path.exists():
            self.write(0, ROOT)

    def read(self) -> End | None:
        """The end as noted, or None when there is none or it can't be read."""
        try:
            found = _ANCHOR.fullmatch(self._path.read_bytes())
        except OSError:
            return None
        if not found:
            return None
        key, proof = (found[3] or b"").decode(), (found[4] or b"").decode()
        return End(int(found[1]), bytes.fromhex(found[2].decode()), key, bytes.fromhex(proof))

    def close(self) -> None:
        """Let the file go; twice is once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_ours(anchor: End, key: Key | None) -> bool:
    """Whether an anchor was made with a key; nobody else can make us believe that rows are gone."""
    return key is not None and hmac.compare_digest(anchored(key, anchor.seq, anchor.hash), anchor.proof)


def anchored(key: Key, seq: int, digest: bytes) -> bytes:
    """The proof in an anchor: without the key nobody can name an earlier end."""
    return hmac.digest(key.secret, b"runbook anchor\n%d %b" % (seq, digest), "sha256")
