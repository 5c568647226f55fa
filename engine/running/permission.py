"""The yes that a change needs: used where it was given, asked for where somebody is there, else requested.

One promise: a change that must be asked for is made with a yes to that very change, or not at all.
A yes from outside is looked at again by what the resumed run has found: void, it is asked for anew.

Not here: what makes a yes void (``engine.running.bound``), plans and guards (``engine.running.proposal``),
whoever answers from outside (``engine.running.approval``).
"""

from __future__ import annotations

import msgspec

from engine import text
from engine.guarding.guards import Answer, strictest
from engine.language.model import Change
from engine.record import Event, Judged, Planned, Requested, Ruled, StepSkipped, Told
from engine.redaction import HERE, MASK
from engine.running import bound
from engine.running.bound import Found, Standing
from engine.running.proposal import Proposal, because, situation
from engine.running.scene import Scene, Turned
from engine.values import Decision, Plan


def permission(found: Proposal, step: Change, scene: Scene) -> Proposal | Turned:
    """What may be carried out: the proposal, or the one that was approved; else why nothing may.

    Writes the judgement down, and the request where nobody can be asked.
    """
    before = scene.requests.get(step.id)
    if before is not None and before.denied:
        return _denied(before, found, step, scene)
    if before is not None and (void := _void(before, found, scene)) is not None:
        scene.record(void)
        before = scene.requests.pop(step.id) and None
    if before is not None and before.approved:
        return _use(before, found, step, scene)
    return _ask(found, before, step, scene)


def nothing_left(step: Change, why: str, scene: Scene) -> None:
    """There is nothing to change any more: a request for it is void."""
    one = scene.requests.get(step.id)
    if one is not None and not one.denied:
        scene.record(_ruled(scene.requests.pop(step.id), "void", why, scene.now))


def leftovers(scene: Scene) -> list[Ruled]:
    """Requests that a run leaves behind when it ends."""
    left = [one for one in scene.requests.values() if not one.denied]
    skipped: dict[str, str] = {}
    if left:
        events = scene.log.journal.run(scene.head.id).events
        skipped = {one.step: one.because for one in events if isinstance(one, StepSkipped)}
    scene.requests = {step: one for step, one in scene.requests.items() if one.denied}
    return [_ruled(one, "void", _not_needed(one, skipped, scene), scene.now) for one in left]


def _not_needed(one: Standing, skipped: dict[str, str], scene: Scene) -> str:
    if scene.goal is not None and scene.goal.holds:
        return "it is not needed any more: the goal holds"
    why = skipped.get(one.requested.step, "")
    return f"the run did not come to it again{f': {why}' if why else ''}"


# ── a request from before ───────────────────────────────────────────────────────


def _void(one: Standing, found: Proposal, scene: Scene) -> Ruled | None:
    """Why a request, or the yes to it, counts no more; None when it does."""
    ruled = one.ruled
    if ruled is not None and ruled.use_by is not None and scene.now >= ruled.use_by:
        why = f"the yes was to be used by {text.day_and_time(ruled.use_by)}"
        return _ruled(one, "expired", why, scene.now)
    decisions = scene.tools.guard().decisions(
        one.planned.plan, situation(one.planned.plan, scene, one.requested.lease_s)
    )
    denials = tuple(each for each in found.decisions if each.answer == "deny" and each not in decisions)
    now = Found(
        HERE.struct(found.plan),
        {name: HERE.struct(value) for name, value in found.knobs.items()},
        (*decisions, *denials),
        first_cause(scene),
        bound.processes(scene.target),
    )
    reasons = bound.drift(bound.then(one), now)
    if not reasons and _approved(one, found) is None:
        reasons = ("its record had a secret taken out, and a fresh plan is not the same",)
    return _ruled(one, "void", "; ".join(reasons), scene.now) if reasons else None


def _approved(one: Standing, found: Proposal) -> Plan | None:
    """The plan that was approved; where a secret was taken out of its record, the fresh one, if the same."""
    plan = one.planned.plan
    if MASK.encode() not in msgspec.json.encode(plan):
        return plan
    return found.plan if HERE.struct(found.plan).changes == plan.changes else None


def _use(one: Standing, found: Proposal, step: Change, scene: Scene) -> Proposal:
    """Take the plan that was approved, to the letter."""
    plan, lease_s = _approved(one, found) or found.plan, one.requested.lease_s
    decisions = scene.tools.guard().decisions(plan, situation(plan, scene, lease_s))
    by = one.ruled.by if one.ruled else ""
    sentence = f"made as {by or 'somebody'} approved it: nothing that the yes was given for has changed"
    scene.note(Told(at=scene.now, step=step.id, sentence=sentence))
    if plan != found.plan:  # the record's last plan of a step is the one that was carried out
        scene.note(msgspec.structs.replace(one.planned, at=scene.now, knobs=found.knobs))
    scene.record(_judged(plan.remediation, decisions, strictest(decisions).answer, by, step, scene))
    del scene.requests[step.id]
    return Proposal(plan, decisions, strictest(decisions).answer, lease_s, found.knobs)


