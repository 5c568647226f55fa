"""Which workload of Kubernetes a target is: by its own ref, by its profile, or by the pod it runs in.

Not here: the workload's object (``engine.cluster.source``).
"""

from __future__ import annotations

from functools import lru_cache

from engine.cluster import errors, owner
from engine.cluster.ref import SCHEME, Ref, parse
from engine.cluster.source import Found, find
from engine.errors import RunbookError
from engine.values import Process, Target
from remediations.knobs.backend import NotChanged


class NotInPod(NotChanged):
    """The target does not run in Kubernetes: the setting stands elsewhere, if anywhere."""


def workload_of(target: Target) -> Found:
    """The workload of a target, read anew.

    Raises:
        NotInPod: It does not run in a pod, as far as can be seen here.
        NotChanged: It does, and the server does not say more; or it stands in a file.
    """
    try:
        found = find(_ref(target))
    except errors.NotThere as error:
        raise NotChanged(error.problem, fix=error.fix) from None
    except NotChanged:
        raise
    except RunbookError as error:
        raise NotChanged(error.problem, fix=error.fix) from None
    if found.cluster is None:
        raise NotChanged(
            f"{found.ref.shown} is a file: its settings are not changed there", fix="change them by hand"
        )
    return found


def _ref(target: Target) -> Ref:
    named = target.ref if target.ref.startswith(f"{SCHEME}:") else target.facts.get("kubernetes", "")
    if named:
        return parse(named)
    pods = [process for process in target.processes if owner.in_pod(process)]
    if not pods:
        raise NotInPod(
            f"{target.name} runs in no pod here", fix="name its workload: --target k8s:NAMESPACE/KIND/NAME"
        )
    return _owner(pods[0])


@lru_cache(maxsize=64)
def _owner(process: Process) -> Ref:
    """Asked once for a process: a container never changes its workload."""
    return owner.find(process, Ref(name="any"))
