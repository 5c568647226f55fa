"""Watching a change reach all pods of a workload, and stay.

One promise: "it is rolled out" is said only when the controller has seen this very version, every
pod is of it and available, and so they stayed for ``STEADY_S`` without a restart: a container
without a readiness probe counts as ready in the moment before it dies.

Not here: making the change (``kubernetes``). Source: what ``kubectl rollout status`` goes by.
"""

from __future__ import annotations

from engine.cluster import workload
from engine.cluster.source import Found, find
from engine.cluster.targets import pods_of
from engine.cluster.workload import Object
from engine.contracts import Clock
from engine.errors import ChangeFailed, RunbookError

EVERY_S, STEADY_S = 1.0, 10.0


def wait(found: Found, generation: int, clock: Clock, seconds: float) -> None:
    """Wait until the workload is rolled out and has stayed so.

    Raises:
        ChangeFailed: It was not within ``seconds``, or the controller gave up.
    """
    deadline = clock.monotonic() + seconds
    since: float | None = None
    restarts = -1
    doing = "the controller has not seen it yet"
    while True:
        try:
            now = find(found.ref)
            doing = progress(now.content, generation)
            seen = _restarts(now) if not doing else restarts
        except RunbookError as error:  # an API server may be away for a moment
            doing, seen = error.problem, restarts
        moment = clock.monotonic()
        if doing or seen != restarts:
            since = None if doing else moment
            restarts = seen
        elif since is not None and moment - since >= STEADY_S:
            return
        if moment >= deadline or doing.startswith("gave up"):
            raise ChangeFailed(
                f"the pods of {found.ref.shown} are not well {seconds:g} s after the change: "
                f"{doing or 'its container restarts'}{_why(found)}",
                fix=f"kubectl -n {found.ref.namespace} describe pods; the change is taken back",
            )
        clock.sleep(EVERY_S)


def observed(found: Found, generation: int, clock: Clock, seconds: float = 10.0) -> bool:
    """Whether the controller has taken this version up, within ``seconds``."""
    deadline = clock.monotonic() + seconds
    while True:
        status = find(found.ref).content.get("status") or {}
        if int(status.get("observedGeneration") or 0) >= generation:
            return True
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(EVERY_S)


def progress(content: Object, generation: int) -> str:
    """What is still to be done; empty when every pod is of this version and available."""
    status, spec = content.get("status") or {}, content.get("spec") or {}
    if int(status.get("observedGeneration") or 0) < generation:
        return "the controller has not seen it yet"
    match workload.kind_of(content):
        case "daemonset":
            wanted = int(status.get("desiredNumberScheduled") or 0)
            updated, well = (
                int(status.get(key) or 0) for key in ("updatedNumberScheduled", "numberAvailable")
            )
        case "deployment":
            for one in status.get("conditions") or ():
                if one.get("type") == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded":
                    return f"gave up: {one.get('message', 'the progress deadline was exceeded')}"
            wanted = int(spec.get("replicas", 1))
            updated, well = (int(status.get(key) or 0) for key in ("updatedReplicas", "availableReplicas"))
            if int(status.get("replicas") or 0) > updated:
                return f"{int(status['replicas']) - updated} old pods are still to end"
        case _:
            wanted = int(spec.get("replicas", 1))
            updated, well = (int(status.get(key) or 0) for key in ("updatedReplicas", "readyReplicas"))
    if updated < wanted:
        return f"{updated} of {wanted} pods are made anew"
    return "" if well >= wanted else f"{well} of {wanted} pods are available"


def _restarts(found: Found) -> int:
    return sum(
        int(workload.status_of(pod, found.ref.container).get("restartCount", 0)) for pod in pods_of(found)
    )


def _why(found: Found) -> str:
    """What the kubelet says of a pod that is not well, or why none was made; empty when nothing is known."""
    try:
        server = found.cluster
        assert server is not None  # noqa: S101 - only workloads on a server roll out
        troubles = [workload.trouble(pod, found.ref.container) for pod in pods_of(found)]
        refused = [
            str(event.get("message", ""))
            for event in server.events(found.ref.namespace, str(found.content["metadata"].get("uid", "")))
            if event.get("reason") == "FailedCreate"
        ]
    except RunbookError:
        return ""
    said = next(filter(None, [*refused[-1:], *troubles]), "")
    return f" ({said})" if said else ""
