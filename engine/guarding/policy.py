"""The policy of a machine: what may be changed here, when, how much, and who must say yes.

One promise: without a policy file the built-in one is cautious: every change asks. A file that
is wrong is refused with file, line and column; it is never half obeyed.

Searched in this order: what the caller names (``--policy``), ``$RUNBOOK_POLICY``,
``/etc/runbook/policy.yaml``, the built-in one.

Not here: the rules (``engine.guarding.rules``), how YAML is read (``engine.language.documents``).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from engine import trust
from engine.errors import DocumentError, UsageError
from engine.guarding import rules
from engine.guarding.guards import AllOf, Answer, Foreign, Rule
from engine.language import documents
from engine.language.model import Seconds
from engine.values import Risk, Setting

STANDARD_PLACE = Path("/etc/runbook/policy.yaml")

#: ``auto`` makes the change without asking.
RiskAnswer = Literal["auto", "ask", "deny"]
Share = Annotated[float, Meta(gt=0, le=1)]
Names = Annotated[tuple[str, ...], Meta(extra={"reads": "one-or-many"})]


Verbatim = Annotated[str, Meta(extra={"reads": "verbatim"})]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all parts of the document."""


class RiskAnswers(_Part, frozen=True, kw_only=True):
    """What is done with a change of each risk: `auto`, `ask` or `deny`."""

    low: RiskAnswer = "ask"
    medium: RiskAnswer = "ask"
    high: RiskAnswer = "ask"


class Bound(_Part, frozen=True, kw_only=True):
    """How far a knob may be turned, in bytes, seconds, cores or count.

    Attributes:
        at_least: The least value.
        at_most: The greatest value.
    """

    at_least: Setting = None
    at_most: Setting = None


class Step(_Part, frozen=True, kw_only=True):
    """How much a value may grow or shrink in one change.

    Attributes:
        at_most: The factor.
        otherwise: What happens beyond it.
    """

    at_most: Annotated[float, Meta(ge=1)] = 16.0
    otherwise: rules.Otherwise = "ask"


class Cooldown(_Part, frozen=True, kw_only=True):
    """How long the same remediation leaves the same target alone.

    Attributes:
        seconds: For how long.
        otherwise: What happens within it.
    """

    seconds: Seconds = field(name="for", default=600.0)
    otherwise: rules.Otherwise = "ask"


class Budget(_Part, frozen=True, kw_only=True):
    """How many changes may be made within a time.

    Attributes:
        per: The time.
        target: The most on one target.
        host: The most on this machine.
        otherwise: What happens beyond it.
    """

    per: Seconds = 3600.0
    target: Annotated[int, Meta(ge=0)] = 10
    host: Annotated[int, Meta(ge=0)] = 30
    otherwise: rules.Otherwise = "ask"


class Freeze(_Part, frozen=True, kw_only=True):
    """A window of the week in which nothing is changed.

    Attributes:
        days: The days on which it begins; every day when not given.
        begins: Time of day, such as "22:00".
        ends: Time of day; at or before the beginning it is on the next day.
        zone: IANA time zone, such as Europe/Berlin.
        because: Why, for whoever is held up by it.
    """

    days: Names = ()
    begins: str = field(name="from", default="00:00")
    ends: str = field(name="to", default="00:00")
    zone: str = "UTC"
    because: str = ""


class Approval(_Part, frozen=True, kw_only=True):
    """How long a change that must be asked for waits for its yes, and how long a yes counts.

    Attributes:
        expires: Nobody has answered by then: it is a no.
        use_within: A yes that was not used by then counts no more.
    """

    expires: Seconds = 4 * 3600.0
    use_within: Seconds = 900.0


class Lease(_Part, frozen=True, kw_only=True):
    """How long a temporary change may last.

    Attributes:
        at_most: From the change on, however often it is given more time; 0 is no bound.
    """

    at_most: Annotated[Seconds, Meta(ge=0)] = 0.0

    def bounded(self, seconds: float) -> float:
        """A runbook's lease, no longer than this allows."""
        most = float(self.at_most)
        return min(seconds, most) if most else seconds


class Command(_Part, frozen=True, kw_only=True):
    """A command that runbooks may run, with the arguments that it may have.

    Attributes:
        run: The program's whole path.
        arguments: A pattern for each argument: `*` is anything but `/`, `**` anything; what they
            stand for never begins with `-`.
        reads: It changes nothing; without this it is a change, and asked about as one.
        dry_run: A dry-run runs it too, when it reads.
        owner: Who answers for this entry.
    """

    run: str
    arguments: tuple[Verbatim, ...] = ()
    reads: bool = False
    dry_run: bool = False
    owner: str


