"""A worker that answers on the real socket with canned but real values: for tests of the page.

``python -m tests.engine.server.canned PORT`` serves it to look at. Not here: the worker itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette

from engine import audit, pending, record
from engine.server import messages as m
from engine.server import wire
from engine.server.alerts.alert import Alert
from engine.server.page import failures, routes
from engine.server.settings import RANK, Settings
from engine.server.wire import Line
from engine.values import Decision
from tests.samples import runs as samples

PASSWORD = "correct horse"
ROLES: dict[str, m.Role] = {"anna": "approver", "otto": "operator", "vera": "viewer"}
ASKS = (
    *samples.ALLOWED[:3],
    Decision(answer="ask", guard="approval", because="the policy asks for changes that need a reload"),
)


def digest(words: str) -> str:
    """Something that looks like the digest of a request."""
    return hashlib.sha256(words.encode()).hexdigest()


def moved(run: record.Run, start: float, **head: object) -> record.Run:
    """A run as if it had begun at another moment."""
    by = start - run.head.started_at
    text = msgspec.json.encode(run)
    values = msgspec.json.decode(text)

    def shift(value: object) -> object:
        if isinstance(value, dict):
            return {k: shift(v) for k, v in value.items()}
        if isinstance(value, list):
            return [shift(v) for v in value]
        if isinstance(value, float) and value > 1e9:
            return value + by
        return value

    fresh = msgspec.convert(shift(values), record.Run)
    return msgspec.structs.replace(fresh, head=msgspec.structs.replace(fresh.head, **head))


def waiting_run(
    start: float, plan=samples.RING_PLAN, name: str = "20261122-0305-events-dropped-w4it"
) -> record.Run:
    """Looked, decided, planned, and waits for somebody's yes."""
    whole = moved(samples.burst_run(), start)
    cut = next(i for i, event in enumerate(whole.events) if isinstance(event, record.Planned))
    at = start + 21.1
    sentence = f"Waits for a yes to {plan.remediation}: " + ", ".join(
        f"{c.knob.name} {c.before_text} → {c.after_text}" for c in plan.changes
    )
    events = (
        *whole.events[:cut],
        record.Planned(at=at, step="3.rungs.2", plan=plan, rung=2),
        record.Judged(at=at, step="3.rungs.2", remediation=plan.remediation, decisions=ASKS, answer="ask"),
        record.Requested(
            at=at,
            step="3.rungs.2",
            remediation=plan.remediation,
            digest=digest(name),
            decide_by=at + 3600,
            use_within=600,
            evidence_at=start + 20.8,
        ),
        record.Ended(at=at + 0.1, outcome="waiting", sentence=sentence),
    )
    head = msgspec.structs.replace(
        whole.head,
        id=name,
        outcome="waiting",
        sentence=sentence,
        ended_at=at + 0.1,
        by="alertmanager",
        alert="4f1c9f0e7b3a4a21",
    )
    return record.Run(head=head, events=events)


def asking_run(start: float, name: str = "20261122-0306-memory-leak-a5kd") -> record.Run:
    """Waits for the answer to a runbook's own question."""
    asked = record.Asked(
        at=start + 5,
        step="4",
        question="The agent must be restarted to free 1.4 GiB. When may it, and how long may it take?",
        answers={
            "when": record.Answerable(
                type="string", help="the moment that suits", choices=("now", "tonight", "never")
            ),
            "patience": record.Answerable(
                type="duration", help="how long it may be away", default=30.0, minimum=5.0, maximum=600.0
            ),
            "batches": record.Answerable(
                type="int", help="in so many steps", default=1, minimum=1, maximum=10
            ),
            "drain": record.Answerable(type="bool", help="empty its buffers first"),
        },
        who="the owner of the agent",
        expires_at=start + 1800,
    )
    sentence = (
        f"Waits for an answer from {asked.who}: The agent must be restarted to free 1.4 GiB. When may it?"
    )
    head = samples.head(
        id=name,
        runbook="memory-leak",
        outcome="waiting",
        sentence=sentence,
        started_at=start,
        ended_at=start + 5,
        by="alertmanager",
    )
    found = record.TargetFound(at=start + 0.1, target=samples.LAB)
    return record.Run(
        head=head, events=(found, asked, record.Ended(at=start + 5, outcome="waiting", sentence=sentence))
    )


