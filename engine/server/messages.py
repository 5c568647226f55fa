"""What passes between the listener, the worker and commands: requests and their replies, all frozen.

One promise: names, numbers, texts and times only. A request that starts something names a runbook;
it never carries one. Whoever may ask for it is checked by the worker, from ``token``.

Not here: bytes on the socket (``engine.server.wire``), what is done (``engine.server.worker``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.auditing.entry import Entry
from engine.record import Outcome, RunHead
from engine.server.alerts.alert import Alert
from engine.values import Decision

#: ``viewer`` looks; ``operator`` starts, stops and undoes runs, extends and ends leases; ``approver``
#: answers what runs ask, and does all that an operator does.
Role = Literal["viewer", "operator", "approver"]

#: What became of an alert: ``started`` a run (or queued it), ``joined`` one that goes on or waits,
#: ``duplicate`` (known already), ``unmatched`` (no runbook's trigger fits), ``held`` (a guard of the
#: intake: cooldown, or the same alert after a dry-run or ``unfixed``), ``resolved``, ``full`` (kept, and gets
#: its run when the queue has room).
Fate = Literal["started", "joined", "duplicate", "unmatched", "held", "resolved", "full"]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of requests and replies."""


# ── alerts in ───────────────────────────────────────────────────────────────────


class Offer(_Message, frozen=True, kw_only=True, tag="offer"):
    """Alerts of one notification, whose sender the listener has authenticated."""

    sender: str
    alerts: tuple[Alert, ...]


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one alert; ``run``: the run that it started or joined, ``because`` in a sentence."""

    alert: str
    fate: Fate
    run: str = ""
    because: str = ""


class Taken(_Message, frozen=True, kw_only=True, tag="taken"):
    """All of an offer is on disk, in one transaction with the runs that it asks for; in its order."""

    takings: tuple[Taking, ...]


class Busy(_Message, frozen=True, kw_only=True, tag="busy"):
    """Nothing of it was taken: the queue is full, or the worker stops. Send it again."""

    because: str
    retry_after_s: float = 5.0


# ── who asks ────────────────────────────────────────────────────────────────────


class Login(_Message, frozen=True, kw_only=True, tag="login"):
    """Name and password; ``remote``: the address, for limits and the log."""

    user: str
    password: str
    remote: str = ""


class Logout(_Message, frozen=True, kw_only=True, tag="logout"):
    """The token of this request counts no more."""


class WhoAmI(_Message, frozen=True, kw_only=True, tag="who-am-i"):
    """Whose token this is."""


class Session(_Message, frozen=True, kw_only=True, tag="session"):
    """Somebody is logged in. ``token`` goes with every request; ``until``: epoch seconds."""

    token: str
    user: str
    role: Role
    until: float


# ── looking ─────────────────────────────────────────────────────────────────────


class GetRuns(_Message, frozen=True, kw_only=True, tag="get-runs"):
    """Runs, newest first; ``before``: only those begun before this moment (epoch seconds)."""

    limit: int = 50
    before: float | None = None
    target: str = ""
    runbook: str = ""
    outcome: str = ""


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list. ``state``: ``queued``, ``running``, ``waiting``, ``interrupted``, ``ended``."""

    id: str
    runbook: str
    target: str
    state: str
    outcome: Outcome | None = None
    sentence: str = ""
    by: str = ""
    alert: str = ""
    dry_run: bool = False
    started_at: float
    ended_at: float | None = None


class Runs(_Message, frozen=True, kw_only=True, tag="runs"):
    """Answer to ``GetRuns``."""

    rows: tuple[RunRow, ...]


class GetRun(_Message, frozen=True, kw_only=True, tag="get-run"):
    """A whole run; ``after``: only its events behind this row of the journal."""

    run: str
    after: int = 0


class RunFound(_Message, frozen=True, kw_only=True, tag="run"):
    """A run as it stands in the journal.

    Attributes:
        events: Each an ``engine.record.Event`` as JSON, undecoded.
        last: The row of the last event; ``after`` of the next request.
        state: As ``RunRow.state``.
    """

    head: RunHead
    state: str
    events: tuple[msgspec.Raw, ...] = ()
    called: tuple[RunFound, ...] = ()
    last: int = 0


class Follow(_Message, frozen=True, kw_only=True, tag="follow"):
    """Be told as a run goes on (empty: as any run begins, waits or ends), until the connection ends.

    The answers are a stream of ``Happened`` and ``Number``.
    """

    run: str = ""
    after: int = 0


class Happened(_Message, frozen=True, kw_only=True, tag="happened"):
    """A run has gone on; ``event``: an ``engine.record.Event`` as JSON, null where only its state is new."""

    run: str
    state: str
    seq: int = 0
    event: msgspec.Raw = msgspec.Raw(b"null")


class Number(_Message, frozen=True, kw_only=True, tag="number"):
    """A number as a probe sees it, which is recorded nowhere."""

    run: str
    step: str
    label: str
    value: float
    unit: str = ""
    at: float


