"""A workload of Kubernetes as a target of the engine: ``--target k8s:falco/daemonset/falco``.

One promise: what is given exists now, exactly one container of exactly one workload; its ``ref`` is
enough to find it again. Where one of its pods runs on this very machine, the container's processes
are the target's processes; elsewhere it has none.

Announced in group ``runbook.targets`` under the scheme of its refs.
"""

from __future__ import annotations

from typing import Any

from engine.cluster import here, source, workload
from engine.cluster.ref import Ref, parse
from engine.errors import RunbookError
from engine.values import Knob, Process, Reload, Target

#: The one knob of a workload that we turn.
KNOB = "security-context"


def find(text: str) -> Target:
    """The target behind a ref.

    Raises:
        RunbookError: It can't be read, does not exist, or is not the only one.
    """
    found = source.find(parse(text))
    ref = found.ref
    return Target(
        name=f"{ref.kind}/{ref.name}",
        ref=str(ref),
        profile="kubernetes",
        processes=_here(found),
        knobs={KNOB: knob(ref)},
        config_file=ref.manifest,
        facts={
            "namespace": ref.namespace,
            "kind": ref.kind,
            "workload": ref.name,
            "container": ref.container,
            "image": str(found.container.get("image", "")),
        },
    )


def knob(ref: Ref) -> Knob:
    """The security context of a workload's container, as a knob."""
    loses = () if ref.manifest else ("the state of every pod: they are replaced one after the other",)
    return Knob(
        name=KNOB,
        backend="kubernetes",
        file=ref.manifest,
        path=str(ref),
        unit="text",
        reload=Reload(by="none", loses=loses),
        help="What the container is allowed: capabilities, profiles, host namespaces, mounts",
    )


def _here(found: source.Found) -> tuple[Process, ...]:
    """Its processes on this machine; none when that can't be told."""
    if found.cluster is None:
        return ()
    try:
        return here.processes(pods_of(found), found.ref.container)
    except RunbookError:
        return ()


def pods_of(found: source.Found) -> list[dict[str, Any]]:
    """The pods of a workload, itself when it is one.

    Raises:
        RunbookError: The server refuses to list them.
    """
    if found.cluster is None:
        return []
    ref, content = found.ref, found.content
    if ref.kind == "pod":
        return [content]
    chosen = workload.selector(content)
    pods = found.cluster.every("pod", ref.namespace, chosen)
    owners = {str(content["metadata"].get("uid", ""))}
    if ref.kind == "deployment":
        sets = found.cluster.replica_sets(ref.namespace, chosen)
        owners = {str(one["metadata"].get("uid")) for one in sets if workload.owned_by(one, owners)}
    return [pod for pod in pods if workload.owned_by(pod, owners)]
