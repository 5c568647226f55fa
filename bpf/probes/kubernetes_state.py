"""How a workload of Kubernetes stands: its pods, their nodes, what was refused, its namespace.

One promise: what the server does not let us see is unknown, with the reason; the rest is told.

Not here: what it is allowed (``bpf.probes.kubernetes``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from bpf.rights.needs import version
from engine.cluster import admission, workload
from engine.cluster.source import Found
from engine.cluster.targets import pods_of
from engine.cluster.workload import Object
from engine.errors import RunbookError
from engine.values import Field, Reading, Scalar

Asked = TypeVar("Asked")

_NO_SERVER = "a manifest file tells nothing of pods, nodes and the namespace's rules"
_REFUSED = ("FailedCreate", "FailedCreatePodSandBox")

FIELDS: dict[str, Field] = {
    "pods_wanted": Field(help="pods that there should be"),
    "pods_ready": Field(help="pods that say they are ready"),
    "pods_not_ready": Field(help="pods that there should be and that are not ready"),
    "restarts": Field(help="restarts of the container, of all pods together"),
    "trouble": Field(help="why the container does not run, in the kubelet's words", type="text"),
    "last_exit": Field(help="how the container ended last", type="text"),
    "refusals": Field(help="pods that the platform refused to make, within an hour"),
    "refusal": Field(help="why, in its words", type="text"),
    "admission_level": Field(help="Pod Security level that the namespace enforces", type="text"),
    "kernel_release": Field(help="the oldest kernel of its nodes", type="text"),
    "runtime": Field(help="container runtime of its nodes", type="text"),
}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Readings and rows of what runs; and what the judgement of rights needs of it.

    Attributes:
        kernels: Versions of the kernels that its pods run on.
        runtime: Of its nodes: ``containerd://1.7.2``.
        level: The Pod Security level enforced on it; empty for none.
    """

    readings: dict[str, Reading]
    pods: tuple[dict[str, Scalar], ...] = ()
    kernels: tuple[int, ...] = ()
    runtime: str = ""
    level: str = ""
    notes: tuple[str, ...] = ()


def state(found: Found) -> State:
    """Ask the server; of a manifest there is nothing to be said."""
    server = found.cluster
    if server is None:
        return State(readings={}, notes=(_NO_SERVER,))
    ask = _Asking()
    pods = ask(lambda: pods_of(found))
    nodes = _nodes_of(pods or [], ask(server.nodes) or [])
    space = ask(lambda: server.space(found.ref.namespace))
    uid = str(found.content["metadata"].get("uid", ""))
    events = ask(
        lambda: [event for one in _makers(found, uid) for event in server.events(found.ref.namespace, one)]
    )
    level = admission.level(space) if space else ""
    releases = sorted(
        {_info(node, "kernelVersion") for node in nodes} - {""}, key=lambda one: version(one) or 0
    )
    runtime = _info(nodes[0], "containerRuntimeVersion") if nodes else ""
    unseen = "; ".join(ask.refused)
    return State(
        readings={
            **_counts(found, pods, unseen),
            **_refusals(events, unseen),
            "admission_level": _text((level or "none") if space is not None else "", unseen),
            "kernel_release": _text(releases[0] if releases else "", unseen or "no pod of it has a node"),
            "runtime": _text(runtime, unseen or "no pod of it has a node"),
        },
        pods=tuple(_row(pod, found.ref.container) for pod in pods or ()),
        kernels=tuple(number for one in releases if (number := version(one)) is not None),
        runtime=runtime,
        level=level,
        notes=tuple(ask.refused),
    )


class _Asking:
    """Asks the server; a refusal is kept as a note, and the answer is None."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def __call__(self, question: Callable[[], Asked]) -> Asked | None:
        try:
            return question()
        except RunbookError as error:
            self.refused.append(error.problem)
            return None


def _makers(found: Found, uid: str) -> list[str]:
    """Uids of the objects that make its pods: itself, or a deployment's replica sets."""
    if found.ref.kind != "deployment" or found.cluster is None:
        return [uid]
    sets = found.cluster.replica_sets(found.ref.namespace, workload.selector(found.content))
    return [str(one["metadata"].get("uid")) for one in sets if workload.owned_by(one, {uid})]


def _nodes_of(pods: list[Object], nodes: list[Object]) -> list[Object]:
    used = {str(pod.get("spec", {}).get("nodeName") or "") for pod in pods}
    return [node for node in nodes if node["metadata"]["name"] in used]


def _info(node: Object, name: str) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get(name, ""))


def _counts(found: Found, pods: list[Object] | None, unseen: str) -> dict[str, Reading]:
    content, container = found.content, found.ref.container
    status, spec = content.get("status") or {}, content.get("spec") or {}
    wanted = (
        status.get("desiredNumberScheduled") if found.ref.kind == "daemonset" else spec.get("replicas", 1)
    )
    if pods is None:
        ready = status.get("numberReady", status.get("readyReplicas"))
    else:
        ready = sum(workload.ready(pod) for pod in pods)
    statuses = [workload.status_of(pod, container) for pod in pods or ()]
    troubles = [words for pod in pods or () if (words := workload.trouble(pod, container))]
    exits = [_exit(one) for one in statuses]
    why = unseen or "the server does not say"
    return {
        "pods_wanted": Reading(value=wanted, missing="" if wanted is not None else why),
        "pods_ready": Reading(value=ready, missing="" if ready is not None else why),
        "pods_not_ready": (
            Reading(value=max(0, wanted - ready))
            if wanted is not None and ready is not None
            else Reading(missing=why)
        ),
        "restarts": (
            Reading(missing=why)
            if pods is None
            else Reading(value=sum(int(one.get("restartCount", 0)) for one in statuses))
        ),
        "trouble": _text(troubles[0] if troubles else "", unseen or "no pod is in trouble"),
        "last_exit": _text(next(filter(None, exits), ""), unseen or "the container never ended"),
    }


def _exit(status: Object) -> str:
    ended = (status.get("lastState") or {}).get("terminated") or {}
    words = (
        str(ended.get("reason", "")),
        f"exit code {ended.get('exitCode')}",
        str(ended.get("message", "")),
    )
    return ", ".join(word.strip() for word in words if word.strip()) if ended else ""


def _refusals(events: list[Object] | None, unseen: str) -> dict[str, Reading]:
    if events is None:
        return {"refusals": Reading(missing=unseen), "refusal": Reading(missing=unseen)}
    refused = [event for event in events if event.get("reason") in _REFUSED]
    last = max(
        refused, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""), default={}
    )
    total = sum(int(one.get("count") or 1) for one in refused)
    return {
        "refusals": Reading(value=total, source="events"),
        "refusal": _text(str(last.get("message", "")), "nothing was refused"),
    }


def _row(pod: Object, container: str) -> dict[str, Scalar]:
    return {
        "pod": str(pod["metadata"]["name"]),
        "node": str(pod.get("spec", {}).get("nodeName") or ""),
        "ready": "yes" if workload.ready(pod) else "no",
        "restarts": int(workload.status_of(pod, container).get("restartCount", 0)),
        "trouble": workload.trouble(pod, container),
    }


def _text(value: str, missing: str) -> Reading:
    return Reading(value=value) if value else Reading(missing=missing or "the server does not say")
