"""The runbook document: inputs, goal, steps, as frozen values.

What the loader has read is typed and complete: durations are seconds, sizes bytes, every
step has an id. Where a template (``{{ … }}``) stands in place of a duration it stays text
until the run knows its names.

A step's class is named by its verb, the key it is written with: ``look:``, ``try:`` …
Python names differ from the keys where the key is a Python word or says less than it could
(``with`` is ``options``); ``msgspec.field(name=…)`` holds the key.

Not here: reading YAML (``engine.language.loader``), judging names (``engine.language.check``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from engine.values import Risk, Setting

#: Marks for ``engine.language.documents``: how a scalar of this type is read.
Expression = Annotated[str, Meta(extra={"reads": "expression"})]
Seconds = Annotated[float | str, Meta(extra={"reads": "duration"})]
Words = Annotated[str, Meta(extra={"reads": "template"})]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", extra={"reads": "name"})]
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", extra={"reads": "word"})]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", extra={"reads": "id"})]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*$", extra={"reads": "slug"})]
Names = Annotated[tuple[Name, ...], Meta(extra={"reads": "one-or-many"})]
AsWritten = Annotated[Setting, Meta(extra={"reads": "as-written"})]
Options = dict[str, Setting]

InputType = Literal["duration", "bytes", "rate", "share", "number", "integer", "text", "bool", "list"]
#: How a `check` or a `stop` may end a run; `fixed` is for the goal alone to say.
EndOutcome = Literal["healthy", "unfixed", "refused", "failed"]
Keep = Literal["if-better", "always", "never"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all parts of the document."""


class Trigger(_Part, frozen=True, kw_only=True):
    """An alert that starts the runbook.

    Attributes:
        alert: The alert's name.
        matchers: Alertmanager label matchers that must all hold, such as `severity="critical"`.
        target: The agent it is about, from the alert's labels.
        inputs: Inputs taken from the alert, by name.
    """

    alert: str
    matchers: tuple[str, ...] = ()
    target: Words = ""
    inputs: dict[str, Words] = {}


class Input(_Part, frozen=True, kw_only=True):
    """One thing that whoever starts the runbook may set.

    Attributes:
        type: How it is written and checked.
        default: Its value when nobody sets it; without one it must be given.
        help: One sentence for whoever must choose a value.
        choices: The only values allowed.
        minimum: The least value allowed, written like the value.
        maximum: The greatest value allowed, written like the value.
        secret: Never shown, recorded or reported.
        local: Set by somebody at this host only, never by an alert or from the page: it names a file.
    """

    type: InputType
    default: AsWritten = None
    help: str = ""
    choices: tuple[AsWritten, ...] = ()
    minimum: AsWritten = None
    maximum: AsWritten = None
    secret: bool = False
    local: bool = False


class Goal(_Part, frozen=True, kw_only=True):
    """When the trouble is over: measured first, after each change, and at the end.

    Attributes:
        probes: The probes that measure it.
        options: Their options.
        until: The condition that must hold.
        hold: For how long it must hold without a break before the run is called fixed.
        timeout: The longest that holding it may take.
        explain: Look and decide even when it holds at once: why things are as they are.
        means: The condition in words for people, such as `no event is lost`.
    """

    probes: Names = field(name="look")
    options: Options = field(name="with", default={})
    until: Expression
    hold: Seconds = 0.0
    timeout: Seconds | None = None
    explain: bool = False
    means: Words = ""


class Retry(_Part, frozen=True, kw_only=True):
    """How often a failed step is tried again; only before anything was changed.

    Attributes:
        times: Further attempts after the first.
        wait: Pause before the first of them.
        backoff: Each further pause is this many times the one before.
    """

    times: Annotated[int, Meta(ge=0, le=100)] = 2
    wait: Seconds = 1.0
    backoff: Annotated[float, Meta(ge=1, le=10)] = 2.0


class _Step(_Part, frozen=True, kw_only=True, tag_field="step"):
    """What every step may say.

    Attributes:
        id: Its name within the runbook; else its place (`3`, or `3.rungs.2`).
        name: A title for people.
        when: It is skipped unless this holds; unknown is skipped too, and said so.
        timeout: The longest it may take.
        retry: Tried again on failure.
        on_failure: `stop` the run, `continue` with the next step, or go on at a later step's id.
    """

    id: Id = ""
    name: Words = ""
    when: Expression = ""
    timeout: Seconds | None = None
    retry: Retry | None = None
    on_failure: str = "stop"

    @property
    def title(self) -> str:
        """The author's name for it, or what it does."""
        return self.name or self._says()

    def _says(self) -> str:
        return ""