def leased_run(start: float) -> record.Run:
    """Ended well through a temporary change."""
    return moved(
        samples.burst_run(),
        start,
        id="20261122-0250-events-dropped-l3as",
        outcome="mitigated",
        sentence="Mitigated: 1 in 10 events is sampled for two hours; the goal has held for 20 s.",
    )


class Canned:
    """Runs, alerts and the rest, in memory; ``asked`` holds what was posted."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now
        self.tokens: dict[str, str] = {}
        self.runs: dict[str, tuple[str, record.Run]] = {}
        self.asked: list[m.Request] = []
        self.followers: dict[asyncio.Queue[m.Answer], m.Follow] = {}
        self.alerts: list[m.AlertRow] = []
        self.targets: tuple[m.TargetRow, ...] = ()
        self.leases: tuple[m.LeaseRow, ...] = ()
        self.runbooks: tuple[m.RunbookRow, ...] = (
            m.RunbookRow(
                name="events-dropped", summary="An eBPF agent loses events between the kernel and its reader."
            ),
            m.RunbookRow(name="high-cpu", summary="An eBPF agent takes more CPU than it should."),
            m.RunbookRow(name="quick-check", summary="Eight checks: is it all right?"),
            m.RunbookRow(
                name="kernel-upgrade", summary="Will the agent load on another kernel?", needs=("btf",)
            ),
        )
        self.links = {
            "good-link": "20261122-0305-events-dropped-w4it",
            "ask-link": "20261122-0306-memory-leak-a5kd",
        }
        self.plays: set[asyncio.Task[None]] = set()
        self.pace = 1.0

    # ── stories ─────────────────────────────────────────────────────────────────

    def add(self, run: record.Run, state: str = "ended") -> record.Run:
        self.runs[run.head.id] = (state, run)
        return run

    def fill(self) -> Canned:
        """A host with a history."""
        now = self.now
        self.add(waiting_run(now - 260), "waiting")
        self.add(asking_run(now - 90), "waiting")
        self.add(moved(samples.burst_run(), now - 4000))
        self.add(leased_run(now - 5200))
        self.add(moved(samples.rehearsal_run(), now - 90000, id="20261121-1201-events-dropped-dry1"))
        self.add(
            moved(samples.killed_run(), now - 91000, id="20261121-1101-events-dropped-k1ld"), "interrupted"
        )
        words = {
            "unfixed": "Not fixed: 4 changes were tried and taken back; 1,240 events/s are still lost. "
            "The reader is throttled by its CPU quota, which no remediation may raise.",
            "refused": "Refused: a freeze window is in force until Monday 06:00 UTC.",
            "failed": "Failed: the agent ended while it was being looked at.",
            "healthy": "Healthy: nothing is lost.",
        }
        for index, (outcome, sentence) in enumerate(words.items()):
            run = moved(
                samples.burst_run(),
                now - 172800 - 9000 * index,
                id=f"20261120-0{index}12-high-cpu-{outcome[:4]}",
                runbook="high-cpu",
                target="tetragon",
                outcome=outcome,
                sentence=sentence,
                by="alertmanager",
            )
            self.add(msgspec.structs.replace(run, events=run.events[:1]))
        self._fill_alerts(now)
        self.targets = (
            m.TargetRow(
                name="lab",
                ref="lab:/etc/lab-agent.yaml",
                profile="lab",
                pid=4711,
                programs=2,
                maps=3,
                health="troubled",
                because="it loses 4,330 events/s; a change waits for a yes",
                firing=("eBPFHighEventDropRate",),
                last_run="20261122-0305-events-dropped-w4it",
                last_outcome="waiting",
            ),
            m.TargetRow(
                name="tetragon",
                ref="tetragon:/etc/tetragon/tetragon.yaml",
                profile="tetragon",
                pid=992,
                programs=41,
                maps=102,
                last_run="20261120-0312-high-cpu-heal",
                last_outcome="healthy",
            ),
            m.TargetRow(
                name="falco",
                ref="falco:/etc/falco/falco.yaml",
                profile="falco",
                health="down",
                because="its process has ended, 3 min ago; it was killed for memory",
                firing=("eBPFAgentDown",),
            ),
        )
        self.leases = (
            m.LeaseRow(
                run="20261122-0250-events-dropped-l3as",
                attempt=2,
                target="lab",
                remediation="sampling",
                where="/etc/lab-agent.yaml: reader.sample",
                before="not set",
                after="1 in 10",
                since=now - 5000,
                until=now + 2200,
                by="anna",
                lines="reader:\n  sample: 10",
            ),
            m.LeaseRow(
                run="20261122-0250-events-dropped-l3as",
                attempt=3,
                target="tetragon",
                remediation="event-filter",
                where="/etc/tetragon/tetragon.yaml: export-denylist",
                before="not set",
                after="kworker/*, systemd-udevd",
                since=now - 3400,
                until=now + 420,
                by="alertmanager (by policy)",
            ),
        )
        return self

    def _fill_alerts(self, now: float) -> None:
        labels = {
            "alertname": "eBPFHighEventDropRate",
            "instance": "node-7:9435",
            "severity": "warning",
            "target": "lab",
            "job": "ebpf-agents",
        }
        notes = {
            "summary": "lab on node-7 drops 4,330 events/s",
            "description": "More than 100 events/s were lost for 5 minutes.",
            "runbook_url": "https://runbook.example.org/events-dropped",
        }
        first = Alert(
            name="eBPFHighEventDropRate",
            status="firing",
            fingerprint="9c1f2b77aa01",
            starts_at=now - 400,
            labels=labels,
            annotations=notes,
            url="https://prometheus.example.org/graph?g0.expr=x",
        )
        trace = (
            m.Considered(
                runbook="events-dropped",
                fits=True,
                because="alertname is eBPFHighEventDropRate, as its trigger wants",
                target="lab",
                guards=(
                    Decision(
                        answer="allow",
                        guard="cooldown",
                        because="no run of events-dropped on lab in the last 10 min",
                        values={"last_run_s": 4000.0, "cooldown_s": 600.0},
                    ),
                    Decision(
                        answer="allow",
                        guard="queue",
                        because="0 of 200 runs wait",
                        values={"queued": 0, "limit": 200},
                    ),
                ),
            ),
            m.Considered(
                runbook="high-cpu",
                fits=False,
                because="its trigger wants alertname eBPFAgentHighCpu, not eBPFHighEventDropRate",
            ),
            m.Considered(
                runbook="agent-down",
                fits=False,
                because="its trigger wants alertname eBPFAgentDown, not eBPFHighEventDropRate",
            ),
        )
        self.alerts = [
            m.AlertRow(
                id="4f1c9f0e7b3a4a21",
                sender="alertmanager",
                alert=first,
                received_at=now - 262,
                seen=3,
                last_at=now - 20,
                fate="started",
                because="events-dropped fits and nothing held it back",
                run="20261122-0305-events-dropped-w4it",
                trace=trace,
            ),
            m.AlertRow(
                id="5a",
                sender="alertmanager",
                alert=msgspec.structs.replace(
                    first, fingerprint="77", annotations={"summary": "lab on node-7 drops 4,280 events/s"}
                ),
                received_at=now - 200,
                seen=1,
                last_at=now - 200,
                fate="joined",
                because="events-dropped on lab goes on already",
                run="20261122-0305-events-dropped-w4it",
                trace=trace[:1],
            ),
            m.AlertRow(
                id="5b",
                sender="grafana",
                alert=Alert(
                    name="DiskFull",
                    status="firing",
                    fingerprint="d1",
                    starts_at=now - 3000,
                    labels={"alertname": "DiskFull"},
                    annotations={"summary": "/var is 96 % full"},
                ),
                received_at=now - 2900,
                seen=12,
                last_at=now - 60,
                fate="unmatched",
                because="no runbook's trigger fits",
                trace=trace[1:],
            ),
            m.AlertRow(
                id="5c",
                sender="alertmanager",
                alert=msgspec.structs.replace(
                    first, status="resolved", ends_at=now - 3300, starts_at=now - 4300
                ),
                received_at=now - 3300,
                seen=1,
                last_at=now - 3300,
                fate="resolved",
                because="it has resolved 31 s after the change",
                run="20261122-0301-events-dropped-k3f9",
            ),
            m.AlertRow(
                id="5d",
                sender="pager",
                alert=Alert(
                    name="eBPFAgentHighCpu",
                    status="firing",
                    fingerprint="d2",
                    starts_at=now - 9000,
                    annotations={"summary": "tetragon takes 1.4 cores"},
                ),
                received_at=now - 8000,
                seen=1,
                last_at=now - 8000,
                fate="held",
                because="high-cpu has run on tetragon 4 min ago; it cools down for 10 min",
                trace=trace[:1],
            ),
        ]

    def crowd(self, number: int = 400) -> Canned:
        """Many runs, with names as long as people make them."""
        for index in range(number):
            began = self.now - 200000 - 600 * index
            self.add(
                record.Run(
                    head=samples.head(
                        id=f"20261110-{index:04}-events-dropped-c{index:03}",
                        started_at=began,
                        ended_at=began + 31.5,
                        target="a-very-long-agent-name-of-the-observability-platform-team-eu-central-1",
                    )
                )
            )
        return self

    # ── answering ───────────────────────────────────────────────────────────────

    async def answer(self, request: m.Request, token: str, caller: wire.Caller) -> AsyncIterator[m.Answer]:
        if isinstance(request, m.Follow):
            async for one in self._follow(request, token):
                yield one
            return
        yield self._one(request, token)

    def _one(self, request: m.Request, token: str) -> m.Answer:
        user = self.tokens.get(token, "")
        match request:
            case m.Login():
                if request.user not in ROLES or request.password != PASSWORD:
                    return m.No(problem="name or password is wrong", why="login")
                fresh = secrets.token_urlsafe(24)
                self.tokens[fresh] = request.user
                return self._session(fresh)
            case m.GetStats():
                states = [state for state, _ in self.runs.values()]
                return m.Stats(
                    waiting=states.count("waiting"), running=states.count("running"), leases=len(self.leases)
                )
            case m.ReadLink():
                return self._link(request.link)
            case m.Rule() if request.link:
                found = self._link(request.link)
                if isinstance(found, m.No):
                    return found
                return self._rule(request, found.person)
            case m.Reply() if request.link:
                self.asked.append(request)
                return self._do(request, "anna")
        if not user:
            return m.No(problem="nobody is logged in", fix="log in", why="login")
        if isinstance(request, m.WhoAmI):
            return self._session(token)
        if isinstance(request, m.Logout):
            del self.tokens[token]
            return m.Done(sentence="Logged out.")
        need = {
            m.Rule: "approver",
            m.Reply: "approver",
            m.StartRun: "operator",
            m.StopRun: "operator",
            m.UndoRun: "operator",
            m.ChangeLease: "operator",
        }.get(type(request), "viewer")
        if RANK[ROLES[user]] < RANK[need]:
            return m.No(
                problem=f"{user} is a {ROLES[user]}, and this needs the role {need}",
                fix=f"ask somebody who is {need}",
                why="role",
            )
        return self._do(request, user) if need != "viewer" else self._look(request)

    def _session(self, token: str) -> m.Session:
        user = self.tokens[token]
        return m.Session(token=token, user=user, role=ROLES[user], until=time.time() + 3600)

    def _look(self, request: m.Request) -> m.Answer:
        match request:
            case m.GetRuns():
                rows = sorted((self.row(name) for name in self.runs), key=lambda row: -row.started_at)
                rows = [
                    row
                    for row in rows
                    if (request.before is None or row.started_at < request.before)
                    and request.target in {"", row.target}
                    and request.runbook in {"", row.runbook}
                    and request.outcome in {"", row.outcome}
                ]
                return m.Runs(rows=tuple(rows[: request.limit]))
            case m.GetRun():
                return self.found(request.run)
            case m.GetAlerts():
                fits = [
                    one
                    for one in self.alerts
                    if request.alert in {"", one.id}
                    and request.name in {"", one.alert.name}
                    and request.fate in {"", one.fate}
                    and (request.before is None or one.received_at < request.before)
                ]
                return m.Alerts(rows=tuple(fits[: request.limit]))
            case m.GetTargets():
                return m.Targets(rows=self.targets)
            case m.GetLeases():
                return m.Leases(rows=self.leases)
            case m.GetRunbooks():
                return m.Runbooks(rows=self.runbooks)
            case m.GetAudit():
                every = [entry for _, run in reversed(self.runs.values()) for entry in audit.of_run(run)]
                words = request.text.lower()
                rows = [one for one in every if words in " ".join(msgspec.structs.astuple(one)).lower()]
                return m.AuditFound(rows=tuple(rows[: request.limit]), more=len(rows) > request.limit)
        return m.No(problem="not canned", why="failed")

    def _do(self, request: m.Request, user: str) -> m.Answer:
        self.asked.append(request)
        match request:
            case m.Rule():
                return self._rule(request, user)
            case m.Reply():
                if request.values.get("patience", "") == "soon":
                    return m.No(
                        problem="answer 'patience': 'soon' is no duration",
                        fix="write 500ms, 10s, 5m",
                        why="wrong",
                    )
                self._state(request.run, "running")
                return m.Done(sentence="Answered; the run goes on.")
            case m.StartRun():
                if request.target == "nobody":
                    return m.No(
                        problem="no agent named 'nobody' runs here",
                        fix="one of: lab, tetragon",
                        why="unknown",
                    )
                name = f"20261122-0400-{request.runbook}-n{len(self.runs)}"
                head = samples.head(
                    id=name,
                    runbook=request.runbook,
                    target=request.target or "lab",
                    outcome=None,
                    sentence="",
                    started_at=time.time(),
                    ended_at=None,
                    by=user,
                    dry_run=request.dry_run,
                )
                self.add(record.Run(head=head, state="running"), "running")
                self.play(name, moved(samples.burst_run(), head.started_at).events)
                return m.Started(run=name)
            case m.StopRun():
                self._state(request.run, "ended")
                return m.Done(sentence="It stops.")
            case m.UndoRun():
                return m.Done(sentence="Taken back: ring-buffer-size is 256 KiB again.")
            case m.ChangeLease():
                row = next(one for one in self.leases if one.attempt == request.attempt)
                if request.do == "keep":
                    return m.Done(sentence="It is permanent now.", details=row.lines or "nothing")
                return m.Done(
                    sentence="The lease ends later." if request.do == "extend" else "It was taken back."
                )
        return m.No(problem="not canned", why="failed")

    def _link(self, link: str) -> m.Answer:
        run = self.links.get(link)
        if run is None:
            return m.No(
                problem="this link was not made here, or not all of it has arrived",
                fix="open the run on the page and log in",
                why="wrong",
            )
        question = pending.open_question(self.runs[run][1])
        bound_to = pending.digest(*question) if question else digest(run)
        return m.LinkFound(run=self.found(run), digest=bound_to, person="anna", until=time.time() + 1800)

    def _rule(self, request: m.Rule, user: str) -> m.Answer:
        state, run = self.runs[request.run]
        if state != "waiting" or request.digest != digest(request.run):
            return m.No(
                problem="the plan has changed since it was looked at", fix="look at it again", why="conflict"
            )
        if request not in self.asked:
            self.asked.append(request)
        ruled = record.Ruled(
            at=time.time(),
            step="3.rungs.2",
            digest=request.digest,
            answer=request.answer,
            by=user,
            comment=request.comment,
            via="page",
        )
        kept = run.events[:-1]  # the end of the waiting run is behind it
        head = msgspec.structs.replace(run.head, outcome=None, sentence="", ended_at=None)
        self.add(record.Run(head=head, events=(*kept, ruled), state="running"), "running")
        taken_up = record.Resumed(at=time.time(), by=user, doing="resume")
        whole = moved(samples.burst_run(), time.time() - 33.0).events
        cut = next(i for i, one in enumerate(whole) if isinstance(one, record.Intended) and one.attempt == 2)
        if request.answer == "denied":
            end = record.Ended(at=time.time(), outcome="refused", sentence=f"Refused: {user} said no.")
            self.play(request.run, (taken_up, end))
        else:
            self.play(request.run, (taken_up, *whole[cut:]))
        return m.Done(
            sentence="Approved; the run goes on."
            if request.answer == "approved"
            else "Denied; nothing is changed."
        )

    # ── what goes on ────────────────────────────────────────────────────────────

    def row(self, name: str) -> m.RunRow:
        state, run = self.runs[name]
        head = run.head
        return m.RunRow(
            id=name,
            runbook=head.runbook,
            target=head.target,
            state=state,
            outcome=head.outcome,
            sentence=head.sentence,
            by=head.by,
            alert=head.alert,
            dry_run=head.dry_run,
            started_at=head.started_at,
            ended_at=head.ended_at,
        )

    def found(self, name: str) -> m.Answer:
        if name not in self.runs:
            return m.No(
                problem=f"there is no run {name}", fix="the list shows those that are there", why="unknown"
            )
        state, run = self.runs[name]
        raw = tuple(msgspec.Raw(msgspec.json.encode(event)) for event in run.events)
        return m.RunFound(head=run.head, state=state, events=raw, last=len(raw))

    def _state(self, name: str, state: str) -> None:
        _, run = self.runs[name]
        self.runs[name] = (state, run)
        self._tell(m.Happened(run=name, state=state))

    def happen(self, name: str, event: record.Event) -> None:
        """One more event of a run."""
        state, run = self.runs[name]
        if isinstance(event, record.Ended):
            state = "waiting" if event.outcome == "waiting" else "ended"
            head = msgspec.structs.replace(
                run.head, outcome=event.outcome, sentence=event.sentence, ended_at=event.at
            )
            run = msgspec.structs.replace(run, head=head, state="ended")
        run = msgspec.structs.replace(run, events=(*run.events, event))
        self.runs[name] = (state, run)
        self._tell(
            m.Happened(
                run=name, state=state, seq=len(run.events), event=msgspec.Raw(msgspec.json.encode(event))
            )
        )

    def _tell(self, answer: m.Answer) -> None:
        for queue, follow in self.followers.items():
            if follow.run in {"", getattr(answer, "run", "")} and not (
                isinstance(answer, m.Number) and not follow.run
            ):
                queue.put_nowait(answer)

    async def _follow(self, request: m.Follow, token: str) -> AsyncIterator[m.Answer]:
        if token not in self.tokens:
            yield m.No(problem="nobody is logged in", why="login")
            return
        queue: asyncio.Queue[m.Answer] = asyncio.Queue()
        self.followers[queue] = request
        try:
            if request.run in self.runs:
                state, run = self.runs[request.run]
                for seq, event in enumerate(run.events[request.after :], request.after + 1):
                    queue.put_nowait(
                        m.Happened(
                            run=request.run,
                            state=state,
                            seq=seq,
                            event=msgspec.Raw(msgspec.json.encode(event)),
                        )
                    )
            while True:
                yield await queue.get()
        finally:
            del self.followers[queue]

    def play(self, name: str, events: tuple[record.Event, ...]) -> None:
        """Let events happen, as far apart as they are, at this worker's pace; with numbers meanwhile."""
        task = asyncio.create_task(self._play(name, events))
        self.plays.add(task)
        task.add_done_callback(self.plays.discard)

    async def _play(self, name: str, events: tuple[record.Event, ...]) -> None:
        begun, first = time.time(), events[0].at
        for event in events:
            while self.runs[name][0] == "running":
                left = (event.at - first) / self.pace - (time.time() - begun)
                if left <= 0:
                    break
                await asyncio.sleep(min(0.1, left))
                now = time.time()
                wave = 0.5 + 0.5 * math.sin(now * 3)
                self._tell(
                    m.Number(run=name, step="1", label="events in use", value=wave, unit="share", at=now)
                )
                self._tell(
                    m.Number(run=name, step="1", label="CPU", value=0.3 + 0.2 * wave, unit="cores", at=now)
                )
            if self.runs[name][0] != "running":
                return
            self.happen(name, event)


