"""What all pages share: who looks, what they may, asking the worker, answering with a page.

One promise: every answer has the same strict headers; what goes wrong (no right, no such thing, no
worker) is said on a page that tells the way on.

Not here: the pages themselves.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from engine.errors import Refused, RunbookError, UsageError
from engine.server import messages as m
from engine.server.page import gate, looks
from engine.server.settings import RANK, Settings
from engine.server.wire import Line, WorkerGone

_log = logging.getLogger(__name__)
T = TypeVar("T")

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
#: How long taking back a change may take: an agent is reloaded for it.
UNDO_S = 310.0
_STATUS = {
    "login": 401,
    "role": 403,
    "unknown": 404,
    "wrong": 400,
    "conflict": 409,
    "later": 429,
    "failed": 500,
}
_TITLES = {
    400: "That can't be done",
    401: "Log in first",
    403: "That is not for you to do",
    404: "There is no such page",
    405: "That can't be done here",
    409: "It has moved on",
    429: "Too much at once",
    500: "Something broke here",
    503: "The worker can't be reached",
}


class Stopped(Exception):
    """The worker said no."""

    def __init__(self, no: m.No) -> None:
        super().__init__(no.problem)
        self.no = no


class Visit:
    """One request: who asks, what they may, and the ways to answer.

    Attributes:
        who: None for somebody who is not logged in.
        stats: What the worker counts now.
        form: The posted fields, checked; empty for a look.
    """

    def __init__(self, desk: Desk, request: Request, token: str) -> None:
        self.desk = desk
        self.request = request
        self.token = token
        self.who: m.Session | None = None
        self.stats = m.Stats()
        self.form: dict[str, str] = {}
        self.fresh_visit = ""

    def may(self, role: m.Role) -> bool:
        """Whether they may do what this role does; the worker asks itself once more."""
        return self.who is not None and RANK[self.who.role] >= RANK[role]

    @property
    def path(self) -> str:
        """Path and query of this page."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    @property
    def form_token(self) -> str:
        """For the hidden field of every form."""
        return gate.form_token(self.secret)

    @property
    def secret(self) -> str:
        """What the form token is made from."""
        return self.token or self.request.cookies.get(self.desk.cookies.visit, "") or self.fresh_visit

    @property
    def live(self) -> bool:
        """Whether only the parts that change are wanted, by our own script."""
        return self.request.headers.get("x-parts") == "live"

    def asked(self, name: str, most: int = 200) -> str:
        """A field of the address."""
        return self.request.query_params.get(name, "").strip()[:most]

    async def ask(self, request: m.Request, timeout_s: float | None = None) -> m.Answer:
        """Ask the worker.

        Raises:
            Stopped: It said no.
            WorkerGone: There is none, or none that can answer now.
        """
        answer = unless_busy(await self.desk.line.ask(request, self.token, timeout_s=timeout_s))
        if isinstance(answer, m.No):
            raise Stopped(answer)
        return answer

    async def page(self, template: str, status: int = 200, **facts: object) -> HTMLResponse:
        """A page of ours. Rendered beside the loop, since a run may hold much."""
        said = self.desk.cookies.heard(self.request)
        facts |= {"visit": self, "said": said, "settings": self.desk.settings}
        body = await asyncio.to_thread(looks.render, template, **facts)
        answer = HTMLResponse(body, status, headers=HEADERS)
        if said and not self.live:
            self.desk.cookies.drop(answer, self.desk.cookies.said)
        if self.fresh_visit:
            self.desk.cookies.put(answer, self.desk.cookies.visit, self.fresh_visit, 86400)
        return answer

    def go(self, path: str, said: str = "") -> Response:
        """Go on to another page, with a sentence there."""
        answer = RedirectResponse(path, 303, headers=HEADERS)
        if said:
            self.desk.cookies.say(answer, said)
        return answer

    async def wrong(self, status: int, problem: str, fix: str = "") -> Response:
        """A page that says what is in the way."""
        title = _TITLES.get(status, "That did not work")
        told = for_people(fix)
        return await self.page("wrong.html.j2", status, title=title, code=status, problem=problem, fix=told)


def for_people(fix: str) -> str:
    """A way out for somebody who may have no shell on this host."""
    is_command = any(word in fix for word in ("runbook ", "systemctl ", "useradd "))
    return f"ask whoever runs this host: {fix}" if is_command else fix


