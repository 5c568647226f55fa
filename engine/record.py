"""What a run leaves behind: a head and a list of events, each a frozen value.

The journal stores them as JSON and hash-chains them; the runner makes them; reports, the
live display and audits read nothing else. A run can be told again from them alone.

Not here: storing (``engine.journal``), making (``engine.running.runner``), telling (``engine.reports``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from engine.values import Change, Cost, Decision, Evidence, KnobValue, Plan, Scalar, Setting, Target, Verdict

#: ``healthy`` nothing to do · ``fixed`` the goal holds · ``mitigated`` it holds through a lease ·
#: ``unfixed`` all that was tried was undone · ``waiting`` approval · ``refused`` guards ·
#: ``failed`` engine or target broke · ``interrupted`` stopped from outside ·
#: ``rehearsed`` a dry-run that ran to its end.
Outcome = Literal[
    "healthy", "fixed", "mitigated", "unfixed", "waiting", "refused", "failed", "interrupted", "rehearsed"
]

#: How one change stands. ``unknown``: announced, and the engine died before it could say more.
ChangeState = Literal[
    "intended", "applied", "kept", "leased", "undone", "not-made", "left", "failed", "unknown"
]

EXIT_CODES: dict[str, int] = {
    "healthy": 0,
    "fixed": 0,
    "mitigated": 0,
    "rehearsed": 0,
    "unfixed": 1,
    "waiting": 3,
    "refused": 3,
    "failed": 4,
    "interrupted": 130,
}


class RunHead(msgspec.Struct, frozen=True, kw_only=True):
    """Who ran what on what, and how it ended.

    Attributes:
        id: ``20261122-0301-events-dropped-k3f9``: sortable, unique on this host.
        runbook_hash: SHA-256 of the runbook's text.
        directory: Where relative paths in the runbook start.
        inputs: As given and defaulted, typed.
        by: ``root (sudo: anna)``, or the alert that asked.
        alert: Id of the alert that asked for it; empty where a human did.
        called_by: Id of the run that called it; empty for one that somebody started. The id of a
            called run is its caller's, a full stop and a number.
        policy: The policy file that whoever started it named; empty where the machine's own rules.
        policy_hash: SHA-256 of its text.
        signal: 1, 2 or 15 when interrupted by it; the exit code is then 128 + signal.
        pid, boot_id: Of the engine that works or worked on it; for display only.
    """

    id: str
    runbook: str
    runbook_version: int = 1
    runbook_hash: str = ""
    runbook_text: str = ""
    directory: str = ""
    summary: str = ""
    target: str = ""
    target_ref: str = ""
    inputs: dict[str, Setting] = {}
    dry_run: bool = False
    started_at: float
    ended_at: float | None = None
    outcome: Outcome | None = None
    sentence: str = ""
    by: str = ""
    alert: str = ""
    called_by: str = ""
    policy: str = ""
    policy_hash: str = ""
    host: str = ""
    kernel: str = ""
    engine: str = ""
    pid: int = 0
    boot_id: str = ""
    signal: int = 0


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all events.

    Attributes:
        at: Epoch seconds.
        step: Id of the step, as ``goal``, ``3`` or ``3.rungs.2``, or the author's own id.
    """

    at: float
    step: str = ""


class StepStarted(_Event, frozen=True, kw_only=True, tag="step-started"):
    """A step begins. ``seconds``: how long it will take when that is known."""

    title: str
    action: str = ""
    seconds: float | None = None


class StepSkipped(_Event, frozen=True, kw_only=True, tag="step-skipped"):
    """A step was passed over; ``because`` holds the condition and its values, or 'unknown'."""

    title: str
    because: str


class Seen(_Event, frozen=True, kw_only=True, tag="seen"):
    """A probe's evidence."""

    evidence: Evidence


class ProbeMissed(_Event, frozen=True, kw_only=True, tag="probe-missed"):
    """A probe could not look; the run goes on without it (``fallback`` names the next one)."""

    probe: str
    problem: str
    fix: str = ""
    fallback: str = ""


class TargetFound(_Event, frozen=True, kw_only=True, tag="target-found"):
    """The agent this run works on."""

    target: Target


class GoalMeasured(_Event, frozen=True, kw_only=True, tag="goal-measured"):
    """The goal's condition, measured. ``holds`` None: could not be known.

    Attributes:
        phase: ``before`` any change, ``after`` a change, ``hold`` while held, ``end``.
        means: The condition in the runbook's own words; empty where it has none.
        values: The measured names in the condition and their values.
        held_s: For how long it has held so far, of ``hold_s`` wanted.
    """

    phase: Literal["before", "after", "hold", "end"]
    condition: str
    means: str = ""
    holds: bool | None
    values: dict[str, Scalar] = {}
    held_s: float = 0.0
    hold_s: float = 0.0


class Decided(_Event, frozen=True, kw_only=True, tag="decided"):
    """A diagnosis answered."""

    verdict: Verdict