class Served:
    """The canned worker and the page, on a real socket and a real port, in a thread of its own."""

    def __init__(self, worker: Canned, settings: Settings | None = None, port: int = 0) -> None:
        self.worker, self._settings, self._port = worker, settings or Settings(), port
        self._ready, self.place = threading.Event(), Path(tempfile.mkdtemp(prefix="runbook-page-"))
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def call(self, do) -> None:
        """Do something in the worker's loop, and wait for it."""
        done = threading.Event()

        def act() -> None:
            do()
            done.set()

        self.loop.call_soon_threadsafe(act)
        assert done.wait(10)

    def cut(self) -> None:
        """The worker is gone, and its lines with it."""
        self.call(self._cut)

    def _cut(self) -> None:
        self.socket.close()
        (self.place / "worker.sock").unlink()
        for task in asyncio.all_tasks(self.loop):
            if "_answer_all" in repr(task.get_coro()):
                task.cancel()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        path = self.place / "worker.sock"
        self.socket = await wire.serve(path, self.worker.answer)
        line = Line(path, timeout_s=5)
        app = Starlette(
            routes=routes(self._settings, line), exception_handlers=dict(failures(self._settings, line))
        )
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self._port, log_level="warning", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._ready.set()
        await serving
        self.socket.close()


def main() -> None:
    worker = Canned().fill().crowd(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    with Served(worker, port=int(sys.argv[1])) as served:
        sys.stdout.write(f"http://127.0.0.1:{served.port}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
