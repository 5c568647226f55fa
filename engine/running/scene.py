"""What a run knows at one moment, and the one way to write down what happens.

One promise: everything that happens goes through ``Scene.record``: first to the journal, then to
whoever watches; a watcher that breaks is left behind and never stops a run.

Not here: what is done (``engine.running.runner``), what names mean (``engine.language.scope``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from engine import host as machine
from engine.catalog import Catalog
from engine.clock import Cancel
from engine.contracts import Clock
from engine.errors import TargetGone, TargetNotFound
from engine.guarding import commands
from engine.guarding.guards import Rule
from engine.guarding.policy import Policy
from engine.journal import Journal, RunLog
from engine.language import expressions, filters, loader, scope
from engine.language.calls import FindRunbook
from engine.language.model import Change, Decide, Look, Runbook
from engine.language.unknown import Record
from engine.record import Answered, Asked, Event, GoalMeasured, Listed, Returned, RunHead, Told, Watcher
from engine.running import processes
from engine.running.bound import Standing
from engine.running.processes import Execute
from engine.values import Case, Decision, Evidence, Host, Plan, Setting, Target, Verdict


class Turned(NamedTuple):
    """How one change step ended.

    Attributes:
        result: ``nothing`` to change, ``blocked`` (it can't be changed), ``would``, held back
            (``refused``, ``waiting``), tried and ``undone``, ``failed`` but as it was, or
            standing: ``kept`` or ``leased``.
        because: Why, in a sentence.
        holds: Whether the goal holds with it, measured and held.
    """

    result: str
    because: str
    holds: bool = False

    @property
    def stands(self) -> bool:
        """Whether the change is in force."""
        return self.result in {"kept", "leased"}


class Silent:
    """A watcher that sees nothing and can't be asked."""

    def begin(self, head: RunHead) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""

    def number(self, step: str, label: str, value: float, unit: str) -> None:
        """Nothing."""

    def ask(self, plan: Plan, decisions: Sequence[Decision]) -> bool | None:
        """Nobody is here."""
        del plan, decisions
        return None

    def answer(self, asked: Asked, problem: str = "") -> dict[str, str] | None:
        """Nobody is here."""
        del asked, problem
        return None


@dataclass(frozen=True)
class Tools:
    """All that a run works with; made once, by whoever starts runs.

    Attributes:
        find: Finds a target anew by its ref, after a reload or in a later process.
        runbook: Finds the runbook that a ``call`` names, for a caller in a directory.
        yes: The operator's ``--yes``.
        by: Who is answerable: ``root (sudo: anna)``.
        policy_file, policy_hash: Of a policy that the operator named; empty for the machine's own.
        execute: Runs a command.
        unsafe: Why a program must not be run; empty for one that may.
    """

    journal: Journal
    parts: Catalog
    policy: Policy
    clock: Clock
    cancel: Cancel
    find: Callable[[str], Target]
    watcher: Watcher = field(default_factory=Silent)
    yes: bool = False
    by: str = ""
    policy_file: str = ""
    policy_hash: str = ""
    runbook: FindRunbook = loader.called
    available_memory: Callable[[], int | None] = machine.available_memory_bytes
    host: Host = field(default_factory=machine.read_host)
    execute: Execute = processes.execute
    unsafe: Callable[[str], str] = commands.unsafe

    def guard(self) -> Rule:
        """The policy's rules and the strangers' guards."""
        return self.policy.guard(part for _, part in self.parts.each("guard"))


@dataclass
class Scene:
    """What one run knows; it changes as the run goes on, and only the run's own thread changes it.

    Attributes:
        inputs: With the secret ones, which the head does not hold.
        turned: How each change step ended, in order.
        verdicts: By the name that expressions use (``cause``).
        looks, decides: Steps that were carried out, to be done again when evidence is void.
        void: Something was changed since the evidence was gathered.
        touched: Something was changed in this run, undone or not.
        goal: The last measurement of the goal; None when it is out of date.
        burst_spacing_s: The longest spacing of bursts seen so far; 0 for none.
        expected: Names of evidence and verdicts that steps of the runbook give.
        already: Ids of change steps that an earlier process of this run has dealt with.
        results: What other steps gave, by the name that expressions use.
        calls: Step id → id of the run that an earlier process of this run called there.
        returns: Run id → how that called run ended.
        returned: How the last called runbook ended; None when none was called.
        item: The item of each ``each`` that the run is within, by its name.
        lists: Step id → what an earlier process of this run went through there.
        asked, answers: Step id → the question that is open there, the answer that was given there.
        requests: Step id → the change that waits there, was approved or denied there.
        told: (Step id, sentence) of what people were told before this run waited for them.
        holds: Refs of the targets that this run, or one above it, has locked.
    """

    runbook: Runbook
    head: RunHead
    tools: Tools
    log: RunLog
    directory: Path
    inputs: Mapping[str, Setting]
    target: Target | None = None
    evidence: dict[str, Evidence] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    decides: list[Decide] = field(default_factory=list)
    void: bool = False
    touched: bool = False
    goal: GoalMeasured | None = None
    burst_spacing_s: float = 0.0
    expected: tuple[str, ...] = ()
    already: set[str] = field(default_factory=set)
    turned: list[tuple[Change, Turned]] = field(default_factory=list)
    results: dict[str, Record] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)
    returns: dict[str, Returned] = field(default_factory=dict)
    returned: Returned | None = None
    item: dict[str, object] = field(default_factory=dict)
    lists: dict[str, Listed] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    answers: dict[str, Answered] = field(default_factory=dict)
    requests: dict[str, Standing] = field(default_factory=dict)
    told: frozenset[tuple[str, str]] = frozenset()
    holds: frozenset[str] = frozenset()
    _watched: bool = True

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self.tools.clock.now()

    def record(self, event: Event) -> None:
        """Write an event down, then show it.

        Raises:
            JournalUnavailable: It could not be written.
        """
        self.log.record(event)
        self._show(event)

    def note(self, event: Event) -> None:
        """Show an event now; it is written with the next one."""
        self.log.note(event)
        self._show(event)

    def warn(self, sentence: str, *, step: str = "", fix: str = "") -> None:
        """Tell people of something that went wrong and does not stop the run."""
        self.record(Told(at=self.now, step=step, sentence=sentence, level="warning", fix=fix))

    def _show(self, event: Event) -> None:
        if not self._watched:
            return
        try:
            self.tools.watcher.event(event)
        except Exception:  # noqa: BLE001 - a closed terminal must not stop a change half-way
            self._watched = False

    def names(self, outcome: tuple[str, str] | None = None) -> dict[str, object]:
        """All names that expressions may use now."""
        head = self.head
        return scope.names(
            inputs=self.inputs,
            evidence=self.evidence,
            verdicts=self.verdicts,
            results=self.results,
            item=self.item,
            target=self.target,
            host=self.tools.host,
            outcome=outcome,
            run={"id": head.id, "runbook": head.runbook, "dry_run": head.dry_run},
            expected=self.expected,
        )

    def test(self, condition: str, outcome: tuple[str, str] | None = None) -> expressions.Answer:
        """Judge a condition by what is known now. Raises ``ExpressionError``."""
        return expressions.ask(condition, self.names(outcome))

    def fill(self, value: Setting, outcome: tuple[str, str] | None = None) -> Setting:
        """Fill the templates of a value by what is known now. Raises ``ExpressionError``."""
        return expressions.render(value, self.names(outcome))

    def words(self, text: str, outcome: tuple[str, str] | None = None) -> str:
        """A sentence with its templates filled."""
        return filters.text(self.fill(text, outcome))

    def options(self, options: Mapping[str, Setting]) -> dict[str, Setting]:
        """A step's ``with``, filled."""
        return {name: self.fill(value) for name, value in options.items()}

    def seconds(self, value: float | str | None, default: float = 0.0) -> float:
        """A duration, filled where it is a template."""
        if value is None:
            return default
        filled = self.fill(value)
        return float(filled) if isinstance(filled, int | float) else default

    def case(self, options: Mapping[str, Setting] | None = None) -> Case:
        """What a diagnosis or a plan decides from, as of now.

        Raises:
            ValueError: There is no target.
        """
        if self.target is None:
            raise ValueError("a case needs a target")
        return Case(
            target=self.target,
            evidence=dict(self.evidence),
            verdict=list(self.verdicts.values())[-1] if self.verdicts else None,
            host=self.tools.host,
            options=dict(options or {}),
        )

    def find_again(self) -> None:
        """Find the target anew: a reload may have given it other processes and maps.

        Raises:
            TargetGone: It runs no more.
        """
        if self.target is None:
            return
        try:
            found = self.tools.find(self.target.ref)
        except TargetNotFound as error:
            raise TargetGone(
                f"{self.target.name} runs no more: {error.problem}", fix=_why(self.target)
            ) from error
        if self.target.processes and not found.processes:
            raise TargetGone(f"{found.name} runs no more", fix=_why(found))
        self.target = found


def _why(target: Target) -> str:
    return f"find out why and start it: runbook run agent-down --target {target.name}"
