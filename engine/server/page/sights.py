"""Alerts with their decision traces, targets with their health, temporary changes.

Not here: runs (``runs``), the audit (``audits``).
"""

from __future__ import annotations

from starlette.responses import Response

from engine.errors import UsageError
from engine.server import messages as m
from engine.server.page.desk import UNDO_S, Stopped, Visit, expect, number
from engine.server.page.start import PATIENCE_S

A_PAGE = 50
FATES = ("started", "joined", "held", "unmatched", "resolved", "duplicate", "full")
#: What a lease can be given more: seconds and words.
MORE = (("900", "15 minutes"), ("3600", "1 hour"), ("14400", "4 hours"), ("86400", "1 day"))
_DOINGS = ("extend", "end", "keep")


async def alerts(visit: Visit) -> Response:
    """Alerts, newest first."""
    before = number(visit.asked("before", 30))
    wanted = {name: visit.asked(name) for name in ("name", "fate", "run")}
    found = expect(await visit.ask(m.GetAlerts(limit=A_PAGE + 1, before=before, **wanted)), m.Alerts).rows
    rows = found[:A_PAGE]
    more = rows[-1].received_at if len(found) > A_PAGE else None
    return await visit.page("alerts.html.j2", rows=rows, more=more, before=before, wanted=wanted, fates=FATES)


async def alert(visit: Visit) -> Response:
    """One alert: what came, what was decided about it, and why."""
    name = visit.request.path_params["alert"]
    rows = expect(await visit.ask(m.GetAlerts(limit=1, alert=name)), m.Alerts).rows
    if not rows:
        raise Stopped(
            m.No(problem=f"there is no alert {name}", fix="it may be older than is kept", why="unknown")
        )
    return await visit.page("alert.html.j2", row=rows[0])


async def targets(visit: Visit) -> Response:
    """The agents of this host, those in trouble first."""
    found = expect(await visit.ask(m.GetTargets(), timeout_s=PATIENCE_S), m.Targets)
    order = {"down": 0, "troubled": 1, "well": 2}
    rows = sorted(found.rows, key=lambda row: (order.get(row.health, 3), row.name))
    return await visit.page("targets.html.j2", rows=rows, problem=found.problem)


async def leases(visit: Visit) -> Response:
    """Temporary changes, the one that ends first in front."""
    rows = expect(await visit.ask(m.GetLeases(), timeout_s=PATIENCE_S), m.Leases).rows
    return await visit.page("leases.html.j2", rows=sorted(rows, key=lambda row: row.until), more=MORE)


async def change_lease(visit: Visit) -> Response:
    """Extend one, end it, or keep it for good."""
    form = visit.form
    do, attempt, seconds = form.get("do", ""), form.get("attempt", ""), number(form.get("seconds", "0"))
    if do not in _DOINGS or not attempt.isdecimal() or len(attempt) > 9 or seconds is None:
        raise UsageError("the form says nothing that can be done", fix="use the buttons of the page")
    request = m.ChangeLease(
        run=form.get("run", ""),
        attempt=int(attempt),
        do="extend" if do == "extend" else "end" if do == "end" else "keep",
        seconds=seconds,
    )
    done = expect(await visit.ask(request, timeout_s=UNDO_S), m.Done)
    if done.details:
        return await visit.page("done.html.j2", title=done.sentence, done=done, back="/leases", head=None)
    return visit.go("/leases", done.sentence)