class Planned(_Event, frozen=True, kw_only=True, tag="planned"):
    """A remediation planned; an empty plan says why.

    Attributes:
        rung: Its place on the ladder.
        knobs: The values that it read, by knob: without the text around them, which may hold secrets.
    """

    plan: Plan
    rung: int = 0
    knobs: dict[str, KnobValue] = {}


class Judged(_Event, frozen=True, kw_only=True, tag="judged"):
    """All guards answered; ``answer`` is their sum, ``by`` the human who was asked, if one was."""

    remediation: str
    decisions: tuple[Decision, ...]
    answer: Literal["allow", "ask", "deny"]
    by: str = ""


class Would(_Event, frozen=True, kw_only=True, tag="would"):
    """Dry-run: this is what would be done. Nothing was."""

    plan: Plan
    decisions: tuple[Decision, ...]
    answer: Literal["allow", "ask", "deny"]


class Intended(_Event, frozen=True, kw_only=True, tag="intended"):
    """On disk before the write: what will be changed and all that undo needs.

    ``sealed``: secrets were taken out of it; the SHA-256 of what was put aside (``engine.journal.sealed``).
    """

    attempt: int
    remediation: str
    change: Change
    captured: dict[str, Setting] = {}
    lease_until: float | None = None
    sealed: str = ""


class Applied(_Event, frozen=True, kw_only=True, tag="applied"):
    """The write was made, read back, and is in force."""

    attempt: int


class Compared(_Event, frozen=True, kw_only=True, tag="compared"):
    """A prediction beside its measurement. ``met`` None: could not be measured."""

    remediation: str
    measure: str
    unit: str = ""
    before: float | None = None
    predicted: float
    measured: float | None = None
    at_most: bool = False
    met: bool | None = None


class Settled(_Event, frozen=True, kw_only=True, tag="settled"):
    """How an attempt ended.

    Attributes:
        state: ``kept``, ``leased``, ``undone``, ``not-made``, ``left``, ``failed``.
        undo_by_hand: When ``left`` or ``failed``: how a human takes it back.
    """

    attempt: int
    state: ChangeState
    because: str
    undo_by_hand: str = ""


class Told(_Event, frozen=True, kw_only=True, tag="told"):
    """A sentence for people: a ``tell`` step, a note, a warning.

    Attributes:
        repeats: It is the outcome's own sentence, which the end of the run says as well.
    """

    sentence: str
    level: Literal["note", "warning", "error"] = "note"
    fix: str = ""
    repeats: bool = False


class Listed(_Event, frozen=True, kw_only=True, tag="listed"):
    """What an ``each`` goes through, as it was found; a run that is taken up again keeps to it.

    Attributes:
        items: In order; steps for the second one bear the id ``STEP[2].…``.
        left_out: How many more there were than the runbook allows.
    """

    items: tuple[Setting, ...]
    left_out: int = 0


class Ran(_Event, frozen=True, kw_only=True, tag="ran"):
    """A command has ended.

    Attributes:
        argv: What was run.
        exit_code: Minus the signal that ended it; None where it took too long and was ended.
        stdout, stderr: Their beginnings.
        cut: There was more.
    """

    argv: tuple[str, ...]
    exit_code: int | None
    seconds: float
    stdout: str = ""
    stderr: str = ""
    cut: bool = False


class Answerable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of the answer to a question; the fields are those of a runbook's input, in base units."""

    type: str
    help: str = ""
    default: Setting = None
    choices: tuple[Setting, ...] = ()
    minimum: Setting = None
    maximum: Setting = None


class Asked(_Event, frozen=True, kw_only=True, tag="asked"):
    """A question to a human is open, until its answer or its expiry.

    Attributes:
        answers: What the answer is made of, by name.
        who: Who is asked, in words.
        expires_at: Epoch seconds; None in a dry-run, which only shows it.
        use_within: For how many seconds an answer that comes later may be used; None for ever.
    """

    question: str
    answers: dict[str, Answerable]
    who: str = ""
    expires_at: float | None = None
    use_within: float | None = None


class Answered(_Event, frozen=True, kw_only=True, tag="answered"):
    """A question was answered; ``expired``: nobody did in time, which is a no.

    Attributes:
        comment: What whoever answered wrote beside it.
        via: How the answer came: ``terminal``, ``command``, ``page``, ``link``.
        use_by: Until when the answer counts (epoch seconds); None for ever.
    """

    values: dict[str, Setting] = {}
    by: str = ""
    comment: str = ""
    via: str = ""
    use_by: float | None = None
    expired: bool = False


