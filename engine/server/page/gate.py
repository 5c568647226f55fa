"""Who may send a form: cookies, origin, the token in every form; and the form's fields.

One promise: nothing is changed by a request that another site made the browser send. Three locks, each
enough by itself: the cookie is ``SameSite=Strict``; ``Sec-Fetch-Site`` and ``Origin`` must be ours; the
form holds a token that only somebody who can read our cookie could have been given.

Not here: who somebody is and what they may (the worker).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from engine.errors import Refused, UsageError
from engine.server.settings import Settings

#: The longest form, in bytes; a comment and some answers are less.
MAX_FORM = 64 << 10
_MAX_FIELDS = 100
_SAID_S = 30


class Cookies:
    """Names and ways of our cookies; with TLS they are ``Secure`` and bound to this host."""

    def __init__(self, settings: Settings) -> None:
        public = settings.listen.public_url
        self.secure = bool(settings.listen.certificate) or public.startswith("https:")
        self.public_origin = _origin(public)
        front = "__Host-" if self.secure else ""
        self.session = f"{front}runbook"
        self.visit = f"{front}runbook-visit"
        self.said = f"{front}runbook-said"

    def put(self, answer: Response, name: str, value: str, seconds: int) -> None:
        """Give the browser a cookie that no script reads and no other site can make it send."""
        answer.set_cookie(
            name, value, max_age=seconds, path="/", httponly=True, samesite="strict", secure=self.secure
        )

    def drop(self, answer: Response, name: str) -> None:
        """Take it back."""
        answer.delete_cookie(name, path="/", httponly=True, samesite="strict", secure=self.secure)

    def say(self, answer: Response, sentence: str) -> None:
        """A sentence for the next page."""
        self.put(answer, self.said, sentence.encode()[:1200].hex(), _SAID_S)

    def heard(self, request: Request) -> str:
        """The sentence that the page before left."""
        try:
            return bytes.fromhex(request.cookies.get(self.said, "")).decode("utf-8", "ignore")
        except ValueError:
            return ""


def new_visit() -> str:
    """The secret of a browser that is not logged in."""
    return secrets.token_urlsafe(18)


def form_token(secret: str) -> str:
    """What every form of this browser holds; ``secret``: its session's token, or its visit."""
    return hmac.new(secret.encode(), b"runbook: a form of ours", hashlib.sha256).hexdigest()


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        UsageError: It is no form, or a larger one than we have.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise UsageError("this is not a form of this page", fix="use the forms of the page")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM:
            raise UsageError(f"the form is longer than {MAX_FORM >> 10} KiB", fix="write less")
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise UsageError("the form has too many fields", fix="use the forms of the page") from None
    return dict(pairs)


def check_sender(request: Request, form: dict[str, str], secret: str, cookies: Cookies) -> None:
    """Refuse a form that is not ours.

    Raises:
        Refused: Another site sent it, or it is older than the login.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    if site != "same-origin" or (origin is not None and not _ours(origin, request, cookies)):
        raise Refused(
            "the form was sent by another site, so nothing was done",
            fix="open the page itself, and send its form; behind a proxy set listen.public_url",
        )
    token = form.get("form", "").encode("utf-8", "replace")
    if not secret or not hmac.compare_digest(form_token(secret).encode(), token):
        raise Refused(
            "the form is older than your login, so nothing was done", fix="load the page again, then send it"
        )


def _ours(origin: str, request: Request, cookies: Cookies) -> bool:
    if cookies.public_origin and origin.lower() == cookies.public_origin:
        return True
    parts = urlsplit(origin)
    return (
        parts.scheme in {"http", "https"} and parts.netloc.lower() == request.headers.get("host", "").lower()
    )


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""


def local_path(wanted: str, otherwise: str = "/") -> str:
    """A path on this page to go on to; nothing that leads elsewhere."""
    safe = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if safe and "\\" not in wanted else otherwise
