"""Start an agent that is down; or start a running one anew, at a chosen moment.

Within limits: no more than so many times an hour, with a pause that doubles each time; never an agent
that somebody stopped, one whose programs do not load, or one that ends again and again. Afterwards
it must be healthy.

Touches: the agent's process, through its systemd unit or the command that its profile names. A start
leaves nothing to take back; with ``stop_again`` the undo stops an agent that did not run before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

import msgspec

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Case, Change, Knob, Plan, Prediction, Reload, Setting, Target
from remediations import load_proof
from remediations.knob_change import KnobChange
from remediations.knobs import start
from remediations.knobs.backend import State
from remediations.knobs.run_state import RUNNING, STOPPED
from remediations.knobs.units import say_seconds
from remediations.options import says
from remediations.planning import KnobPlanner, Question, blocked, nothing
from remediations.start_change import runs

HOUR_S = 3600.0
#: The first pause before a start that repeats another, and the longest.
PAUSE_S, LONGEST_PAUSE_S = 10.0, 300.0
#: A time of the day is met within this time after it.
MEETS_S = 1800.0
NOW, NEVER = "now", "never"


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at: Annotated[
        str,
        says("text", "When a running agent may be started anew: now, never, or a time such as 03:00."),
    ] = ""
    at_most: Annotated[float, says("count", "How often within an hour.")] = 3.0
    pause: Annotated[
        float, says("s", "Before the second start within an hour; it doubles with each further one.")
    ] = PAUSE_S
    stop_again: Annotated[bool, says("yes or no", "Let the undo stop an agent that did not run before.")] = (
        False
    )


class RestartPlanner(KnobPlanner[Options]):
    """Decides whether it may be started, and after which pause."""

    name = "restart"
    summary = "Start an agent that is down, within limits; or a running one anew at a chosen moment."
    knob = "restart"
    risk = "low"
    kind = Options

    def find(self, target: Target) -> Knob | None:
        """How it is started: as its profile says, else through its systemd unit."""
        way = target.start
        unit = load_proof.unit_of(target)
        if way.by == "none" and unit:
            way = Reload(by="systemd", unit=unit, settle_s=load_proof.SETTLE_S)
        return Knob(name=self.knob, backend="run-state", unit="text", reload=way)

    def decide(self, asked: Question[Options]) -> Plan:
        """Start it once more, or say why not."""
        ran = asked.now.value == RUNNING
        _may(asked, ran=ran)
        way, pause = asked.knob.reload, _pause(asked)
        final = "" if asked.options.stop_again and not ran else "it was started, and runs on"
        why = _why(asked.case, "it was asked for" if ran else "it does not run")
        made = Change(
            knob=asked.knob,
            before=asked.now.value,
            after={"state": RUNNING, "pause_s": pause},
            before_text=str(asked.now.value),
            after_text="started anew" if ran else "started",
            why=why,
            where=start.by_hand(way),
            final=final,
        )
        after = f"after a pause of {say_seconds(pause)}, since it was started lately; " if pause else ""
        loses = ("all that it holds in memory", "the events until it runs again") if ran else ()
        return Plan(
            remediation=self.name,
            changes=(made,),
            reason=f"start {asked.case.target.name}{' anew' if ran else ''}: {after}{why}",
            predictions=_predictions(asked),
            risk="medium" if ran else "low",
            loses=(*loses, *asked.knob.reload.loses),
            undo_by_hand="" if final else f"stop {asked.case.target.name}",
            warnings=_warnings(asked),
        )


class Restart(KnobChange):
    """Remediation ``restart``."""

    planner = RestartPlanner()

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """Which process runs now, if one does.

        Raises:
            ChangedSince: It was started, or ended, since the plan was made.
        """
        now = RUNNING if runs(target) else STOPPED
        if now != change.before:
            raise ChangedSince(
                f"{target.name} is {now}; the plan was made for one that is {change.before}. Left as it is",
                fix="run again",
            )
        first = target.processes[0] if now == RUNNING else None
        return {"pid": first.pid if first else 0, "started_ticks": first.started_ticks if first else 0}

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Wait for the pause, start it, and wait until it is well.

        Raises:
            ChangedSince: It was started or ended in the pause; nothing was done.
            ChangeFailed: It could not be started, or is not well.
        """
        wanted = change.after if isinstance(change.after, dict) else {}
        self._clock.sleep(float(wanted.get("pause_s") or 0.0))
        if (runs(target)) != bool(captured.get("pid")):
            raise ChangedSince(
                f"{target.name} was started or ended meanwhile. Left as it is", fix="run again"
            )
        way = change.knob.reload
        start.anew(way, target)
        start.wait_well(way, target, self._clock)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """``after`` when another process of it runs than before."""
        if not runs(target):
            return "other" if captured.get("pid") else "before"
        first = target.processes[0]
        same = (first.pid, first.started_ticks) == (captured.get("pid"), captured.get("started_ticks"))
        return "before" if same else "after"

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Stop what only we had started; an agent that ran before is left to run.

        Raises:
            ChangeFailed: It does not end.
        """
        if captured.get("pid") or not runs(target):
            return None
        way = change.knob.reload
        start.end(way, target)
        start.wait_gone(way, target, self._clock)
        if runs(target):
            raise ChangeFailed(f"{target.name} does not end", fix=f"kill {target.pid}, or see its log")
        return f"{target.name} was stopped again: it did not run before"


def _may(asked: Question[Options], *, ran: bool) -> None:
    """Say why it must not be started, if so."""
    case, chosen, name = asked.case, asked.options, asked.case.target.name
    if chosen.at == NEVER:
        nothing("a restart was ruled out (at: never)")
    if ran and not chosen.at:
        nothing(f"{name} runs; with at: now it would be started anew all the same")
    if chosen.at not in ("", NOW):
        _meet(asked)
    if case.text("unit.stopped_by") == "human":
        said = case.text("unit.stopped_line")
        nothing(f"somebody had {name} stopped{f' ({said})' if said else ''}: it is left alone")
    first = case.verdict.causes[0].name if case.verdict and case.verdict.causes else ""
    if first in ("crash-loop", "failed-load") and not ran:
        nothing(f"{_why(case)}: one more start would end so too")
    if asked.knob.reload.by == "none":
        blocked(f"the profile {case.target.profile} does not say how {name} is started (start:)")
    lately = _lately(case)
    if len(lately) >= chosen.at_most:
        nothing(
            f"{name} was started {len(lately)} times within the hour, and {chosen.at_most:g} are allowed"
            " (at_most): something else must be mended first"
        )


def _meet(asked: Question[Options]) -> None:
    """The moment is taken from the evidence, since a plan reads no clock."""
    try:
        moment = time.strptime(asked.options.at, "%H:%M")
    except ValueError:
        blocked(f"at: {asked.options.at!r} is neither now nor never nor a time such as 03:00")
    now = time.localtime(max((seen.ended_at for seen in asked.case.evidence.values()), default=0.0))
    late = ((now.tm_hour - moment.tm_hour) * 60 + now.tm_min - moment.tm_min) % (24 * 60) * 60 + now.tm_sec
    if late > MEETS_S:
        nothing(
            f"it is {now.tm_hour:02}:{now.tm_min:02}, and {asked.options.at} was chosen: run this again then"
            f" (systemd-run --on-calendar={asked.options.at} runbook run …)"
        )


def _pause(asked: Question[Options]) -> float:
    """None before the first start within an hour; then doubling, less what has passed since the last."""
    lately = _lately(asked.case)
    if not lately:
        return 0.0
    wanted: float = min(asked.options.pause * 2.0 ** (len(lately) - 1), LONGEST_PAUSE_S)
    return max(0.0, wanted - min(lately))


def _lately(case: Case) -> list[float]:
    return [ago for ago in case.repeats if ago < HOUR_S]


def _why(case: Case, otherwise: str = "") -> str:
    """The first cause, in its own words."""
    causes = case.verdict.causes if case.verdict else ()
    return causes[0].sentence if causes else otherwise


def _predictions(asked: Question[Options]) -> tuple[Prediction, ...]:
    """It runs; where it was not asked whether it did, nothing is foretold."""
    if "unit" not in asked.case.evidence:
        return ()
    before = asked.number("unit.running")
    return (Prediction(measure="unit.running", before=before, after=1.0, arithmetic="it is started"),)


def _warnings(asked: Question[Options]) -> tuple[str, ...]:
    case, warned = asked.case, []
    if case.number("unit.oom_killed"):
        warned.append("what used up its memory may do so again")
    if not case.target.health_url:
        warned.append("the profile names no health endpoint: that it runs is all that can be checked")
    return tuple(warned)