class Requested(_Event, frozen=True, kw_only=True, tag="requested"):
    """A change waits for somebody's yes; the plan stands in the ``Planned`` before it, of the same step.

    Attributes:
        digest: What a yes is bound to: SHA-256 (hex) over the plan, the evidence it was made from, the
            runbook's text and the target's processes (``engine.running.bound``).
        decide_by: Until when it can be approved (epoch seconds).
        use_within: For how many seconds after it a yes may be used.
        evidence_at: When the evidence was gathered (epoch seconds).
        cause: The first cause that was named; empty for none.
        processes: The target's: pid and start (clock ticks since boot).
        lease_s: For how long the change would last; None for good.
        evidence: What went into the digest: name and ``started_at`` of each, as the run saw it before.
    """

    remediation: str
    digest: str
    decide_by: float
    use_within: float
    evidence_at: float
    cause: str = ""
    processes: tuple[tuple[int, int], ...] = ()
    lease_s: float | None = None
    evidence: tuple[tuple[str, float], ...] = ()


class Ruled(_Event, frozen=True, kw_only=True, tag="ruled"):
    """What became of a request.

    Attributes:
        digest: The request's.
        answer: ``approved``, ``denied``, ``expired`` (nobody answered in time, or a yes was not used in
            time), ``void`` (what it was given for has changed), ``withdrawn`` (the alert has resolved).
        because: Why it expired, is void or withdrawn.
        via: ``command``, ``page``, ``link``, ``engine``.
        use_by: Until when a yes can be used (epoch seconds).
    """

    digest: str
    answer: Literal["approved", "denied", "expired", "void", "withdrawn"]
    by: str = ""
    comment: str = ""
    because: str = ""
    via: str = ""
    use_by: float | None = None


class Barred(_Event, frozen=True, kw_only=True, tag="barred"):
    """Somebody tried what they may not, or what can't be done any more."""

    wanted: str
    by: str
    because: str
    via: str = ""


class Alerted(_Event, frozen=True, kw_only=True, tag="alerted"):
    """An alert that this run is about was heard of.

    Attributes:
        did: It ``asked`` for the run, ``joined`` it while it was going on, or has ``resolved``.
        summary: The alert in a line, as its sender words it.
    """

    alert: str
    name: str
    sender: str
    did: Literal["asked", "joined", "resolved"]
    summary: str = ""


class Extended(_Event, frozen=True, kw_only=True, tag="extended"):
    """A lease was given more time, or less."""

    attempt: int
    lease_until: float
    by: str
    comment: str = ""


class Pruned(_Event, frozen=True, kw_only=True, tag="pruned"):
    """The details of a run that ended long ago were dropped; what its audit tells of is still there.

    Attributes:
        rows: The journal's rows whose content went, as first and last of each stretch.
        digest: SHA-256 (hex) over number and digest of each of them.
        keep_s: How long runs are kept whole, in seconds, as whoever dropped them said.
    """

    rows: tuple[tuple[int, int], ...]
    digest: str
    by: str
    keep_s: float = 0.0


class Called(_Event, frozen=True, kw_only=True, tag="called"):
    """On disk before another runbook begins: its run will bear this id."""

    run: str
    runbook: str


class Returned(_Event, frozen=True, kw_only=True, tag="returned"):
    """A called runbook has ended; its own run tells the rest."""

    run: str
    runbook: str
    outcome: Outcome
    sentence: str


class Ended(_Event, frozen=True, kw_only=True, tag="ended"):
    """The run is over. ``cost``: what it cost this machine in all; ``signal``: what stopped it, or 0."""

    outcome: Outcome
    sentence: str
    cost: Cost = Cost()
    signal: int = 0


class Resumed(_Event, frozen=True, kw_only=True, tag="resumed"):
    """Another process took the run up again, to go on or to undo it."""

    by: str
    doing: Literal["resume", "undo", "lease-end"]


Event = (
    StepStarted
    | StepSkipped
    | Seen
    | ProbeMissed
    | TargetFound
    | GoalMeasured
    | Decided
    | Planned
    | Judged
    | Would
    | Intended
    | Applied
    | Compared
    | Settled
    | Told
    | Listed
    | Ran
    | Asked
    | Answered
    | Requested
    | Ruled
    | Barred
    | Alerted
    | Extended
    | Pruned
    | Called
    | Returned
    | Ended
    | Resumed
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as the journal tells it.

    Attributes:
        called: The runs of the runbooks that it called, in order.
        state: ``running`` (its lock is held), ``interrupted`` (unfinished and nobody works on
            it), ``ended``.
    """

    head: RunHead
    events: tuple[Event, ...] = ()
    state: Literal["running", "interrupted", "ended"] = "ended"
    called: tuple[Run, ...] = ()


class Watcher(Protocol):
    """Somebody who watches a run live. Called from the runner's threads; must be quick."""

    def begin(self, head: RunHead) -> None:
        """The run's head is on disk."""

    def event(self, event: Event) -> None:
        """Something was recorded."""

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """A number as a probe sees it; not recorded."""

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """A change must be asked for: yes, no, or None when nobody can be asked."""

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """A runbook's own question: the answer as it was typed, or None when nobody can be asked.

        ``problem``: what was wrong with the answer before.
        """