Show = Callable[[Visit], Awaitable[Response]]


class Desk:
    """Settings, the line to the worker and the cookies, for all pages."""

    def __init__(self, settings: Settings, line: Line) -> None:
        self.settings = settings
        self.line = line
        self.cookies = gate.Cookies(settings)

    def open(self, show: Show, *, public: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """A page to look at, or a form of ours that was sent; ``public``: also without a login."""

        async def answered(request: Request) -> Response:
            answer = await self._answer(show, request, public=public)
            if self.cookies.secure:
                answer.headers["Strict-Transport-Security"] = "max-age=31536000"
            return answer

        return answered

    async def _answer(self, show: Show, request: Request, *, public: bool) -> Response:
        visit = Visit(self, request, request.cookies.get(self.cookies.session, "")[:4096])
        if not visit.secret:
            visit.fresh_visit = gate.new_visit()
        try:
            await self._introduce(visit)
            if request.method == "POST":
                visit.form = await gate.form_of(request)
                gate.check_sender(request, visit.form, visit.secret, self.cookies)
            if visit.who is None and not public:
                return await self._to_login(visit)
            return await show(visit)
        except Exception as error:  # noqa: BLE001 - whatever breaks, people are told what to do
            return await self._failed(visit, error)

    async def _failed(self, visit: Visit, error: Exception) -> Response:
        """A page that says what went wrong."""
        match error:
            case Stopped(no=no) if no.why == "login":
                visit.who = None
                return await self._to_login(visit)
            case Stopped(no=no):
                return await visit.wrong(_STATUS[no.why], no.problem, no.fix)
            case WorkerGone():
                answer = await visit.wrong(503, error.problem, error.fix)
                answer.headers["Retry-After"] = "5"
                return answer
            case RunbookError():
                status = 403 if isinstance(error, Refused) else 400 if isinstance(error, UsageError) else 500
                return await visit.wrong(status, error.problem, error.fix)
            case _:
                _log.error("a page broke: %s", visit.request.url.path, exc_info=error)
                return await visit.wrong(500, "this page broke", "the log of the listener says where")

    async def _introduce(self, visit: Visit) -> None:
        """Who looks, and how many runs wait."""
        who, stats = await asyncio.gather(
            self.line.ask(m.WhoAmI(), visit.token), self.line.ask(m.GetStats(), visit.token)
        )
        unless_busy(who)  # else somebody who is logged in would have to log in
        if isinstance(who, m.Session) and who.until > time.time():
            visit.who = who
        elif self.settings.people.anonymous == "viewer":
            visit.who = m.Session(token="", user="", role="viewer", until=math.inf)
        if isinstance(stats, m.Stats) and visit.who is not None:
            visit.stats = stats

    async def _to_login(self, visit: Visit) -> Response:
        """Log in first; a click on another site brings no cookie along, so look once more from here."""
        request = visit.request
        if visit.live:
            return Response("", 401, headers=HEADERS)
        if request.method != "GET":
            return await visit.wrong(401, "you are not logged in any more, so nothing was done")
        outside = request.headers.get("sec-fetch-site") == "cross-site"
        if outside and not visit.token and "here" not in request.query_params:
            again = f"{visit.path}{'&' if request.url.query else '?'}here="
            return await visit.page("again.html.j2", again=again)
        return visit.go(f"/login?next={quote(visit.path, safe='')}")


def unless_busy(answer: m.Answer) -> m.Answer:
    """The answer. Raises ``WorkerGone`` where the worker says that it can't answer now."""
    if isinstance(answer, m.Busy):
        raise WorkerGone(answer.because, fix="try again in a moment")
    return answer


def expect(answer: m.Answer, kind: type[T]) -> T:
    """The answer, of the kind that its request gets.

    Raises:
        RunbookError: The worker speaks another language than this page.
    """
    if not isinstance(answer, kind):
        raise RunbookError(
            f"the worker answered with {type(answer).__name__}, not {kind.__name__}",
            fix="worker and listener must be of the same version: restart both",
        )
    return answer


def number(words: str) -> float | None:
    """A finite number of an address or a form, or None."""
    try:
        found = msgspec.convert(words, float, strict=False) if words else math.nan
        return found if math.isfinite(found) else None
    except msgspec.ValidationError:
        return None
