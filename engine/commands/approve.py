"""``runbook approve`` and ``deny``: the answer to what a run waits with, and the run gone on with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine import host, text
from engine.commands.printing import Json, State, emit, new_app, table
from engine.commands.record import RunId
from engine.commands.traced import traced
from engine.errors import UsageError
from engine.journal import Journal, locks
from engine.launch import Wish, go_on, policy_of
from engine.pending import answered, open_question, open_request
from engine.record import Asked, Run
from engine.reports import json as machine
from engine.running.answering import Saying, reply
from engine.running.approval import Ruling, rule
from engine.running.asking import example
from engine.running.waiting import all_waiting
from engine.terminal import live, request

app = new_app()

#: What the worker of ``runbook serve`` holds as long as it is at work on a state directory.
WORKER = "worker"
#: How long the worker may take to begin with a run that was answered, in seconds.
GRACE_S = 10.0
LOOK_S = 0.2
#: So much of a digest is enough to name a plan.
SHORTEST = 8

Comment = Annotated[str, typer.Option("--comment", "-c", help="Why, for the record.")]
Plan = Annotated[
    str,
    typer.Option(
        "--plan", metavar="DIGEST", help="Only if this is the plan that it waits with: its first digits."
    ),
]
NoRun = Annotated[
    bool, typer.Option("--no-run", help="Write the answer down; whoever resumes the run uses it.")
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Where the worker goes on with it, do not wait for it.")
]
Optional = Annotated[str, typer.Argument(metavar="[RUN]", help="A run's id, or its beginning.")]


class Doing:
    """How an answer is given, as the command line says."""

    def __init__(
        self,
        answer: Literal["approved", "denied"],
        comment: str,
        plan: str,
        *,
        as_json: bool,
        state: Path | None,
    ) -> None:
        self.answer, self.comment, self.plan, self.as_json = answer, comment, plan, as_json
        with Journal.open(state, write=False) as journal:
            self.directory = journal.directory
        self.state = state

    def say(self, words: str) -> None:
        """A line for people: not on a machine's stdout."""
        typer.echo(text.plain(words), err=self.as_json)