class GetAlerts(_Message, frozen=True, kw_only=True, tag="get-alerts"):
    """Alerts, newest first; ``before``: only those received before this moment."""

    limit: int = 50
    before: float | None = None
    alert: str = ""
    name: str = ""
    fate: str = ""
    run: str = ""


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger of one runbook held against an alert: whether it fits, and why, with the values."""

    runbook: str
    fits: bool
    because: str
    target: str = ""
    guards: tuple[Decision, ...] = ()


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and all that was decided about it. ``seen``: how often it came."""

    id: str
    sender: str
    alert: Alert
    received_at: float
    seen: int
    last_at: float
    fate: Fate
    because: str
    run: str = ""
    trace: tuple[Considered, ...] = ()


class Alerts(_Message, frozen=True, kw_only=True, tag="alerts"):
    """Answer to ``GetAlerts``."""

    rows: tuple[AlertRow, ...]


class GetTargets(_Message, frozen=True, kw_only=True, tag="get-targets"):
    """The agents of this host; found anew at most every some seconds."""


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """An agent and its health as far as alerts and runs tell.

    Attributes:
        health: ``well``, ``troubled`` (an alert fires, or its last run did not mend it), ``down``.
        because: Why, in a sentence.
        firing: Names of alerts that fire for it.
    """

    name: str
    ref: str
    profile: str
    pid: int | None = None
    programs: int = 0
    maps: int = 0
    health: Literal["well", "troubled", "down"] = "well"
    because: str = ""
    firing: tuple[str, ...] = ()
    last_run: str = ""
    last_outcome: str = ""


class Targets(_Message, frozen=True, kw_only=True, tag="targets"):
    """Answer to ``GetTargets``; ``problem``: why none could be looked for."""

    rows: tuple[TargetRow, ...]
    problem: str = ""


class GetLeases(_Message, frozen=True, kw_only=True, tag="get-leases"):
    """Temporary changes that are in force."""


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One temporary change. ``lines``: what its owner writes into the agent's configuration to keep it."""

    run: str
    attempt: int
    target: str
    remediation: str
    where: str
    before: str
    after: str
    until: float
    since: float
    by: str = ""
    lines: str = ""


class Leases(_Message, frozen=True, kw_only=True, tag="leases"):
    """Answer to ``GetLeases``."""

    rows: tuple[LeaseRow, ...]


class LeaseEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a lease that was due stands now.

    ``state``: of its change: ``undone``; ``leased`` where its run is being worked on; ``left``, ``failed``.
    """

    lease: LeaseRow
    state: str
    because: str = ""
    fix: str = ""


class LeasesEnded(_Message, frozen=True, kw_only=True, tag="leases-ended"):
    """What a child of the worker did about leases that were due, each for itself."""

    rows: tuple[LeaseEnd, ...]


class GetAudit(_Message, frozen=True, kw_only=True, tag="get-audit"):
    """Rows of the audit; ``text``: only those that hold these words."""

    since: float = 0.0
    until: float | None = None
    target: str = ""
    text: str = ""
    limit: int = 500


class AuditFound(_Message, frozen=True, kw_only=True, tag="audit"):
    """Answer to ``GetAudit``; ``more``: there are older rows."""

    rows: tuple[Entry, ...]
    more: bool = False


class GetRunbooks(_Message, frozen=True, kw_only=True, tag="get-runbooks"):
    """The runbooks that can be started here."""


class RunbookRow(msgspec.Struct, frozen=True, kw_only=True):
    """``needs``: names of inputs that must be given."""

    name: str
    summary: str
    needs: tuple[str, ...] = ()
    needs_target: bool = True


class Runbooks(_Message, frozen=True, kw_only=True, tag="runbooks"):
    """Answer to ``GetRunbooks``."""

    rows: tuple[RunbookRow, ...]


class GetStats(_Message, frozen=True, kw_only=True, tag="get-stats"):
    """What the worker counts. Needs no token."""


class Stats(_Message, frozen=True, kw_only=True, tag="stats"):
    """Counters since the start of the queue's database, and gauges of now.

    Attributes:
        alerts: Fate → how many.
        runs: ``runbook/outcome`` → how many.
        seconds: ``runbook/outcome`` → upper bound of a bucket (``10``, ``+Inf``) → runs that took at most
            that long; ``sum``: their seconds.
        refusals: Guard → how often it held a change back.
        probe_cpu_s: Probe → CPU seconds spent.
        stopping: It takes no more work.
    """

    alerts: dict[str, int] = {}
    runs: dict[str, int] = {}
    seconds: dict[str, dict[str, float]] = {}
    refusals: dict[str, int] = {}
    probe_cpu_s: dict[str, float] = {}
    queued: int = 0
    queue_limit: int = 0
    running: int = 0
    waiting: int = 0
    leases: int = 0
    notices: int = 0
    started_at: float = 0.0
    stopping: bool = False
    problem: str = ""


# ── doing ───────────────────────────────────────────────────────────────────────


class Rule(_Message, frozen=True, kw_only=True, tag="rule"):
    """Approve or deny the change that a run waits with. ``digest``: of the request that was looked at.

    ``link``: the signed part of a link in a notice, in place of a token; it names run, digest and person.
    """

    run: str
    digest: str
    answer: Literal["approved", "denied"]
    comment: str = ""
    link: str = ""


class Reply(_Message, frozen=True, kw_only=True, tag="reply"):
    """Answer the question that a run waits with, as written.

    ``digest``: of the question that was looked at (``engine.pending.digest``); ``link``: as in ``Rule``.
    """

    run: str
    step: str
    values: dict[str, str]
    comment: str = ""
    digest: str = ""
    link: str = ""


class ReadLink(_Message, frozen=True, kw_only=True, tag="read-link"):
    """What a signed link is about; answered by ``LinkFound``, or ``No`` when it is wrong or too old."""

    link: str


class LinkFound(_Message, frozen=True, kw_only=True, tag="link"):
    """The run that a signed link lets its holder look at and answer."""

    run: RunFound
    digest: str
    person: str
    until: float


class StartRun(_Message, frozen=True, kw_only=True, tag="start-run"):
    """Queue a run: names and inputs as written."""

    runbook: str
    target: str = ""
    inputs: dict[str, str] = {}
    dry_run: bool = False


class Started(_Message, frozen=True, kw_only=True, tag="started"):
    """The id that the queued run will have."""

    run: str


class StopRun(_Message, frozen=True, kw_only=True, tag="stop-run"):
    """Ask a run to stop in good order; one that is queued or waits ends."""

    run: str


class UndoRun(_Message, frozen=True, kw_only=True, tag="undo-run"):
    """Take back what a run changed."""

    run: str


class ChangeLease(_Message, frozen=True, kw_only=True, tag="change-lease"):
    """``extend`` by ``seconds``, ``end`` now, or ``keep`` for good."""

    run: str
    attempt: int
    do: Literal["extend", "end", "keep"]
    seconds: float = 0.0


class Done(_Message, frozen=True, kw_only=True, tag="done"):
    """It was done. ``details``: lines for whoever asked (the lines of a kept lease)."""

    sentence: str
    details: str = ""


class No(_Message, frozen=True, kw_only=True, tag="no"):
    """It was not done, and why; ``why`` tells programs: no right, no such thing, wrong, or not now.

    ``later``: too much of it was asked for; again after ``retry_after_s``.
    """

    problem: str
    fix: str = ""
    why: Literal["login", "role", "unknown", "wrong", "conflict", "failed", "later"] = "wrong"
    retry_after_s: float = 0.0


# ── notices out ─────────────────────────────────────────────────────────────────


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell people about.

    Attributes:
        about: ``waiting`` (a question or an approval), ``ended``, ``lease`` (it ends soon, or could not be
            ended), ``trouble`` (of runbook itself).
        sentence: What happened, in one.
        evidence: At most three lines of what it stands on.
        path: On the page: ``/runs/…``; the public address goes before it.
        link: Path with a signed, time-limited link that can be answered without a login; empty for none.
        to: Whom it is for: the name of an entry of ``settings.notify``.
    """

    id: int
    to: str = ""
    at: float
    about: Literal["waiting", "ended", "lease", "trouble"]
    run: str
    outcome: str = ""
    target: str = ""
    runbook: str = ""
    sentence: str
    evidence: tuple[str, ...] = ()
    path: str = ""
    link: str = ""


class GetNotices(_Message, frozen=True, kw_only=True, tag="get-notices"):
    """Notices that were not told yet, oldest first. ``wait_s``: answer later when there is none."""

    limit: int = 20
    wait_s: float = 0.0


class Notices(_Message, frozen=True, kw_only=True, tag="notices"):
    """Answer to ``GetNotices``."""

    rows: tuple[Notice, ...]


class NoticeTold(_Message, frozen=True, kw_only=True, tag="notice-told"):
    """A notice went out, or ``problem``: it did not; the worker hands it out again later, for a day."""

    notice: int
    problem: str = ""


Request = (
    Offer | Login | Logout | WhoAmI | GetRuns | GetRun | Follow | GetAlerts | GetTargets | GetLeases
    | GetAudit | GetRunbooks | GetStats | Rule | Reply | ReadLink | StartRun | StopRun | UndoRun
    | ChangeLease | GetNotices | NoticeTold
)  # fmt: skip
Answer = (
    Taken | Busy | Session | Runs | RunFound | Happened | Number | Alerts | Targets | Leases | AuditFound
    | Runbooks | Stats | LinkFound | Started | Done | No | Notices | LeasesEnded
)  # fmt: skip
