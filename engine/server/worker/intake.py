"""What becomes of an alert: pure decisions, with a trace of each.

One promise: whatever order alerts come in, however often, no alert has two runs at once, and a further one
only where the last has ended without an answer for it; the trace says why, with the values that were
compared.

Alert → candidates (triggers that fit, best first) → guards → a fate, and a run for the first candidate.
An alert that came before is judged anew when no run is at work on it: it was held, fitted nothing or found
no room; its run broke off; or its run has mended the trouble, and after the cooldown it fires still.
Not here: which triggers fit (``candidates``), writing down (``queue``), carrying out (``keeper``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from engine.server.alerts.alert import Alert
from engine.server.messages import Considered, Fate
from engine.server.settings import Runs, seconds
from engine.server.worker.candidates import Candidate, Wanted, consider
from engine.server.worker.job import Job
from engine.server.worker.triggers import Ready
from engine.text import span
from engine.values import Decision, Scalar

#: After one of these the same alert starts no further run while it fires.
NO_LOOP = frozenset({"rehearsed", "unfixed", "refused"})
#: After one of these an alert that comes again waits for the end of the cooldown by itself.
BROKEN_OFF = frozenset({"interrupted", "failed"})


class Before(NamedTuple):
    """What became of an alert when it came; ``state`` and ``outcome`` are its run's, empty for none."""

    fate: Fate
    run: str = ""
    state: str = ""
    outcome: str = ""


class Known(Protocol):
    """What the queue knows, as far as a decision asks."""

    def known(self, alert: str) -> Before | None:
        """What became of an alert that came before."""

    def has_resolved(self, fingerprint: str, starts_at: float) -> bool:
        """Whether this alert, begun then or later, is known to be over."""

    def run_of(self, fingerprint: str, starts_at: float) -> str:
        """The run that a firing alert started or joined; empty for none."""

    def last_job(self, runbook: str, target: str, *, dry_run: bool) -> Job | None:
        """The newest run of a runbook on a target; dry-runs only where one is wanted."""

    def last_of(self, fingerprint: str) -> tuple[Job, float] | None:
        """The run of this alert when it fired last, and since when it fired then."""


class Decided(NamedTuple):
    """What becomes of an alert.

    Attributes:
        fate: What its sender is told.
        run: The one that it joined, or had before.
        wanted: The run that it starts.
        again: It was known, and only now gets this fate.
        still: It was known, and keeps this fate for another reason, which is written down; else empty.
        due: When it is to be judged again (epoch seconds), should it fire then; None for only when it comes.
    """

    fate: Fate
    because: str
    run: str = ""
    wanted: Wanted | None = None
    trace: tuple[Considered, ...] = ()
    again: bool = False
    still: Fate | Literal[""] = ""
    due: float | None = None


def decide(
    alert: Alert, ready: Mapping[str, Sequence[Ready]], known: Known, now: float, runs: Runs
) -> Decided:
    """What becomes of an alert.

    Args:
        alert: As its sender sent it.
        ready: Triggers by the alert's name.
        known: What came before.
        now: Epoch seconds.
        runs: The cooldown, and whether alerts get dry-runs only.
    """
    before = known.known(alert.key)
    if before is not None and (alert.status == "resolved" or before.state not in {"", "ended"}):
        return Decided("duplicate", "it is known already", before.run)
    if alert.status == "resolved":
        return _resolved(alert, known)
    if known.has_resolved(alert.fingerprint, alert.starts_at):
        return _late(alert, before)
    if before is not None and _was_answered(before, dry_run=runs.dry_run):
        because = f"it is known already: its run ended {before.outcome}, and it has fired ever since"
        return Decided("duplicate", because, before.run)
    candidates = consider(alert, ready.get(alert.name, ()))
    decided = _judge(alert, candidates, known, now, runs)
    return decided if before is None else _anew(decided, before)


def without_room(decided: Decided) -> Decided:
    """There is no room for the run that it asks for: it is kept, and gets its run when there is."""
    because = f"{decided.because}: the queue has no room for its run now"
    return decided._replace(fate="full", because=because, wanted=None, due=0.0)


def _anew(decided: Decided, before: Before) -> Decided:
    """What was decided of an alert that came before."""
    if decided.fate in {"started", "joined"}:  # what held it, or was missing, does not any more
        return decided._replace(again=True, run=decided.run or before.run)
    if before.fate in {"held", "unmatched", "full"}:
        return decided._replace(fate="duplicate", run=before.run, still=decided.fate)
    if decided.due is not None and before.outcome in BROKEN_OFF:
        return decided._replace(run=before.run, again=True)
    return Decided("duplicate", f"it is known already: {decided.because}", before.run)


