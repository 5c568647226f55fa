"""What becomes of an alert: pure decisions, with a trace of each.

One promise: whatever order alerts come in, however often, each asks for at most one run; and the trace
says why, with the values that were compared. What an alert holds is data: templates stand in runbooks only.

Alert → candidates (triggers that fit, best first) → guards → a fate, and a run for the first candidate.
Not here: reading runbooks (``triggers``), writing down (``queue``), carrying out (``keeper``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from engine.errors import RunbookError, UsageError
from engine.language import expressions, inputs, scope
from engine.server.alerts.alert import Alert
from engine.server.messages import Considered, Fate
from engine.server.worker.job import Job
from engine.server.worker.triggers import Ready
from engine.text import span
from engine.values import Decision, Scalar

#: What a target's name or an input's value from an alert may be.
_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,199}")
MAX_VALUE = 1000
#: After one of these the same alert starts no further run while it fires.
NO_LOOP = frozenset({"rehearsed", "unfixed", "refused"})


class Known(Protocol):
    """What the queue knows, as far as a decision asks."""

    def known(self, alert: str) -> tuple[str, str] | None:
        """Fate and run of an alert that came before."""

    def has_resolved(self, fingerprint: str, starts_at: float) -> bool:
        """Whether this alert, begun then or later, is known to be over."""

    def run_of(self, fingerprint: str, starts_at: float) -> str:
        """The run that a firing alert started or joined; empty for none."""

    def last_job(self, runbook: str, target: str) -> Job | None:
        """The newest run of a runbook on a target."""

    def last_of(self, fingerprint: str) -> tuple[Job, float] | None:
        """The run of this alert when it fired last, and since when it fired then."""


class Wanted(NamedTuple):
    """The run that an alert asks for."""

    runbook: str
    path: str
    target: str
    inputs: dict[str, str]


class Decided(NamedTuple):
    """What becomes of an alert. ``again``: it was known, and only now gets this fate."""

    fate: Fate
    because: str
    run: str = ""
    wanted: Wanted | None = None
    trace: tuple[Considered, ...] = ()
    again: bool = False


class _Candidate(NamedTuple):
    considered: Considered
    wanted: Wanted | None
    rank: tuple[bool, int, str]


def decide(
    alert: Alert, ready: Mapping[str, Sequence[Ready]], known: Known, now: float, cooldown_s: float
) -> Decided:
    """What becomes of an alert.

    Args:
        alert: As its sender sent it.
        ready: Triggers by the alert's name.
        known: What came before.
        now: Epoch seconds.
        cooldown_s: After the end of a run, the same runbook is not started on its target for so long.
    """
    before = known.known(alert.key)
    if before is not None and before[0] not in {"held", "unmatched"}:
        return Decided("duplicate", "it is known already", before[1])
    if alert.status == "resolved":
        return _resolved(alert, known)
    if known.has_resolved(alert.fingerprint, alert.starts_at):
        return _late(alert, again=before is not None)
    candidates = consider(alert, ready.get(alert.name, ()))
    decided = _judge(alert, candidates, known, now, cooldown_s)
    if before is None:
        return decided
    if decided.fate in {"started", "joined"}:  # what held it, or was missing, does not any more
        return decided._replace(again=True)
    return Decided("duplicate", f"it is known already; still {decided.fate}: {decided.because}", before[1])


def consider(alert: Alert, ready: Sequence[Ready]) -> list[_Candidate]:
    """All triggers for an alert of this name, the best that fits first."""
    return sorted((_candidate(alert, one) for one in ready), key=lambda one: one.rank)


def _resolved(alert: Alert, known: Known) -> Decided:
    run = known.run_of(alert.fingerprint, alert.starts_at)
    because = f"it has ended; run {run} is told" if run else "it has ended; no run of ours was about it"
    return Decided("resolved", because, run)


def _late(alert: Alert, *, again: bool) -> Decided:
    """It fires, but it is known to be over: the news came in another order."""
    decision = Decision(
        answer="deny", guard="already-resolved", because="it has ended: this news of it came late",
        values={"starts_at": alert.starts_at},
    )  # fmt: skip
    if again:
        return Decided("duplicate", decision.because)
    trace = Considered(runbook="", fits=False, because=decision.because, guards=(decision,))
    return Decided("held", decision.because, trace=(trace,))


def _judge(
    alert: Alert, candidates: Sequence[_Candidate], known: Known, now: float, cooldown_s: float
) -> Decided:
    """The first candidate that fits, held against the guards."""
    trace = [one.considered for one in candidates]
    first = next((index for index, one in enumerate(candidates) if one.wanted is not None), None)
    if first is None or (wanted := candidates[first].wanted) is None:
        because = trace[0].because if len(trace) == 1 else f"none of {len(trace)} triggers fits"
        no_such = f"no runbook has a trigger for {alert.name!r}"
        return Decided("unmatched", because if trace else no_such, trace=tuple(trace))
    last = known.last_job(wanted.runbook, wanted.target)
    on = f"{wanted.runbook} on {wanted.target or 'this host'}"
    if last is not None and last.state != "ended":
        guard = Decision(answer="deny", guard="in-progress", because=f"run {last.id} is {last.state}")
        trace[first] = msgspec.structs.replace(trace[first], guards=(guard,))
        return Decided("joined", f"{on}: run {last.id} is {last.state} already", last.id, None, tuple(trace))
    guards = (_same_alert(alert, known), _cooldown(last, now, cooldown_s))
    trace[first] = msgspec.structs.replace(trace[first], guards=guards)
    held = next((one for one in guards if one.answer == "deny"), None)
    if held is not None:
        return Decided("held", f"{on}: {held.because}", trace=tuple(trace))
    return Decided("started", on, wanted=wanted, trace=tuple(trace))


def _same_alert(alert: Alert, known: Known) -> Decision:
    """No loop: what was looked at, or could not be mended, is not tried again while the alert fires."""
    found = known.last_of(alert.fingerprint)
    if found is None or found[0].state != "ended":
        return Decision(answer="allow", guard="same-alert", because="it has started no run before")
    last, fired_at = found
    values: dict[str, Scalar] = {"run": last.id, "outcome": last.outcome}
    loops = last.outcome in NO_LOOP or last.dry_run
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


# ── triggers ────────────────────────────────────────────────────────────────────


def _candidate(alert: Alert, ready: Ready) -> _Candidate:
    fits, told, wanted, target = True, [], None, ""
    for matcher in ready.matchers:
        holds, words = matcher.fits(alert.labels)
        fits = fits and holds
        told.append(words)
    if fits:
        try:
            wanted = _wanted(alert, ready)
            target = wanted.target
        except RunbookError as error:
            fits = False
            told.append(error.problem)
    because = "; ".join(told) or "its name fits"
    considered = Considered(runbook=ready.runbook, fits=fits, because=because, target=target)
    named = alert.labels.get("runbook") == ready.runbook
    return _Candidate(considered, wanted, (not named, -len(ready.matchers), ready.runbook))


def _wanted(alert: Alert, ready: Ready) -> Wanted:
    """Target and inputs from the alert. Raises ``RunbookError`` where they are missing or no plain values."""
    names = scope.of_alert(alert.name, alert.labels, alert.annotations)
    target = expressions.strict(ready.trigger.target, names).strip()
    if target and not _TARGET.fullmatch(target):
        raise _odd("the target", target, "a name of at most 200 letters, digits and _.:/@+-")
    given = {}
    for name, template in ready.trigger.inputs.items():
        spec = ready.inputs.get(name)
        if spec is None or spec.secret:
            raise _odd(f"input {name}", "", "an input of the runbook that is not secret")
        if spec.default is not None and not _tells(alert, template):
            continue
        value = expressions.strict(template, names)
        if len(value) > MAX_VALUE or not value.isprintable():
            raise _odd(f"input {name}", value, f"at most {MAX_VALUE} characters in one line")
        inputs.typed(spec, value)
        given[name] = value
    missing = [name for name, spec in ready.inputs.items() if spec.default is None and name not in given]
    if missing:
        raise _odd(f"input {missing[0]}", "", "given by the trigger: it has no default")
    return Wanted(ready.runbook, ready.path, target, given)


def _tells(alert: Alert, template: str) -> bool:
    """Whether the alert bears one of the labels that a template reads, or it reads none."""
    reads = expressions.names_in(template, template=True)
    labels = [name.removeprefix("alert.labels.") for name in reads if name.startswith("alert.labels.")]
    return not labels or any(name in alert.labels for name in labels)


def _odd(what: str, value: str, wanted: str) -> UsageError:
    shown = f" is {value[:60]!r}, which" if value else ""
    return UsageError(
        f"{what}{shown} is not {wanted}", fix="correct the runbook's trigger, or the alert's labels"
    )
