"""Who may post alerts: tokens and signatures, held against what a request carries.

One promise: whoever has neither learns nothing, not even which names there are. What is done depends on
the form of the request alone: a token is compared before a byte of the body is read, a signature after
all of it; for a name that there is not, with a secret that nobody knows.

Not here: the secrets' files (``secret_file``), what is posted (``engine.server.alerts``).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from engine.errors import UsageError
from engine.server.alerts import alertmanager, generic, grafana, pagerduty
from engine.server.alerts.reading import Reading
from engine.server.listener import signatures
from engine.server.listener.rate import Bucket
from engine.server.listener.secret_file import SecretFile
from engine.server.listener.signatures import Given, Seen
from engine.server.settings import Sender, Settings, Signature, seconds

#: Reads a body: ``read(body, now=…)``.
Reader = Callable[..., Reading]
_READERS: dict[str, Reader] = {
    "alertmanager": alertmanager.read,
    "grafana": grafana.read,
    "pagerduty": pagerduty.read,
}
#: The sender that there is without any settings.
STANDARD = "alertmanager"
_BEARER = b"bearer "


class Post:
    """One sender's place: its secret, its form, its rate."""

    def __init__(self, sender: Sender) -> None:
        """Raises ``UsageError`` for a mapping with a wrong path."""
        self.name = sender.name
        self.kind = sender.kind
        self.signature = _as_sent(sender)
        self.secret = SecretFile(
            Path(sender.signature.secret_file if sender.signature else sender.token_file)
        )
        self.read: Reader = (
            generic.Form(sender.mapping).read if sender.mapping is not None else _READERS[sender.kind]
        )
        self.bucket = Bucket(sender.at_most)


class Mark(msgspec.Struct, frozen=True):
    """A signature with a time that was counted, to be taken back when nothing comes of it."""

    who: str
    digest: bytes
    signed_at: float


class Door:
    """All senders. Raises ``UsageError`` where one of them could never get in."""

    def __init__(self, settings: Settings, token_file: Path | None = None) -> None:
        senders = settings.senders
        if not senders:
            if token_file is None:
                raise UsageError(
                    "no sender is set, and there is no place for a token",
                    fix="add senders to the settings, or name a state directory",
                )
            senders = (Sender(name=STANDARD, kind="alertmanager", token_file=str(token_file)),)
        self._posts = {sender.name: Post(sender) for sender in senders}
        for post in self._posts.values():
            try:
                post.secret.check()
            except UsageError as error:
                raise UsageError(f"sender {post.name}: {error.problem}", fix=error.fix) from error
            post.secret.values()  # from now on none of them passes on in an alert, whoever sends it
        self._seen = Seen()
        self._nobody = secrets.token_bytes(32)
        rules = [post.signature for post in self._posts.values() if post.signature is not None]
        self._rules = {rule.header.lower().encode(): rule for rule in rules}
        self._longest_s = max((seconds(rule.tolerance) for rule in rules), default=0.0)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The forms that are read here, by name."""
        return tuple(sorted({post.kind for post in self._posts.values()}))

    @property
    def signed(self) -> tuple[str, ...]:
        """Headers that carry signatures here."""
        return tuple(sorted(carrier.decode() for carrier in self._rules))

    def way(self, headers: Mapping[bytes, bytes]) -> str:
        """How a request wants to be known: ``token``, ``signature``, or empty for not at all."""
        if b"authorization" in headers:
            return "token"
        return "signature" if self._rules.keys() & headers.keys() else ""

    def by_token(self, name: str, headers: Mapping[bytes, bytes]) -> Post | None:
        """Whose token it is, if it is that sender's."""
        post = self._posts.get(name)
        known = (self._nobody,) if post is None or post.signature is not None else post.secret.values()
        carried = headers.get(b"authorization", b"")
        token = carried[len(_BEARER) :].strip() if carried[: len(_BEARER)].lower() == _BEARER else b""
        shown = hashlib.sha256(token).digest()
        fits = [
            hmac.compare_digest(shown, hashlib.sha256(each).digest()) for each in known or (self._nobody,)
        ]
        return post if token and any(fits) else None

    def by_signature(
        self, name: str, headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[Post, Mark | None] | None:
        """Whose signature it is, if it is that sender's, fresh, and counts for the first time."""
        post = self._posts.get(name)
        rule = post.signature if post is not None else None
        known = post.secret.values() if post is not None and rule is not None else ()
        found = signatures.given(rule or self._some_rule(headers), headers)
        digest = signatures.match(found or Given((b"",)), known or (self._nobody,), body)
        if post is None or rule is None or found is None or digest is None:
            return None
        return self._counted(post, rule, found, digest)

    def take_back(self, mark: Mark | None) -> None:
        """Nothing was taken: the same bytes may come again."""
        if mark is not None:
            self._seen.take_back(mark.who, mark.digest, mark.signed_at)

    def _counted(
        self, post: Post, rule: Signature, found: Given, digest: bytes
    ) -> tuple[Post, Mark | None] | None:
        now, signed_at = time.time(), found.signed_at
        if not signatures.fresh(found, rule, now):
            return None
        if signed_at is None:
            return post, None
        if not self._seen.add(post.name, digest, signed_at, oldest=now - self._longest_s):
            return None
        return post, Mark(post.name, digest, signed_at)

    def _some_rule(self, headers: Mapping[bytes, bytes]) -> Signature:
        """For a name that there is not: the rule of the header that the request carries."""
        return next(rule for carrier, rule in self._rules.items() if carrier in headers)


def _as_sent(sender: Sender) -> Signature | None:
    """How the sender signs; PagerDuty has a way of its own, unless the settings name a header."""
    rule = sender.signature
    if rule is None or sender.kind != "pagerduty" or rule.header != Signature(secret_file="").header:
        return rule
    return msgspec.structs.replace(rule, header="X-PagerDuty-Signature", timestamp_header="")
