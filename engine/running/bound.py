"""What a yes is bound to: its digest, how it stands, and what makes it void.

One promise: a yes counts for what its giver looked at. Whoever restarts the agent, turns the knob, finds
another cause or plans another change since has made it void, and the reasons say so with their values.

The change that was approved is carried out as it stands; so a fresh plan need not be the same to
the letter. It may word it otherwise and predict other numbers, and the value it wants may be up to
``NEAR`` away: measured anew, a value that is reckoned from measurements is never quite the same.

All of it is pure. Not here: asking and using a yes (``engine.running.permission``), giving one
(``engine.running.approval``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeGuard

import msgspec

from engine import text
from engine.record import Event, Intended, Judged, Planned, Requested, Ruled, Settled
from engine.values import Change, Decision, Evidence, KnobValue, Plan, Setting, Target

#: How far the value that a fresh plan wants may be from the approved one, as a share of the step.
NEAR = 0.25


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """All that a yes is given for.

    Attributes:
        run, step: Whose change it is.
        evidence: What the plan was made from, by short name.
        runbook: SHA-256 (hex) of the runbook's text.
        cause: The first cause that was named; empty for none.
        processes: The target's: pid and start (clock ticks since boot).
        lease_s: For how long the change lasts; None for good.
    """

    run: str
    step: str
    plan: Plan
    evidence: Mapping[str, Evidence]
    runbook: str
    cause: str = ""
    processes: tuple[tuple[int, int], ...] = ()
    lease_s: float | None = None


def digest(bound: Bound) -> str:
    """SHA-256 (hex) over it as JSON with sorted keys; 5 MB of evidence take about 30 ms."""
    return hashlib.sha256(msgspec.json.encode(bound, order="sorted")).hexdigest()


def fingerprint(runbook: str) -> str:
    """SHA-256 (hex) of a runbook's text."""
    return hashlib.sha256(runbook.encode("utf-8", "surrogatepass")).hexdigest()


def processes(target: Target | None) -> tuple[tuple[int, int], ...]:
    """Pid and start of each of a target's processes."""
    return tuple((one.pid, one.started_ticks) for one in target.processes) if target else ()


# ── how requests stand ──────────────────────────────────────────────────────────


class Standing(NamedTuple):
    """A request that is open, approved and not used, or denied.

    Attributes:
        decisions: Of the guards, when it was asked for.
        ruled: ``approved`` or ``denied``; None while it is open.
    """

    requested: Requested
    planned: Planned
    decisions: tuple[Decision, ...]
    ruled: Ruled | None = None

    @property
    def approved(self) -> bool:
        """Whether there is a yes that is not used yet."""
        return self.ruled is not None and self.ruled.answer == "approved"

    @property
    def denied(self) -> bool:
        """Whether it was answered with no."""
        return self.ruled is not None and self.ruled.answer == "denied"


def standing(events: Iterable[Event]) -> dict[str, Standing]:
    """Requests that count, by step. A yes is used up by the change that was announced with it.

    A change that was announced and then found never made leaves its yes as it was.
    """
    planned: dict[str, Planned] = {}
    judged: dict[str, Judged] = {}
    found: dict[str, Standing] = {}
    used: dict[int, Standing] = {}
    for event in events:
        match event:
            case Planned():
                planned[event.step] = event
            case Judged():
                judged[event.step] = event
            case Requested(step=step):
                found[step] = Standing(event, planned[step], judged[step].decisions if step in judged else ())
            case Ruled():
                _rule(found, event)
            case Intended(step=step) if step in found:
                used[event.attempt] = found.pop(step)
            case Settled(state="not-made") if event.attempt in used:
                again = used.pop(event.attempt)
                found[again.requested.step] = again
    return found


def _rule(found: dict[str, Standing], ruled: Ruled) -> None:
    one = found.get(ruled.step)
    if one is None or one.requested.digest != ruled.digest:
        return
    if ruled.answer in {"approved", "denied"}:
        found[ruled.step] = one._replace(ruled=ruled)
    else:
        del found[ruled.step]


# ── drift ───────────────────────────────────────────────────────────────────────