class Policy(_Part, frozen=True, kw_only=True):
    """What may be changed on this machine, when, and who must say yes.

    Attributes:
        policy: Version of this language; 1.
        risk: By how risky a change is.
        yes: The risks for which an operator's `--yes` is an answer; others ask on a terminal.
        bounds: By knob.
        step: The largest step.
        cooldown: The pause between two changes of a kind.
        budget: The number of changes.
        freeze: Windows without changes.
        freshness: How old evidence may be.
        approval: How long a change waits for a yes.
        lease: How long a temporary change may last.
        protected: Names, profiles or refs of targets that are never changed; `*` stands for anything.
        memory_share: The most of the memory left that a change may take.
        commands: The commands that runbooks may run; no others are.
    """

    policy: Annotated[int, Meta(ge=1, le=1)] = 1
    risk: RiskAnswers = RiskAnswers()
    yes: tuple[Risk, ...] = ("low", "medium")
    bounds: dict[str, Bound] = {}
    step: Step = Step()
    cooldown: Cooldown = Cooldown()
    budget: Budget = Budget()
    freeze: tuple[Freeze, ...] = ()
    freshness: Seconds = 300.0
    approval: Approval = Approval()
    lease: Lease = Lease()
    protected: Names = ()
    memory_share: Share = 0.5
    commands: tuple[Command, ...] = ()

    def guard(self, further: Iterable[object] = ()) -> Rule:
        """All rules of this policy and ``further`` guards (strangers'), joined."""
        answers: dict[RiskAnswer, Answer] = {"auto": "allow", "ask": "ask", "deny": "deny"}
        by_risk: dict[Risk, Answer] = {
            "low": answers[self.risk.low],
            "medium": answers[self.risk.medium],
            "high": answers[self.risk.high],
        }
        limits = {name: (_number(one.at_least), _number(one.at_most)) for name, one in self.bounds.items()}
        return AllOf(
            rules.ByRisk(by_risk),
            rules.Protected(self.protected),
            rules.Fresh(float(self.freshness)),
            rules.Bounds(limits),
            rules.StepFactor(self.step.at_most, self.step.otherwise),
            rules.MemoryRoom(self.memory_share),
            rules.Cooldown(float(self.cooldown.seconds), self.cooldown.otherwise),
            rules.Budget(float(self.budget.per), self.budget.target, self.budget.host, self.budget.otherwise),
            rules.Provable(),
            *(
                rules.Freeze(one.days, _minutes(one.begins), _minutes(one.ends), one.zone, one.because)
                for one in self.freeze
            ),
            *(Foreign(guard) for guard in further),
        )

    def yes_counts(self, risk: Risk) -> bool:
        """Whether ``--yes`` answers the asks for a change of this risk."""
        return risk in self.yes


def load(path: Path | None = None, *, only_looks: bool = False) -> Policy:
    """The policy that rules here.

    Args:
        path: A file the operator named; it must be there.
        only_looks: It is only checked: anybody's will do.

    Raises:
        NotTrusted: It would be obeyed as root, and others could have written it.
        UsageError: A named file can't be read.
        DocumentError: The file is wrong; every complaint with its place.
    """
    named = path or from_environment()
    place = named or STANDARD_PLACE
    try:
        raw = place.read_bytes() if only_looks else trust.read(place)
    except FileNotFoundError as error:
        if named is None:
            return Policy()
        raise UsageError(
            f"the policy {place} is not there", fix="name one that is, or leave --policy out"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the policy {place} can't be read: {error.strerror}", fix=f"make it readable: chmod a+r {place}"
        ) from error
    policy, document = documents.read(Policy, raw, str(place))
    complaints = [f"{document.where(where)}: {what}" for where, what in _wrong(policy)]
    if complaints:
        raise DocumentError(complaints, fix=f"correct {place}; nothing was done")
    return policy


def from_environment() -> Path | None:
    """The file that ``$RUNBOOK_POLICY`` names."""
    chosen = os.environ.get("RUNBOOK_POLICY")
    return Path(chosen) if chosen else None


def fingerprint(path: Path) -> str:
    """SHA-256 of a policy file; empty when it can't be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _wrong(policy: Policy) -> Iterable[tuple[str, str]]:
    """What types can't say: path of the part, and what is wrong with it."""
    for name, bound in policy.bounds.items():
        for end in ("at_least", "at_most"):
            value = getattr(bound, end)
            if value is not None and _number(value) is None:
                yield f"bounds.{name}.{end}", f"{value!r} is no number or size (write 64MiB, 100ms, 3)"
    for index, window in enumerate(policy.freeze):
        yield from ((f"freeze[{index}].{where}", what) for where, what in _wrong_window(window))
    for index, command in enumerate(policy.commands):
        if not command.run.startswith("/") or ".." in command.run.split("/"):
            yield f"commands[{index}].run", f"{command.run!r} is no whole path (write /usr/bin/ss)"
        if command.dry_run and not command.reads:
            yield f"commands[{index}].dry_run", "a dry-run runs only what reads (write reads: true)"
    for where in ("freshness", "cooldown.for", "budget.per", "approval.expires", "approval.use_within"):
        first, _, rest = where.partition(".")
        part = getattr(policy, first)
        value = getattr(part, "seconds" if rest == "for" else rest) if rest else part
        if isinstance(value, str):
            yield where, "a policy has no templates (write 10s, 5m, 2h)"


def _wrong_window(window: Freeze) -> Iterable[tuple[str, str]]:
    for word, text in (("from", window.begins), ("to", window.ends)):
        if not _CLOCK.fullmatch(text):
            yield word, f'{text!r} is no time of day (write it as "22:00", in quotes)'
    for day in window.days:
        if day not in rules.DAYS:
            yield "days", f"{day!r} is no day (one of: {', '.join(rules.DAYS)})"
    if window.zone != "UTC":
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

        try:
            ZoneInfo(window.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield "zone", f"{window.zone!r} is no time zone known here (write Europe/Berlin, or UTC)"


_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _number(value: Setting) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
