"""The rehearsal document: evidence in, what is expected out, as frozen values.

Not here: reading it (``engine.rehearsals.cases``), its evidence (``engine.rehearsals.evidence``), running.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.language.model import AsWritten, Name
from engine.record import Outcome
from engine.values import Risk

#: Evidence by probe; its shape is wider than that of settings (``engine.rehearsals.evidence``).
Tree = Annotated[Any, Meta(extra={"reads": "tree"})]
Written = Annotated[Any, Meta(extra={"reads": "tree-as-written"})]
Verbatim = Annotated[str, Meta(extra={"reads": "verbatim"})]
Outcomes = Literal["healthy", "unfixed", "refused", "failed"]
Texts = Annotated[tuple[Verbatim, ...], Meta(extra={"reads": "one-or-many"})]
Probes = Annotated[tuple[Name, ...], Meta(extra={"reads": "one-or-many"})]
#: How a plan came out, as people say it.
Ends = Literal[
    "kept", "leased", "undone", "failed", "left", "refused", "waiting", "would", "nothing", "blocked"
]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all parts of the document."""


class Agent(_Part, frozen=True, kw_only=True):
    """The target of a rehearsal.

    Attributes:
        profile: An agent profile: its knobs, facts and reloads.
        name: What it is called; else the profile's name.
        ref: What it is known by over a restart.
        pid: Of its process; 0 for an agent that does not run.
        facts: Further facts of it, beside the profile's.
        knobs: Present values by knob, in the agent's own words; those not named are not set.
    """

    profile: str = ""
    name: str = ""
    ref: str = ""
    pid: Annotated[int, Meta(ge=0)] = 4242
    facts: dict[str, Verbatim] = {}
    knobs: dict[str, Written] = {}


class Machine(_Part, frozen=True, kw_only=True):
    """The machine of a rehearsal.

    Attributes:
        cpus: CPUs that are on.
        memory_bytes: Memory in all.
        available_bytes: Memory that is left.
        page_bytes: Size of a page.
    """

    cpus: Annotated[int, Meta(ge=1)] = 2
    memory_bytes: AsWritten = "8GiB"
    available_bytes: AsWritten = "4GiB"
    page_bytes: Annotated[int, Meta(ge=1)] = 4096


class Command(_Part, frozen=True, kw_only=True):
    """How a command ends.

    Attributes:
        exit: Its exit code; negative when a signal ended it.
        stdout: What it says.
        stderr: What it complains of.
        late: It takes too long, and is ended.
    """

    exit: int = 0
    stdout: Verbatim = ""
    stderr: Verbatim = ""
    late: bool = False


class PlanExpected(_Part, frozen=True, kw_only=True):
    """One plan that is expected.

    Attributes:
        change: Which remediation.
        to: The value after, as people read it or in any unit of the knob; of several changes by knob.
        predicts: Measure → the value that is foretold.
        ends: How it came out.
        risk: Its risk, as the guards see it.
        reason: A regular expression found in its reason.
    """

    change: Verbatim
    to: AsWritten = None
    predicts: dict[str, Tree] = {}
    ends: Ends | None = None
    risk: Risk | None = None
    reason: Verbatim = ""


class Expected(_Part, frozen=True, kw_only=True):
    """What must come out.

    Attributes:
        outcome: How the run ends.
        sentence: A regular expression found in the outcome's sentence.
        taken: Steps that are carried out: by id, name, or what a rung changes.
        skipped: Steps that are passed over.
        causes: The ranked causes, from the first; an empty list when none fits.
        plans: Every plan that changes something, in order.
        tells: Regular expressions, each found in one of the sentences told.
        misses: Probes that can't look.
        calls: Runbooks that are called, and how each ends.
    """

    outcome: Outcome
    sentence: Verbatim = ""
    taken: Texts = ()
    skipped: Texts = ()
    causes: Probes | None = None
    plans: tuple[PlanExpected, ...] | None = None
    tells: Texts = ()
    misses: Probes = ()
    calls: dict[str, Outcome] = {}


class Rehearsal(_Part, frozen=True, kw_only=True):
    """A rehearsal of a runbook: what is seen, what is said, and what must come of it.

    Attributes:
        case: What is rehearsed, in a sentence.
        runbook: A runbook's name, or its file from here.
        inputs: As an operator gives them.
        dry_run: Hands tied.
        target: The agent.
        host: The machine.
        answers: What is said when a change or an `ask` step asks: `yes` (when not told), `no`,
            `nobody`, or one of the answers of the step.
        guards: Changes that a guard denies, or asks for.
        runs: What commands say, by the whole command: `/usr/bin/x on`; no other command is run.
        calls: How called runbooks end that are not rehearsed with this one.
        breaks: Changes that can't be written, each with the reason.
        before: Evidence by probe; a list is of successive looks.
        after: The same by the newest change in force; only what differs.
        expect: What must come of it.
    """

    case: Verbatim
    runbook: str
    inputs: dict[str, AsWritten] = {}
    dry_run: bool = False
    target: Agent = Agent()
    host: Machine = Machine()
    answers: dict[str, Verbatim | dict[str, Verbatim]] = {}
    guards: dict[str, Literal["deny", "ask"]] = {}
    breaks: dict[str, Verbatim] = {}
    runs: dict[str, Verbatim | Command | tuple[Command, ...]] = {}
    calls: dict[str, Outcomes] = {}
    before: dict[str, Tree] = {}
    after: dict[str, dict[str, Tree]] = {}
    expect: Expected
