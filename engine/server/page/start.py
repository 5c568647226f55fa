"""Starting a run: which runbook, on what, with which inputs; a rehearsal unless somebody says otherwise.

Not here: whether it may, and what the inputs mean (the worker).
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from engine.errors import UsageError
from engine.redaction import HERE
from engine.server import messages as m
from engine.server.page.desk import Stopped, Visit, expect, for_people
from engine.server.page.looks import as_written

_INPUT = "input."
#: How long looking for agents may take: the worker has a child look, for at most 30 s.
PATIENCE_S = 35.0


async def show(visit: Visit) -> Response:
    """The form; ``again`` in the address is a run whose runbook, target and inputs stand in it."""
    again, inputs = visit.asked("again"), dict[str, str]()
    runbook, target = visit.asked("runbook"), visit.asked("target")
    if again:
        head = expect(await visit.ask(m.GetRun(run=again, after=2**62)), m.RunFound).head
        runbook, target = head.runbook, head.target
        inputs = {name: words for name, value in head.inputs.items() if (words := as_written(value))}
    return await _form(visit, runbook, target, inputs)


async def begin(visit: Visit) -> Response:
    """Queue it."""
    runbook, target = visit.form.get("runbook", "")[:200], visit.form.get("target", "").strip()[:400]
    inputs = {
        name.removeprefix(_INPUT): value.strip()
        for name, value in visit.form.items()
        if name.startswith(_INPUT) and value.strip()
    }
    dry_run = visit.form.get("real") != "yes"
    try:
        inputs |= _further(visit.form.get("further", ""))
        request = m.StartRun(runbook=runbook, target=target, inputs=inputs, dry_run=dry_run)
        _must_be_open(target, *inputs.values())
        started = expect(await visit.ask(request), m.Started)
    except Stopped as stopped:
        if stopped.no.why not in {"wrong", "unknown", "conflict"}:
            raise
        problem = f"{stopped.no.problem}\n{for_people(stopped.no.fix)}".strip()
        return await _form(visit, runbook, target, inputs, problem=problem, real=not dry_run)
    except UsageError as error:
        problem = f"{error.problem}\n{error.fix}"
        return await _form(visit, runbook, target, inputs, problem=problem, real=not dry_run)
    return visit.go(f"/runs/{started.run}")


async def _form(  # noqa: PLR0913 - all that stands in it
    visit: Visit, runbook: str, target: str, inputs: dict[str, str], *, problem: str = "", real: bool = False
) -> Response:
    if not visit.may("operator"):
        return await visit.wrong(403, "starting runs needs the role operator", "ask an operator")
    known, agents = await asyncio.gather(
        visit.ask(m.GetRunbooks(), timeout_s=PATIENCE_S), visit.ask(m.GetTargets(), timeout_s=PATIENCE_S)
    )
    rows = expect(known, m.Runbooks).rows
    chosen = next((row for row in rows if row.name == runbook), None)
    needs = chosen.needs if chosen else ()
    return await visit.page(
        "start.html.j2",
        400 if problem else 200,
        runbooks=rows,
        chosen=chosen,
        targets=expect(agents, m.Targets),
        target=target,
        needed={name: inputs.get(name, "") for name in needs},
        further="\n".join(f"{name}={value}" for name, value in inputs.items() if name not in needs),
        problem=problem,
        real=real,
    )


def _must_be_open(*texts: str) -> None:
    """Raise ``UsageError`` for a secret, a sender's too: only the listener knows those."""
    if any(HERE.text(text) != text for text in texts):
        raise UsageError("a secret stands in it, and what is queued stands on disk", fix="leave it out")


def _further(words: str) -> dict[str, str]:
    """Lines of NAME=VALUE.

    Raises:
        UsageError: A line is none.
    """
    found = {}
    for line in filter(None, (one.strip() for one in words.splitlines())):
        name, mark, value = line.partition("=")
        if not mark or not name.strip():
            raise UsageError(f"{line!r} is no input", fix="write one a line, as NAME=VALUE")
        found[name.strip()] = value.strip()
    return found
