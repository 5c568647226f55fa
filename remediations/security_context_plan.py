"""The planning half of ``security-context``: from what is lacking to the smallest patch.

Not here: making it (``security_context``), what each addition looks like (``least_privilege``).
"""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

import msgspec

from engine.cluster import admission, manifest, workload
from engine.cluster.ref import Ref, parse
from engine.cluster.workload import Object
from engine.errors import RunbookError
from engine.values import Change, Plan, Prediction, Risk
from remediations.knobs import manifest_text, pod_parts
from remediations.knobs.backend import NotChanged
from remediations.least_privilege import Draft
from remediations.options import says
from remediations.planning import KnobPlanner, Question, nothing

_SECCOMP = "seccomp_or_container_policy"


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    ready_within: Annotated[float, says("s", "How long the pods may take to become ready.")] = 300.0
    run_as_root: Annotated[
        bool, says("yes or no", "Let it start as root where another user gets no rights.")
    ] = False
    seccomp_profile: Annotated[
        str | None,
        says("text", "Where seccomp is the cause: a profile on the nodes, or Unconfined (high risk)."),
    ] = None
    allow_privileged: Annotated[
        bool, says("yes or no", "Where nothing finer is left, propose privileged: true (high risk).")
    ] = False


class Workload(msgspec.Struct, frozen=True):
    """What a plan is made of: the object, which container, its parts, and the manifest's text."""

    ref: Ref
    content: Object
    parts: Object
    text: str = ""
    document: int = 0


class SecurityContextPlanner(KnobPlanner[Options]):
    """Decides on the smallest patch for what is lacking."""

    name = "security-context"
    summary = "Give a Kubernetes container what its BPF programs lack, and no more."
    knob = "security-context"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """Each measured lack becomes one addition; what the platform forbids is not tried."""
        seen = _workload(asked)
        _must_be_possible(seen)
        draft = Draft(seen.parts)
        warnings = _finer(asked, draft)
        if not draft.steps:
            _coarser(asked, draft)
        _must_be_admitted(asked, seen, draft)
        return _plan(self.name, asked, seen, draft, warnings)


def _workload(asked: Question[Options]) -> Workload:
    """The object of the case, from what was read."""
    ref = parse(asked.knob.path)
    parts = pod_parts.of_text(asked.now.value)
    text = str(asked.now.raw)
    if not ref.manifest:
        return Workload(ref, json.loads(text), parts)
    try:
        document = manifest.find(text, ref)
    except RunbookError as error:
        nothing(f"{error.problem} ({error.fix})")
    return Workload(ref, document.content, parts, text, document.index)


def _must_be_possible(seen: Workload) -> None:
    if seen.ref.manifest:
        return
    owner: Object = next(iter(seen.content["metadata"].get("ownerReferences") or ()), {})
    if seen.ref.kind == "pod":
        nothing(
            f"{seen.ref.shown} is a pod, whose security context can't be changed: "
            + (
                f"change the {owner['kind']} {owner['name']} that made it"
                if owner
                else "delete it and make it anew"
            )
        )
    strategy = (seen.content["spec"].get("updateStrategy") or {}).get("type")
    if strategy == "OnDelete":
        nothing(
            f"{seen.ref.shown} makes no pod anew by itself (updateStrategy OnDelete), "
            "so that a change could not be proven"
        )


def _finer(asked: Question[Options], draft: Draft) -> list[str]:
    """Everything that is lacking; gives what to mind."""
    missing, mounts = _words(asked, "missing_capabilities"), _words(asked, "missing_mounts")
    cause = asked.case.verdict.causes[0].name if asked.case.verdict and asked.case.verdict.causes else ""
    warnings = []
    draft.capabilities(missing)
    for path in mounts:
        draft.mount(path)
    if asked.case.text("kube.host_pid_missing") == "yes":
        draft.host_pid()
    if cause == _SECCOMP and asked.options.seccomp_profile:
        draft.seccomp(asked.options.seccomp_profile)
    needs = asked.case.text("kube.needed_capabilities") not in (None, "none")
    if needs and asked.case.text("kube.non_root") == "yes" and asked.case.text("kube.privileged") != "yes":
        warnings += _as_another_user(asked, draft)
    return warnings


def _as_another_user(asked: Question[Options], draft: Draft) -> list[str]:
    """Only root gets added capabilities on exec; another user only by its executable's own."""
    if asked.options.run_as_root:
        draft.root()
        return []
    if asked.case.text("kube.escalation") == "no":
        nothing(
            "it starts as another user than root, whose executable's capabilities are ignored "
            "(allowPrivilegeEscalation: false), so no added capability reaches it: let it start as root "
            "(run_as_root: true), or give the executable capabilities and allow the escalation"
        )
    return ["it does not start as root: added capabilities reach it only through setcap on its executable"]


def _coarser(asked: Question[Options], draft: Draft) -> None:
    """Nothing finer is left."""
    if asked.options.allow_privileged and asked.case.text("kube.privileged") != "yes":
        draft.privileged()
        return
    asked.need("kube.lacking")
    cause = asked.case.verdict.causes[0] if asked.case.verdict and asked.case.verdict.causes else None
    hint = f"; the likeliest cause is {cause.name}, which no added right mends" if cause else ""
    nothing(f"the container is given everything that its programs are known to need{hint}")


