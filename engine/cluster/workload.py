"""What stands in the object of a workload: its pod template, its container, its state.

One promise: pure reading of plain dicts, as the API server or a YAML file gives them; what is
absent reads as absent, never as a guess.

Not here: where the object comes from (``engine.cluster.source``), what it should hold (``bpf.rights``).
Source: the Kubernetes API reference, apps/v1 and core/v1.
"""

from __future__ import annotations

from typing import Any

from engine.errors import TargetAmbiguous, TargetNotFound, nearest

Object = dict[str, Any]

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def kind_of(found: Object) -> str:
    """``daemonset`` …, in lower case."""
    return str(found.get("kind", "")).lower()


def template_path(kind: str) -> tuple[str, ...]:
    """Where the pod's own specification stands in an object of this kind."""
    return ("spec",) if kind == "pod" else ("spec", "template", "spec")


def template(found: Object) -> Object:
    """Metadata and specification of the pods: the pod itself, or the workload's template."""
    return found if kind_of(found) == "pod" else dict(found.get("spec", {}).get("template", {}))


def pod_spec(found: Object) -> Object:
    """The specification of its pods."""
    return dict(template(found).get("spec") or {})


def containers(found: Object) -> list[Object]:
    """The containers of its pods, without the init containers."""
    return list(pod_spec(found).get("containers") or ())


def container(found: Object, wanted: str, shown: str) -> Object:
    """The container that is meant: the named one, the only one, or the one that kubectl would take.

    Raises:
        TargetNotFound: There is none of this name.
        TargetAmbiguous: There are several and none is named.
    """
    everyone = {str(one.get("name", "")): one for one in containers(found)}
    annotated = (template(found).get("metadata") or {}).get("annotations") or {}
    name = wanted or str(annotated.get(_DEFAULT_CONTAINER, ""))
    listed = ", ".join(everyone)
    if name in everyone:
        return everyone[name]
    if wanted:
        near = nearest(wanted, everyone)
        hint = f"did you mean {near!r}?" if near else f"one of: {listed or '-'}"
        raise TargetNotFound(f"{shown} has no container {wanted!r}", fix=hint)
    if len(everyone) == 1:
        return next(iter(everyone.values()))
    if not everyone:
        raise TargetNotFound(f"{shown} has no containers", fix="look at its pod template")
    raise TargetAmbiguous(
        f"{shown} has {len(everyone)} containers: {listed}",
        fix=f"say which one loads BPF programs: container={next(iter(everyone))}",
    )


def selector(found: Object) -> str:
    """The label selector of its pods, as the API takes it; empty where it has none."""
    chosen = found.get("spec", {}).get("selector") or {}
    labels = [f"{key}={value}" for key, value in (chosen.get("matchLabels") or {}).items()]
    for one in chosen.get("matchExpressions") or ():
        key, values = one.get("key"), ",".join(one.get("values") or ())
        match one.get("operator"):
            case "In":
                labels.append(f"{key} in ({values})")
            case "NotIn":
                labels.append(f"{key} notin ({values})")
            case "Exists":
                labels.append(str(key))
            case "DoesNotExist":
                labels.append(f"!{key}")
    return ",".join(labels)


def owned_by(pod: Object, owners: set[str]) -> bool:
    """Whether one of these uids is the pod's controller."""
    listed = pod.get("metadata", {}).get("ownerReferences") or ()
    return any(one.get("uid") in owners for one in listed)


def ready(pod: Object) -> bool:
    """Whether the pod says that it is ready, and is not on its way out."""
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def status_of(pod: Object, name: str) -> Object:
    """The status of one container of a pod; empty before it was made."""
    listed = pod.get("status", {}).get("containerStatuses") or ()
    return next((one for one in listed if one.get("name") == name), {})


def trouble(pod: Object, name: str) -> str:
    """Why this container of the pod does not run, in the kubelet's words; empty when it does."""
    state = status_of(pod, name).get("state") or {}
    for how in ("waiting", "terminated"):
        if state.get(how):
            said = state[how]
            words = [str(said.get("reason", how)), str(said.get("message", ""))]
            return ": ".join(word for word in words if word)
    unscheduled = [
        str(one.get("message", one.get("reason", "")))
        for one in pod.get("status", {}).get("conditions") or ()
        if one.get("type") == "PodScheduled" and one.get("status") == "False"
    ]
    return unscheduled[0] if unscheduled else ""
