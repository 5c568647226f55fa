"""Logging in and out.

One promise: a wrong name and a wrong password look the same; how often somebody may try is up to the
worker, which counts for all listeners.

Not here: passwords and sessions (``engine.server.worker.people``).
"""

from __future__ import annotations

from starlette.responses import Response

from engine.server import messages as m
from engine.server.page import gate
from engine.server.page.desk import HEADERS, Visit, unless_busy
from engine.server.settings import seconds


async def show(visit: Visit) -> Response:
    """The form; who is logged in already is sent on."""
    onward = gate.local_path(visit.asked("next", 2000))
    if visit.who is not None and visit.token:
        return visit.go(onward)
    return await visit.page("login.html.j2", onward=onward, user="", problem="", fix="")


async def log_in(visit: Visit) -> Response:
    """Name and password."""
    onward = gate.local_path(visit.form.get("next", ""))
    user = visit.form.get("user", "").strip()[:200]
    client = visit.request.client
    asked = m.Login(
        user=user, password=visit.form.get("password", "")[:1000], remote=client.host if client else ""
    )
    # Checking a password takes its time on purpose.
    answer = unless_busy(await visit.desk.line.ask(asked, timeout_s=30.0))
    if isinstance(answer, m.Session):
        gone = visit.go(onward)
        lasts = int(seconds(visit.desk.settings.people.session))  # unused, the worker ends it sooner
        visit.desk.cookies.put(gone, visit.desk.cookies.session, answer.token, lasts)
        visit.desk.cookies.drop(gone, visit.desk.cookies.visit)
        return gone
    no = answer if isinstance(answer, m.No) else m.No(problem="the worker can't log anybody in")
    status = {"later": 429, "failed": 500}.get(no.why, 401)
    told = {"onward": onward, "user": user, "problem": no.problem, "fix": no.fix}
    shown = await visit.page("login.html.j2", status, **told)
    if no.why == "later":
        shown.headers["Retry-After"] = str(max(1, round(no.retry_after_s)))
    return shown


async def log_out(visit: Visit) -> Response:
    """The session counts no more, here and at the worker."""
    await visit.desk.line.ask(m.Logout(), visit.token)
    gone = visit.go("/login", "You are logged out.")
    gone.headers.update(HEADERS)
    gone.headers["Clear-Site-Data"] = '"cache"'
    visit.desk.cookies.drop(gone, visit.desk.cookies.session)
    return gone