@app.command(epilog="Example: runbook approve 20261122-0301 --comment 'the window is open'")
def approve(  # noqa: PLR0913, PLR0917 - each is an option
    run: Optional = "",
    comment: Comment = "",
    plan: Plan = "",
    no_run: NoRun = False,
    no_wait: NoWait = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Say yes to the change that a run waits with; without RUN list what waits."""
    if not run:
        _list(state, as_json=as_json)
        return
    doing = Doing("approved", comment, plan, as_json=as_json, state=state)
    _go_on(_answer(run, doing), doing, no_run=no_run, no_wait=no_wait)


@app.command(epilog="Example: runbook deny 20261122-0301 --comment 'not before the release'")
def deny(  # noqa: PLR0913, PLR0917 - each is an option
    run: RunId,
    comment: Comment = "",
    plan: Plan = "",
    no_run: NoRun = False,
    no_wait: NoWait = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Say no to the change that a run waits with; the run goes on without it."""
    doing = Doing("denied", comment, plan, as_json=as_json, state=state)
    _go_on(_answer(run, doing), doing, no_run=no_run, no_wait=no_wait)


def _list(state: Path | None, *, as_json: bool) -> None:
    """What waits, newest first."""
    with Journal.open(state, write=False) as journal:
        rows = [_row(run, open_) for run, _, open_ in all_waiting(journal)]
    if as_json:
        emit(rows)
    elif rows:
        table(
            ("run", "target", "waits for", "until", "plan"),
            ([str(cell) for cell in row.values()] for row in rows),
        )
        typer.echo("see one and say yes: runbook approve RUN --plan DIGEST", err=True)
    else:
        typer.echo("nothing waits")


def _row(run: Run, open_: object) -> dict[str, str]:
    head = run.head
    if isinstance(open_, Asked):
        what, until, plan = request.question(open_), open_.expires_at, "-"
    else:
        found = open_request(run)
        what = f"{found.requested.remediation}: a yes" if found else ""
        until, plan = (found.requested.decide_by, found.requested.digest[:16]) if found else (None, "")
    return {
        "run": head.id,
        "target": head.target or "-",
        "waits_for": what,
        "until": text.moment(until) or "-",
        "plan": plan,
    }


# ── the answer ──────────────────────────────────────────────────────────────────


def _answer(wanted: str, doing: Doing) -> str:
    """Show what it is about and write the answer down; gives the outermost run's id."""
    now = time.time()
    with Journal.open(doing.state) as journal:
        run = journal.run(journal.run(wanted).head.id.partition(".")[0])
        waiting, question = open_request(run), open_question(run)
        if waiting is None and question is not None:
            _reply(run, question[1], doing, journal, now)
            return run.head.id
        if waiting is not None:
            for line in request.lines(waiting, now):
                doing.say(line)
        digest = waiting.requested.digest if waiting else ""
        if doing.plan and not (len(doing.plan) >= SHORTEST and digest.startswith(doing.plan)):
            digest = doing.plan  # it is refused, and written down that it was tried
        ruling = Ruling(digest=digest, answer=doing.answer, by=host.operator(), comment=doing.comment)
        ruled = rule(run.head.id, ruling, journal, now)
    until = f"; to be used until {text.day_and_time(ruled.use_by)}" if ruled.use_by else ""
    doing.say(f"{ruled.answer} by {ruled.by}{until}")
    return run.head.id


def _reply(run: Run, asked: Asked, doing: Doing, journal: Journal, now: float) -> None:
    """A yes or no to a runbook's own question, where that is all it asks."""
    doing.say(request.question(asked))
    kinds = [spec.type for spec in asked.answers.values()]
    if kinds != ["bool"]:
        raise UsageError(
            f"run {run.head.id} asks for more than a yes or no",
            fix=f"runbook resume {run.head.id} {example(asked)}",
        )
    word = "yes" if doing.answer == "approved" else "no"
    values = dict.fromkeys(asked.answers, word)
    saying = Saying(step=asked.step, values=values, by=host.operator(), comment=doing.comment)
    reply(run.head.id, saying, journal, now)
    doing.say(f"answered: {word}")


# ── the run ─────────────────────────────────────────────────────────────────────


def _go_on(run: str, doing: Doing, *, no_run: bool, no_wait: bool) -> None:
    """The run to its end or its next question: by the worker where one is at work, else here."""
    if locks.run_is_held(doing.directory, WORKER):
        doing.say(f"the worker goes on with it: runbook report {run}")
        if no_wait or no_run:
            return
        done = _by_worker(run, doing)
    elif no_run:
        doing.say(f"go on with it: runbook resume {run}")
        return
    else:
        done = _here(run, doing)
    if doing.as_json:
        emit(machine.document(done))
    raise typer.Exit(machine.exit_code(done))


def _here(run: str, doing: Doing) -> Run:
    wish = Wish(runbook="", policy=policy_of(run, doing.state), state=doing.state)
    with traced(live.watcher(quiet=doing.as_json)) as watcher:
        return go_on(run, wish, watcher)


def _by_worker(run: str, doing: Doing) -> Run:
    """Wait until the worker has gone on with it; where it does not, or is gone, it goes on here."""
    ends = time.monotonic() + GRACE_S
    with Journal.open(doing.state, write=False) as journal:
        while True:
            found = journal.run(run)
            if found.state == "ended" and not answered(found):
                doing.say(f"{found.head.outcome}: {found.head.sentence}")
                return found
            if found.state == "running":
                ends = time.monotonic() + GRACE_S
            elif time.monotonic() >= ends or not locks.run_is_held(doing.directory, WORKER):
                break
            time.sleep(LOOK_S)
    doing.say("the worker has not taken it up: it goes on here")
    return _here(run, doing)