class Look(_Step, frozen=True, kw_only=True, tag="look"):
    """Look with one probe, or with several in one shared window.

    Attributes:
        probes: The probes; their evidence is named by their short names.
        options: Each probe gets those of the options that it knows; `window` is for all.
        label: Another name for the evidence of a single probe.
        fallback: Probes to look with, in order, when one of `look` can't.
    """

    probes: Names = field(name="look")
    options: Options = field(name="with", default={})
    label: Word = field(name="as", default="")
    fallback: Names = ()

    def _says(self) -> str:
        return f"look: {', '.join(self.probes)}"


class Check(_Step, frozen=True, kw_only=True, tag="check"):
    """End the run with a reason when something is not as it must be.

    Attributes:
        must: What must be so, in words.
        that: The condition. Unknown does not hold.
        otherwise: What to say when it does not hold.
        outcome: How the run then ends.
    """

    must: Words = field(name="check")
    that: Expression
    otherwise: Words = ""
    outcome: EndOutcome = "unfixed"

    def _says(self) -> str:
        return f"check: {self.must}"


class InlineCase(_Part, frozen=True, kw_only=True):
    """A cause, and the condition under which it is one.

    Attributes:
        cause: Its name.
        when: The condition. Unknown names no cause, and is noted.
        sentence: The cause in one sentence, with its decisive numbers.
        confidence: How well the evidence then fits, from 0 to 1; the best fit comes first.
        speaks_for: Further facts for it; the condition with its values is one by itself.
        speaks_against: Facts against it.
        settles: What to look at to be sure.
        fix: What mends it, where no change of ours does.
    """

    cause: Slug
    when: Expression
    sentence: Words
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.8
    speaks_for: tuple[Words, ...] = field(name="for", default=())
    speaks_against: tuple[Words, ...] = field(name="against", default=())
    settles: Words = ""
    fix: Words = ""


class Decide(_Step, frozen=True, kw_only=True, tag="decide"):
    """Name the causes: a diagnosis over what was seen, or cases written here.

    Attributes:
        diagnosis: Which one; with `cases`, what they tell apart.
        cases: Causes by their conditions, in place of a diagnosis.
        evidence: The evidence it may read, by name; all that was seen when not given.
        label: The name of its answer in expressions.
    """

    diagnosis: Name = field(name="decide")
    cases: tuple[InlineCase, ...] = ()
    evidence: Names = field(name="from", default=())
    label: Word = field(name="as", default="cause")

    def _says(self) -> str:
        return f"decide: {self.diagnosis}"


class Change(_Step, frozen=True, kw_only=True, tag="change"):
    """One remediation: plan, guards, intent, apply, verify; undone when it did not help.

    Attributes:
        remediation: Which one.
        options: Its options.
        lease: It is temporary: undone by itself after this time unless made permanent.
        risk: At least this risk, whatever the remediation says.
        keep: Whether it stays: when the goal got better, always, or never (a trial).
    """

    remediation: Name = field(name="change")
    options: Options = field(name="with", default={})
    lease: Seconds | None = None
    risk: Risk | None = None
    keep: Keep = "if-better"

    def _says(self) -> str:
        return f"change: {self.remediation}"


class Try(_Step, frozen=True, kw_only=True, tag="try"):
    """A ladder of changes, from the least to the most costly.

    Attributes:
        rungs: The changes, in order; those whose `when` does not hold are skipped.
        stop: At the rung with which the `goal` holds, or at the `first-better`.
    """

    rungs: tuple[Change, ...] = field(name="try")
    stop: Literal["goal", "first-better"] = "goal"

    def _says(self) -> str:
        return f"try: {', '.join(dict.fromkeys(rung.remediation for rung in self.rungs))}"


class Tell(_Step, frozen=True, kw_only=True, tag="tell"):
    """Tell people through the configured notifiers.

    Attributes:
        sentence: What to say.
        to: Notifiers by name; all configured ones when not given.
    """

    sentence: Words = field(name="tell")
    to: Names = ()

    def _says(self) -> str:
        return "tell"


class Wait(_Step, frozen=True, kw_only=True, tag="wait"):
    """Wait for a time, or until a condition.

    Attributes:
        what: What is waited for, in words.
        seconds: For how long; with `until`, at the most.
        until: Go on as soon as this holds; the probes whose evidence it names look again.
    """

    what: Words = field(name="wait")
    seconds: Seconds = field(name="for")
    until: Expression = ""

    def _says(self) -> str:
        return f"wait: {self.what}"