def _resolved(alert: Alert, known: Known) -> Decided:
    run = known.run_of(alert.fingerprint, alert.starts_at)
    because = f"it has ended; run {run} is told" if run else "it has ended; no run of ours was about it"
    return Decided("resolved", because, run)


def _late(alert: Alert, before: Before | None) -> Decided:
    """It fires, but it is known to be over: the news came in another order."""
    decision = Decision(
        answer="deny", guard="already-resolved", because="it has ended: this news of it came late",
        values={"starts_at": alert.starts_at},
    )  # fmt: skip
    if before is not None:
        return Decided("duplicate", decision.because, before.run)
    trace = Considered(runbook="", fits=False, because=decision.because, guards=(decision,))
    return Decided("held", decision.because, trace=(trace,))


def _judge(alert: Alert, candidates: Sequence[Candidate], known: Known, now: float, runs: Runs) -> Decided:
    """The first candidate that fits, held against the guards."""
    trace = [one.considered for one in candidates]
    first = next((index for index, one in enumerate(candidates) if one.wanted is not None), None)
    if first is None or (wanted := candidates[first].wanted) is None:
        because = trace[0].because if len(trace) == 1 else f"none of {len(trace)} triggers fits"
        no_such = f"no runbook has a trigger for {alert.name!r}"
        return Decided("unmatched", because if trace else no_such, trace=tuple(trace))
    last = known.last_job(wanted.runbook, wanted.target, dry_run=runs.dry_run)
    on = f"{wanted.runbook} on {wanted.target or 'this host'}"
    if last is not None and last.state != "ended":
        guard = Decision(answer="deny", guard="in-progress", because=f"run {last.id} is {last.state}")
        trace[first] = msgspec.structs.replace(trace[first], guards=(guard,))
        return Decided("joined", f"{on}: run {last.id} is {last.state} already", last.id, None, tuple(trace))
    cooldown_s = seconds(runs.cooldown)
    guards = (_same_alert(alert, known, dry_run=runs.dry_run), _cooldown(last, now, cooldown_s))
    trace[first] = msgspec.structs.replace(trace[first], guards=guards)
    held = next((one for one in guards if one.answer == "deny"), None)
    if held is not None:
        due = last.ended_at + cooldown_s if held is guards[1] and last and last.ended_at else None
        return Decided("held", f"{on}: {held.because}", trace=tuple(trace), due=due)
    return Decided("started", on, wanted=wanted, trace=tuple(trace))


def _was_answered(before: Before, *, dry_run: bool) -> bool:
    """Whether this very alert had a run after which it starts no further one while it fires."""
    return before.outcome in NO_LOOP and (dry_run or before.outcome != "rehearsed")


def _same_alert(alert: Alert, known: Known, *, dry_run: bool) -> Decision:
    """No loop: what was looked at, or could not be mended, is not tried again while the alert fires."""
    found = known.last_of(alert.fingerprint)
    if found is None or found[0].state != "ended":
        return Decision(answer="allow", guard="same-alert", because="it has started no run before")
    last, fired_at = found
    values: dict[str, Scalar] = {"run": last.id, "outcome": last.outcome}
    loops = dry_run if last.dry_run else last.outcome in NO_LOOP
    if loops and not known.has_resolved(alert.fingerprint, fired_at):
        because = (
            f"this alert had run {last.id} already, which ended {last.outcome}, and has fired ever since"
        )
        return Decision(answer="deny", guard="same-alert", because=because, values=values)
    because = f"its last run {last.id} ended {last.outcome}" + (", and it resolved since" if loops else "")
    return Decision(answer="allow", guard="same-alert", because=because, values=values)


def _cooldown(last: Job | None, now: float, cooldown_s: float) -> Decision:
    if last is None or last.ended_at is None:
        return Decision(answer="allow", guard="cooldown", because="it has not run here before")
    passed = now - last.ended_at
    values: dict[str, Scalar] = {"run": last.id, "since_s": round(passed, 1), "cooldown_s": cooldown_s}
    if 0 <= passed < cooldown_s:
        because = f"run {last.id} ended {span(passed)} ago, and the cooldown is {span(cooldown_s)}"
        return Decision(answer="deny", guard="cooldown", because=because, values=values)
    because = f"run {last.id} ended {span(max(passed, 0.0))} ago"
    return Decision(answer="allow", guard="cooldown", because=because, values=values)
