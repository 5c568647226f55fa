"""Answering what a run asks: a change's yes or no, a runbook's own question; with a login or a link.

One promise: nothing is answered by a look (``GET``); a change of high risk is looked at twice; what is
answered is what was looked at, by its digest.

Not here: whether the yes counts (the worker), what it is bound to (``engine.running.approval``).
"""

from __future__ import annotations

from starlette.responses import Response

from engine.errors import UsageError
from engine.server import messages as m
from engine.server.page import runs, told
from engine.server.page.desk import Stopped, Visit, expect, for_people

_COMMENT = 2000


async def rule(visit: Visit) -> Response:
    """Approve or deny the change that a run waits with."""
    run = visit.request.path_params["run"]
    answer, found = _answer(visit), await runs.find(visit)
    if _look_again(visit, answer, found):
        return await runs.page_of(visit, found, "sure.html.j2", link="")
    done = expect(await visit.ask(_rule(visit, run)), m.Done)
    return visit.go(f"/runs/{run}", done.sentence)


async def reply(visit: Visit) -> Response:
    """Answer a runbook's own question."""
    run = visit.request.path_params["run"]
    try:
        done = expect(await visit.ask(_reply(visit, run)), m.Done)
    except Stopped as stopped:
        return await _asked_again(visit, stopped, await runs.find(visit), "run.html.j2")
    return visit.go(f"/runs/{run}", done.sentence)


async def show_link(visit: Visit) -> Response:
    """What a signed link is about; looking at it answers nothing."""
    found = await _of_link(visit)
    return await runs.page_of(visit, found.run, "link.html.j2", link=_link(visit), about=found)


async def answer_by_link(visit: Visit) -> Response:
    """Answer a change or a question by a signed link; the link tells who it is."""
    link, found = _link(visit), await _of_link(visit)
    run, request = found.run.head.id, _reply if "step" in visit.form else _rule
    if request is _rule and _look_again(visit, _answer(visit), found.run):
        return await runs.page_of(visit, found.run, "sure.html.j2", link=link)
    try:
        done = expect(await visit.ask(request(visit, run, link)), m.Done)
    except Stopped as stopped:
        return await _asked_again(visit, stopped, found.run, "link.html.j2", link=link, about=found)
    return await visit.page("done.html.j2", title=done.sentence, done=done, back="", head=found.run.head)


async def _asked_again(
    visit: Visit, stopped: Stopped, found: m.RunFound, template: str, **more: object
) -> Response:
    """The same question with what was wrong with its answer, and with what was typed."""
    if stopped.no.why != "wrong" or "step" not in visit.form:
        raise stopped
    problem = f"{stopped.no.problem}\n{for_people(stopped.no.fix)}".strip()
    return await runs.page_of(visit, found, template, 400, values=_values(visit), problem=problem, **more)


async def _of_link(visit: Visit) -> m.LinkFound:
    return expect(await visit.ask(m.ReadLink(link=_link(visit))), m.LinkFound)


def _link(visit: Visit) -> str:
    return str(visit.request.path_params["link"])


def _answer(visit: Visit) -> str:
    answer = visit.form.get("answer", "")
    if answer not in {"approved", "denied"}:
        raise UsageError("the form says neither yes nor no", fix="choose Approve or Deny")
    return answer


def _look_again(visit: Visit, answer: str, found: m.RunFound) -> bool:
    """Whether a yes to this must be given twice: its risk is high."""
    if answer != "approved" or visit.form.get("sure") == "yes":
        return False
    pending = told.waits_with(told.read(found))
    return isinstance(pending, told.Request) and pending.plan.risk == "high"


def _rule(visit: Visit, run: str, link: str = "") -> m.Rule:
    approved = _answer(visit) == "approved"
    return m.Rule(
        run=run,
        digest=visit.form.get("digest", "")[:128],
        answer="approved" if approved else "denied",
        comment=_comment(visit),
        link=link,
    )


def _reply(visit: Visit, run: str, link: str = "") -> m.Reply:
    return m.Reply(
        run=run,
        step=visit.form.get("step", ""),
        values=_values(visit),
        comment=_comment(visit),
        digest=visit.form.get("digest", "")[:128],
        link=link,
    )


def _values(visit: Visit) -> dict[str, str]:
    return {
        name.removeprefix("answer."): value[:_COMMENT]
        for name, value in visit.form.items()
        if name.startswith("answer.")
    }


def _comment(visit: Visit) -> str:
    return visit.form.get("comment", "").strip()[:_COMMENT]
