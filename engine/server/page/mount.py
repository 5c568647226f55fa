"""Every path of the page, and what answers it.

Not here: what is answered (one file per subject).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engine.server.page import answering, assets, audits, events, login, runs, sights, start
from engine.server.page.desk import Desk, Visit
from engine.server.settings import Settings
from engine.server.wire import Line

_LOOK = ["GET"]
_SEND = ["POST"]


def routes(settings: Settings, line: Line) -> list[BaseRoute]:
    """All routes of the page; ``line``: to the worker, shared by all requests."""
    desk = Desk(settings, line)
    looks = {
        "/": runs.show_list,
        "/runs/{run}": runs.show,
        "/runs/{run}/series": runs.show_series,
        "/runs/{run}/report": runs.report,
        "/runs/{run}/report.{form}": runs.download,
        "/events/runs": events.stream,
        "/events/runs/{run}": events.stream,
        "/alerts": sights.alerts,
        "/alerts/{alert}": sights.alert,
        "/targets": sights.targets,
        "/leases": sights.leases,
        "/audit": audits.show,
        "/audit.{form}": audits.download,
        "/start": start.show,
    }
    sent = {
        "/runs/{run}/rule": answering.rule,
        "/runs/{run}/reply": answering.reply,
        "/runs/{run}/stop": runs.stop,
        "/runs/{run}/undo": runs.undo,
        "/leases": sights.change_lease,
        "/start": start.begin,
        "/logout": login.log_out,
    }
    return [
        Route("/static/{stamp}/{name}", assets.serve, methods=_LOOK),
        Route("/login", desk.open(login.show, public=True), methods=_LOOK),
        Route("/login", desk.open(login.log_in, public=True), methods=_SEND),
        Route("/links/{link}", desk.open(answering.show_link, public=True), methods=_LOOK),
        Route("/links/{link}", desk.open(answering.answer_by_link, public=True), methods=_SEND),
        *(Route(path, desk.open(show), methods=_LOOK) for path, show in looks.items()),
        *(Route(path, desk.open(do), methods=_SEND) for path, do in sent.items()),
    ]


Failure = Callable[[Request, Exception], Awaitable[Response]]


def failures(settings: Settings, line: Line) -> Mapping[int, Failure]:
    """Pages for paths that are not there, for the app's ``exception_handlers``; programs get a line."""
    desk = Desk(settings, line)

    async def not_found(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        if "text/html" not in request.headers.get("accept", ""):
            return Response("there is no such page\n", status, media_type="text/plain")

        async def show(visit: Visit) -> Response:
            if status == 404:
                return await visit.wrong(404, "nothing is here", "start at the list of runs")
            return await visit.wrong(status, "this page can't do that", "go back and use its buttons")

        return await desk.open(show, public=True)(request)

    return {404: not_found, 405: not_found}