def _denied(one: Standing, found: Proposal, step: Change, scene: Scene) -> Turned:
    by = (one.ruled.by if one.ruled else "") or "the operator"
    no = Decision(answer="deny", guard="operator", because=f"{by} said no")
    name = found.plan.remediation
    scene.record(_judged(name, (*found.decisions, no), "deny", by, step, scene))
    return Turned("refused", no.because)


# ── asking ──────────────────────────────────────────────────────────────────────


def _ask(found: Proposal, before: Standing | None, step: Change, scene: Scene) -> Proposal | Turned:
    """Ask whoever must be asked; ``before``: the request for it that is open still."""
    plan, decisions, answer = found.plan, found.decisions, found.answer
    by, said = "", True
    if answer == "deny":
        return _held_back(found, decisions, step, scene, "")
    if answer == "ask" and scene.tools.yes and scene.tools.policy.yes_counts(plan.risk):
        by = f"{scene.tools.by} (--yes)".strip()
    elif answer == "ask":
        heard = scene.tools.watcher.ask(plan, decisions)
        if heard is None or scene.tools.cancel:
            return _wait(found, before, step, scene)
        by, said = scene.tools.by or "the operator", heard
    if before is not None:
        _answered_here(before, by, said, scene)
    if not said:
        no = Decision(answer="deny", guard="operator", because=f"{by} said no")
        return _held_back(found, (*decisions, no), step, scene, by)
    if by and not by.endswith("(--yes)"):
        # The answer took its time: the evidence may be old by now, a freeze may have begun.
        decisions = scene.tools.guard().decisions(plan, situation(plan, scene, found.lease_s))
        if strictest(decisions).answer == "deny":
            return _held_back(found, decisions, step, scene, by)
    scene.record(_judged(plan.remediation, decisions, answer, by, step, scene))
    return found


def _answered_here(before: Standing, by: str, said: bool, scene: Scene) -> None:
    """An open request, answered by whoever takes the run up; or a policy has come to let it pass."""
    del scene.requests[before.requested.step]
    answer, why = ("approved" if said else "denied", "") if by else ("void", "it needs no yes any more")
    scene.note(_ruled(before, answer, why, scene.now, by))


def _held_back(
    found: Proposal, decisions: tuple[Decision, ...], step: Change, scene: Scene, by: str
) -> Turned:
    scene.record(_judged(found.plan.remediation, decisions, "deny", by, step, scene))
    return Turned("refused", because(decisions, "deny"))


def _wait(found: Proposal, before: Standing | None, step: Change, scene: Scene) -> Turned:
    """Nobody can be asked now: judgement and request reach the disk together."""
    judged = _judged(found.plan.remediation, found.decisions, "ask", "", step, scene)
    asks = because(found.decisions, "ask")
    if scene.tools.cancel:
        scene.record(judged)
        return Turned("waiting", asks)
    if before is None:
        for one in leftovers(scene):
            scene.note(one)
        scene.note(judged)
        before = Standing(_requested(found, step, scene), _planned(found, step, scene), found.decisions)
        scene.record(before.requested)
    else:
        scene.record(judged)
    scene.requests[step.id] = before
    until = text.day_and_time(before.requested.decide_by)
    return Turned("waiting", f"{asks} (until {until}: runbook approve {scene.head.id.partition('.')[0]})")


def _planned(found: Proposal, step: Change, scene: Scene) -> Planned:
    return Planned(at=scene.now, step=step.id, plan=found.plan, knobs=dict(found.knobs))


def _requested(found: Proposal, step: Change, scene: Scene) -> Requested:
    waits = scene.tools.policy.approval
    cause, running = first_cause(scene), bound.processes(scene.target)
    looked_at = bound.Bound(
        run=scene.head.id,
        step=step.id,
        plan=found.plan,
        evidence=scene.evidence,
        runbook=bound.fingerprint(scene.head.runbook_text),
        cause=cause,
        processes=running,
        lease_s=found.lease_s,
    )
    return Requested(
        at=scene.now,
        step=step.id,
        remediation=found.plan.remediation,
        digest=bound.digest(looked_at),
        decide_by=scene.now + float(waits.expires),
        use_within=float(waits.use_within),
        evidence_at=min((seen.ended_at for seen in scene.evidence.values()), default=scene.now),
        cause=cause,
        processes=running,
        lease_s=found.lease_s,
        evidence=tuple(sorted((name, seen.started_at) for name, seen in scene.evidence.items())),
    )


def first_cause(scene: Scene) -> str:
    """The name of the first cause as of now; empty for none."""
    for verdict in reversed(scene.verdicts.values()):
        return verdict.causes[0].name if verdict.causes else ""
    return ""


def _judged(  # noqa: PLR0913, PLR0917 - the event's own fields
    remediation: str, decisions: tuple[Decision, ...], answer: Answer, by: str, step: Change, scene: Scene
) -> Event:
    return Judged(
        at=scene.now, step=step.id, remediation=remediation, decisions=decisions, answer=answer, by=by
    )


def _ruled(one: Standing, answer: str, why: str, now: float, by: str = "") -> Ruled:
    return Ruled(
        at=now,
        step=one.requested.step,
        digest=one.requested.digest,
        answer=answer,  # type: ignore[arg-type]
        because=why,
        by=by,
        via="terminal" if by else "engine",
    )