class Stop(_Step, frozen=True, kw_only=True, tag="stop"):
    """End the run here.

    Attributes:
        outcome: As what it ends.
        because: Why, in a sentence.
    """

    outcome: EndOutcome = field(name="stop")
    because: Words

    def _says(self) -> str:
        return f"stop: {self.outcome}"


class Call(_Step, frozen=True, kw_only=True, tag="call"):
    """Run another runbook; how it ends is the result.

    Attributes:
        runbook: Its name; looked for beside this runbook first.
        inputs: Its inputs.
        target: Which agent it works on; this run's when not given.
        label: The name of its result in expressions; else its own, with `_` for `-`.
    """

    runbook: Slug = field(name="call")
    inputs: Options = field(name="with", default={})
    target: Words = ""
    label: Word = field(name="as", default="")

    @property
    def word(self) -> str:
        """The name of its result in expressions."""
        return self.label or self.runbook.replace("-", "_")

    def _says(self) -> str:
        return f"call: {self.runbook}"


class Each(_Step, frozen=True, kw_only=True, tag="each"):
    """The steps inside, once for each item of a list, a table or a mapping.

    Attributes:
        steps: What is done for each item.
        items: The list; of a mapping each item has `key` and `value`.
        label: The name of the item in expressions.
        at_once: So many items side by side; for steps that only look.
        limit: No more items than this; of more, the first ones.
    """

    steps: tuple[Step, ...] = field(name="each")
    items: Expression = field(name="in")
    label: Word = field(name="as", default="item")
    at_once: Annotated[int, Meta(ge=1, le=16)] = 1
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100

    def _says(self) -> str:
        return f"each of {self.items}"


class Ask(_Step, frozen=True, kw_only=True, tag="ask"):
    """A question to a human; one that expires is a no.

    Attributes:
        question: What is asked.
        answers: What the answer is made of, by name; a `yes` when not given.
        who: Who is asked, in words.
        expires: When it is too late to answer.
        label: The name of the answer in expressions.
    """

    question: Words = field(name="ask")
    answers: dict[Word, Input] = {}
    who: Words = ""
    expires: Seconds = 3600.0
    label: Word = field(name="as", default="answer")

    def _says(self) -> str:
        return f"ask: {self.question}"


class Run(_Step, frozen=True, kw_only=True, tag="run"):
    """A command from the policy's list, never through a shell; it only reads, or its undo is given.

    Attributes:
        argv: The program, with its whole path, and its arguments; each template is one argument.
        reads: It changes nothing.
        undo: The command that takes it back.
        in_force: A command that reads whether the change is in force: 0 is yes, 1 is no.
        label: The name of its result in expressions.
        lease: It is temporary: undone by itself after this time unless made permanent.
        risk: How risky it is.
        keep: Whether it stays: when the goal got better, always, or never (a trial).
    """

    argv: tuple[Words, ...] = field(name="run")
    reads: bool = False
    undo: tuple[Words, ...] = ()
    in_force: tuple[Words, ...] = ()
    label: Word = field(name="as", default="output")
    lease: Seconds | None = None
    risk: Risk = "medium"
    keep: Keep = "if-better"

    def _says(self) -> str:
        return f"run: {' '.join(self.argv)}"


Step = Look | Check | Decide | Change | Try | Tell | Wait | Stop | Call | Each | Ask | Run
VERBS: tuple[str, ...] = (
    *("look", "check", "decide", "change", "try", "tell"),
    *("wait", "stop", "call", "each", "ask", "run"),
)


def all_steps(steps: Iterable[Step]) -> Iterator[Step]:
    """Every step, those within others included, in order."""
    for step in steps:
        yield step
        if isinstance(step, Try):
            yield from step.rungs
        elif isinstance(step, Each):
            yield from all_steps(step.steps)


class Runbook(_Part, frozen=True, kw_only=True):
    """A runbook: what may start it, what may be set, when the trouble is over, and the steps.

    Attributes:
        runbook: Its name, by the symptom.
        summary: The symptom in one sentence.
        version: Raised by the author with each change of meaning.
        triggers: The alerts that start it.
        inputs: What may be set, by name.
        target: Which target is meant when nobody names one, made from the inputs; where its
            template gives nothing, the only agent of this host.
        goal: When the trouble is over.
        steps: What is done, from the first to the last.
    """

    runbook: Slug
    summary: str = ""
    version: Annotated[int, Meta(ge=1)] = 1
    triggers: tuple[Trigger, ...] = ()
    inputs: dict[str, Input] = {}
    target: str = ""
    goal: Goal | None = None
    steps: tuple[Step, ...]