def _must_be_admitted(asked: Question[Options], seen: Workload, draft: Draft) -> None:
    level = asked.case.text("kube.admission_level") or ""
    after = pod_parts.put(seen.content, seen.ref.container, draft.parts)
    before = admission.forbids(level, workload.pod_spec(seen.content))
    new = [one for one in admission.forbids(level, workload.pod_spec(after)) if one not in before]
    if new:
        nothing(
            f"namespace {seen.ref.namespace} enforces the Pod Security level {level!r}, which forbids "
            f"{', '.join(new)}: move the workload to a namespace for privileged ones, or have whoever runs "
            f"the cluster set its label {admission.ENFORCE}=privileged"
        )


def _plan(name: str, asked: Question[Options], seen: Workload, draft: Draft, warnings: list[str]) -> Plan:
    words = "; ".join(step.words for step in draft.steps)
    risk: Risk = (
        "high" if any(step.words.startswith(("privileged", "seccomp")) for step in draft.steps) else "medium"
    )
    change, backward = _change(asked, seen, draft, words)
    return Plan(
        remediation=name,
        changes=(change,),
        reason=f"{words}: {change.why}",
        predictions=_predictions(asked, seen),
        risk=risk,
        loses=change.knob.reload.loses,
        undo_by_hand=backward,
        warnings=(*warnings, *_mind(draft, seen)),
    )


def _change(asked: Question[Options], seen: Workload, draft: Draft, words: str) -> tuple[Change, str]:
    """The change, and its undo by hand."""
    ref, knob = seen.ref, asked.knob
    reload = msgspec.structs.replace(knob.reload, settle_s=asked.options.ready_within)
    if ref.manifest:
        try:
            after = manifest_text.edited(ref.manifest, seen.text, seen.document, ref.container, draft.parts)
        except NotChanged as error:
            nothing(f"{error.problem} ({error.fix})")
        detail = manifest_text.unified(seen.text, after, ref.manifest.lstrip("/"))
        backward = f"take the lines marked + in the diff out of {ref.manifest}"
    else:
        forward, back = (
            pod_parts.patch(seen.content, ref.container, old, new)
            for old, new in ((seen.parts, draft.parts), (draft.parts, seen.parts))
        )
        detail = "\n".join(json.dumps(one) for one in forward)
        backward = _kubectl(ref, back)
    change = Change(
        knob=msgspec.structs.replace(knob, reload=reload),
        before=pod_parts.text_of(seen.parts),
        after=pod_parts.text_of(draft.parts),
        before_text=_as_now(seen.parts),
        after_text=words,
        why=_why(asked),
        where=f"{ref.shown}, container {ref.container}",
        detail=detail,
    )
    return change, backward


def _kubectl(ref: Ref, patch: list[dict[str, Any]]) -> str:
    where = [
        f"--{key}={value}"
        for key, value in (("kubeconfig", ref.kubeconfig), ("context", ref.context))
        if value
    ]
    words = [
        "kubectl",
        *where,
        "-n",
        ref.namespace,
        "patch",
        ref.kind,
        ref.name,
        "--type=json",
        "-p",
        json.dumps(patch),
    ]
    return shlex.join(words)


def _as_now(parts: Object) -> str:
    added = ((parts.get("securityContext") or {}).get("capabilities") or {}).get("add") or ()
    return f"adds {', '.join(map(str, added))}" if added else "adds no capability"


def _why(asked: Question[Options]) -> str:
    """Each lack with its reason, from the probe's own table; else the cause."""
    seen = asked.case.evidence.get("kube")
    rows = [row for row in (seen.tables.get("needs") or () if seen else ()) if row.get("given") == "no"]
    said = [f"{row['needs']}: {row['why']}" for row in rows]
    verdict = asked.case.verdict
    return "; ".join(said) or (
        verdict.causes[0].sentence if verdict and verdict.causes else "the step asks for it"
    )


def _predictions(asked: Question[Options], seen: Workload) -> tuple[Prediction, ...]:
    lacking = asked.number("kube.lacking")
    found = [
        Prediction(
            measure="kube.lacking",
            before=lacking,
            after=0.0,
            at_most=True,
            arithmetic="each lack is met by one addition",
        )
    ]
    if not seen.ref.manifest:
        found.append(
            Prediction(
                measure="kube.pods_not_ready",
                before=asked.number("kube.pods_not_ready"),
                after=0.0,
                at_most=True,
                arithmetic="every pod that lacked a right has it",
            )
        )
    return tuple(found)


def _mind(draft: Draft, seen: Workload) -> list[str]:
    said = [f"{step.words} is a wide right" for step in draft.steps if step.risky]
    if seen.ref.manifest:
        said.append("the file is changed, not the cluster: apply it where it is applied from")
    labels = (seen.content.get("metadata") or {}).get("labels") or {}
    if labels.get("app.kubernetes.io/managed-by") and not seen.ref.manifest:
        said.append(f"{labels['app.kubernetes.io/managed-by']} may set it back: change it there too")
    return said


def _words(asked: Question[Options], name: str) -> list[str]:
    value = asked.case.text(f"kube.{name}")
    return [] if value in (None, "none") else str(value).split()