class Found(NamedTuple):
    """How things are, then or now.

    Attributes:
        knobs: What the remediation has read, by knob.
        decisions: The guards' answers to the plan that was approved.
    """

    plan: Plan
    knobs: Mapping[str, KnobValue]
    decisions: tuple[Decision, ...]
    cause: str
    processes: tuple[tuple[int, int], ...]


def then(one: Standing) -> Found:
    """How things were when a change was asked for."""
    asked = one.requested
    return Found(one.planned.plan, one.planned.knobs, one.decisions, asked.cause, asked.processes)


def drift(approved: Found, now: Found) -> tuple[str, ...]:
    """Why what was approved can't be carried out any more, each reason with its values; none: it can."""
    return (
        *_processes(approved, now),
        *_knobs(approved, now),
        *_cause(approved, now),
        *_changes(approved, now),
        *_guards(approved, now),
    )


def _processes(approved: Found, now: Found) -> Iterator[str]:
    """Those that were there must be there still; further ones are its helpers."""
    gone = [one for one in approved.processes if one not in now.processes]
    if gone or (now.processes and not approved.processes):
        was, here = (
            ", ".join(str(pid) for pid, _ in some) or "none" for some in (approved.processes, now.processes)
        )
        yield f"the target was restarted since: process {was} then, {here} now"


def _knobs(approved: Found, now: Found) -> Iterator[str]:
    """What is to be changed must read as it did."""
    for change in approved.plan.changes:
        if not _has_moved(change, approved, now):
            continue
        name = change.knob.name
        was, here = approved.knobs[name], now.knobs[name]
        shown = f"can't be read ({here.missing})" if here.missing else f"is {text.setting(here.value)}"
        yield f"{change.where or name} {shown} now, and was {text.setting(was.value)}"


def _has_moved(change: Change, approved: Found, now: Found) -> bool:
    """Whether the knob of a change reads otherwise."""
    was, here = approved.knobs.get(change.knob.name), now.knobs.get(change.knob.name)
    return was is not None and here is not None and was.value != here.value


def _cause(approved: Found, now: Found) -> Iterator[str]:
    if approved.cause != now.cause:
        yield f"the first cause is {now.cause or 'unknown'} now, and was {approved.cause or 'unknown'}"


def _changes(approved: Found, now: Found) -> Iterator[str]:
    """A fresh plan must want the same; that a knob reads otherwise is said already."""
    wanted = {_place(one): one for one in now.plan.changes}
    for one in approved.plan.changes:
        fresh = wanted.pop(_place(one), None)
        if fresh is None:
            yield f"a fresh plan does not change {one.where or one.knob.name}"
        elif _has_moved(one, approved, now):
            continue
        elif (fresh.before, fresh.final) != (one.before, one.final):
            yield f"{one.where or one.knob.name} is {fresh.before_text} now, and was {one.before_text}"
        elif not _near(one, fresh.after):
            yield f"{one.where or one.knob.name} would be set to {fresh.after_text} now, not {one.after_text}"
    for fresh in wanted.values():
        yield f"a fresh plan changes {fresh.where or fresh.knob.name} too"
    if now.plan.changes and _RISKS.index(now.plan.risk) > _RISKS.index(approved.plan.risk):
        yield f"the risk is {now.plan.risk} now, and was {approved.plan.risk}"


def _guards(approved: Found, now: Found) -> Iterator[str]:
    """No guard may forbid it, and none may ask what its approver was not asked."""
    asked = {one.guard for one in approved.decisions if one.answer == "ask"}
    for one in now.decisions:
        if one.answer == "deny":
            yield f"{one.guard} forbids it now: {one.because}"
        elif one.answer == "ask" and one.guard not in asked:
            yield f"{one.guard} asks for a yes now: {one.because}"


_RISKS = ("low", "medium", "high")


def _place(change: Change) -> tuple[str, str, str, str]:
    knob = change.knob
    return knob.name, knob.backend, knob.file, knob.path


def _near(approved: Change, after: Setting) -> bool:
    """Whether a fresh value calls for the approved one still."""
    wanted, before = approved.after, approved.before
    if wanted == after or not (_is_number(wanted) and _is_number(after)):
        return wanted == after
    step = wanted - before if _is_number(before) else wanted
    return abs(after - wanted) <= NEAR * abs(step)


def _is_number(value: Setting) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
