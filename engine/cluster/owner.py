"""The workload of a process on this machine: which container of which DaemonSet, Deployment or StatefulSet.

One promise: it is told by the container's own id, 64 hex digits in the process's cgroup, or not at all.

Source: the kubelet's cgroup names (``kubepods…/pod<uid>/…<container id>``). Cost: one or two requests to
the API server, for the pods of this node.

Not here: the other way round (``engine.cluster.here``).
"""

from __future__ import annotations

import os
import re

from engine.cluster import api
from engine.cluster.ref import KINDS, Ref
from engine.cluster.workload import Object
from engine.errors import TargetNotFound
from engine.values import Process

_ID = re.compile(r"[0-9a-f]{64}")


def in_pod(process: Process) -> bool:
    """Whether it runs in a pod, as the kubelet names the cgroups of those."""
    return "kubepods" in process.cgroup and _ID.search(process.cgroup) is not None


def find(process: Process, where: Ref, node: str = "") -> Ref:
    """The workload of a process that runs in a pod.

    Args:
        process: Whose.
        where: Which kubeconfig and context; its name counts for nothing.
        node: As the cluster names this machine; by default its host name.

    Raises:
        TargetNotFound: No pod of this node has such a container.
        RunbookError: The server can't be asked.
    """
    identity = (_ID.findall(process.cgroup) or [""])[-1]
    node = node or os.uname().nodename
    cluster = api.connect(where)
    for pod in cluster.pods_on(node):
        for status in pod.get("status", {}).get("containerStatuses") or ():
            if identity and str(status.get("containerID", "")).endswith(identity):
                return _owner(cluster, pod, str(status["name"]), where)
    raise TargetNotFound(
        f"no pod of node {node} has the container of pid {process.pid}",
        fix="name the workload: --target k8s:NAMESPACE/KIND/NAME",
    )


def _owner(cluster: api.Cluster, pod: Object, container: str, where: Ref) -> Ref:
    """Who makes pods like this one; the pod itself where nobody does."""
    metadata = pod["metadata"]
    space = str(metadata["namespace"])
    owner = _controller(pod)
    if owner.get("kind") == "ReplicaSet":
        sets = {str(one["metadata"]["name"]): one for one in cluster.replica_sets(space, "")}
        owner = _controller(sets.get(str(owner["name"]), {})) or owner
    kind = str(owner.get("kind", "")).lower()
    if kind not in KINDS:
        kind, owner = "pod", metadata
    return Ref(
        namespace=space,
        kind=kind,
        name=str(owner["name"]),
        container=container,
        kubeconfig=where.kubeconfig,
        context=where.context,
    )


def _controller(content: Object) -> Object:
    listed = content.get("metadata", {}).get("ownerReferences") or ()
    return next((one for one in listed if one.get("controller")), {})
