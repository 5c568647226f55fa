"""Take a dear BPF program away that the agent can do without.

Only a program that the profile names in its fact ``optional_programs``. Through the agent's own setting
where the profile has the knob ``optional-program``; else by its link, where the kernel detaches such
links and the agent can be started anew: nothing else attaches it again.

Touches: one setting and a reload; or one link. What the program reports is not seen any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from engine.values import Case, Change, Knob, KnobValue, Plan, Prediction, Scalar, Setting, Target
from remediations import cpu_price
from remediations.knob_change import KnobChange
from remediations.knobs import start
from remediations.knobs.backend import backend, hands
from remediations.knobs.bpf_link import NAME_CHARACTERS
from remediations.options import says
from remediations.planning import KnobPlanner, Question, blocked, change, nothing, plan

FACT, LINK = "optional_programs", "bpf-link"


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    program: Annotated[
        str, says("text", "The program to take away; empty: the dearest that the profile calls optional.")
    ] = ""
    least: Annotated[float, says("cores", "A program that takes less is left alone.")] = 0.01


class Dear(msgspec.Struct, frozen=True):
    """A program, and the cores that it takes."""

    name: str
    cores: float


class DetachProgramPlanner(KnobPlanner[Options]):
    """Decides which optional program is dear enough to go."""

    name = "detach-program"
    summary = "Take a dear BPF program away that the agent can do without."
    knob = "optional-program"
    risk = "medium"
    kind = Options

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The agent's own setting; without one, each optional program's link."""
        if self.knob in target.knobs:
            return super().read(target)
        links = backend(LINK)
        return {_key(name): links.read(_link(name), target) for name in _optional(target)}

    def decide(self, asked: Question[Options]) -> Plan:
        """Switch it off, when it is on and dear."""
        dear, target = _dearest(asked.case, asked.options), asked.case.target
        if dear.cores < asked.options.least:
            nothing(f"{dear.name} takes {cpu_price.say_cores(dear.cores)}: not worth losing what it reports")
        if asked.current is False:
            nothing(f"{dear.name} is switched off already, and still takes {cpu_price.say_cores(dear.cores)}")
        by_link = asked.knob.backend == LINK
        if by_link and target.start.by == "none":
            blocked(
                f"{dear.name} could be detached, but nothing would attach it again: the profile"
                f" {target.profile} does not say how {target.name} is started"
            )
        share = dear.cores / total if (total := asked.number("cost.cpu_cores")) else 1.0
        why = f"{dear.name} takes {cpu_price.say_cores(dear.cores)}, {share:.0%} of what its programs take"
        off = msgspec.structs.replace(
            change(asked, after=False, why=why), before_text=f"{dear.name} on", after_text="off"
        )
        made = plan(
            self.name,
            asked,
            (off,),
            f"take {dear.name} away: {why}",
            _predictions(asked, dear),
            risk="medium",
            warnings=_warnings(asked, by_link=by_link),
        )
        lost = f"what the program {dear.name} reports, for as long as it is away"
        made = msgspec.structs.replace(made, loses=(lost, *made.loses))
        return msgspec.structs.replace(made, undo_by_hand=_by_hand(target)) if by_link else made

    def _question(self, case: Case, chosen: Options) -> Question[Options]:
        if not _optional(case.target):
            nothing(
                f"the profile {case.target.profile} names no program that {case.target.name} can do without"
                f" (fact {FACT})"
            )
        if self.knob in case.target.knobs:
            return super()._question(case, chosen)
        name = _dearest(case, chosen).name
        now = case.knobs.get(_key(name), KnobValue(missing=f"the link of {name} was not looked at"))
        if now.missing:
            blocked(now.missing)
        return Question(case, _link(name), now, chosen)


class DetachProgram(KnobChange):
    """Remediation ``detach-program``."""

    planner = DetachProgramPlanner()

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Switch it on again; a program detached by its link comes back when the agent starts anew.

        Raises:
            ChangedSince: Somebody else has set it since; left as it is.
            ChangeFailed: The agent could not be started, or is not well.
        """
        if change.knob.backend != LINK:
            return super().undo(change, target, captured)
        restored = hands(LINK).restore(change, target, captured)
        if not restored.reload:
            return restored.note or None
        start.anew(target.start, target)
        start.wait_well(target.start, target, self._clock)
        return f"{target.name} was started anew: only so is {change.knob.path} attached again"


def _optional(target: Target) -> tuple[str, ...]:
    """The programs that the profile calls optional."""
    return tuple(target.facts.get(FACT, "").replace(",", " ").split())


def _dearest(case: Case, chosen: Options) -> Dear:
    """The optional program that costs most, or the one that is named."""
    optional = _optional(case.target)
    if chosen.program and chosen.program not in optional:
        nothing(f"the profile does not call {chosen.program} optional: {', '.join(optional)} are")
    wanted = (chosen.program,) if chosen.program else optional
    seen = case.evidence.get("cost")
    if seen is None:
        nothing("what each BPF program costs is unknown: program-cost was not looked at")
    rows = [
        Dear(name, _number(row.get("cores")))
        for row in seen.tables.get("programs", ())
        for name in wanted
        if str(row.get("name"))[:NAME_CHARACTERS] == name[:NAME_CHARACTERS]
    ]
    if not rows:
        nothing(f"none of the optional programs runs: {', '.join(wanted)}")
    return max(rows, key=lambda one: one.cores)


def _link(name: str) -> Knob:
    return Knob(name=DetachProgramPlanner.knob, backend=LINK, path=name, unit="bool")


def _key(name: str) -> str:
    return f"{DetachProgramPlanner.knob}.{name}"


def _predictions(asked: Question[Any], dear: Dear) -> tuple[Prediction, ...]:
    """The programs' CPU falls by what it took; the agent's own does not rise."""
    seen = cpu_price.spent(asked)
    left = max(0.0, (seen.bpf or dear.cores) - dear.cores)
    return (
        cpu_price.programs_cpu(seen, left, f"{seen.bpf or dear.cores:.3g} − {dear.cores:.3g}"),
        cpu_price.own_cpu(
            seen, seen.own, "its own work stays, or falls with the program's events", at_most=True
        ),
    )


def _warnings(asked: Question[Any], *, by_link: bool) -> tuple[str, ...]:
    optional = _optional(asked.case.target)
    said = ["what the agent builds on this program's events is blind meanwhile"]
    if by_link:
        said.append("undo starts the agent anew: nothing else attaches the program again")
    elif len(optional) > 1:
        said.append(f"the setting takes all of them away: {', '.join(optional)}")
    return tuple(said)


def _by_hand(target: Target) -> str:
    return f"start {target.name} anew: {start.by_hand(target.start)}"


def _number(value: Scalar) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
