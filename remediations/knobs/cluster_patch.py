"""One object on an API server changed by compare-and-set, as often as it takes.

One promise: a patch bears the version of the object that it was made from. Where only something else of
the object has changed meanwhile it is made anew; where what it changes has, the maker refuses.

Not here: what to change (``kubernetes_setting``), the security context (``kubernetes``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.cluster import errors
from engine.cluster.api import Answer, Cluster
from engine.cluster.ref import Ref
from engine.cluster.workload import Object
from engine.errors import ChangeFailed, RunbookError
from engine.values import Setting
from remediations.knobs.backend import NotChanged
from remediations.knobs.json_patch import Operation

#: The status of a busy workload changes its version all the time: as often we try again.
_TRIES = 6


class Held(NamedTuple):
    """What a setting on a server holds: its value and its text, None where it is not set."""

    value: Setting
    raw: str | None
    source: str


def patched(
    cluster: Cluster, ref: Ref, make: Callable[[Object], list[Operation]], *, rehearse: bool = False
) -> Answer | None:
    """Patch an object by what ``make`` makes of it; None when that is nothing.

    Args:
        cluster: The server.
        ref: Which object.
        make: The operations for this version of it; raises what it refuses.
        rehearse: Only have the server try it.

    Raises:
        NotChanged: The server refuses it, or others change the object without end.
        ChangeFailed: The server went silent: whether it was changed is unknown.
    """
    for _ in range(_TRIES):
        content = got(cluster, ref)
        operations = make(content)
        if not operations:
            return None
        version = content["metadata"]["resourceVersion"]
        guard: Operation = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        try:
            return cluster.patch(ref, [guard, *operations], rehearse=rehearse)
        except errors.Conflict:
            continue
        except errors.Unreachable as error:
            if rehearse:
                raise NotChanged(error.problem, fix=error.fix) from None
            raise ChangeFailed(f"whether it was changed is unknown: {error.problem}", fix=error.fix) from None
        except RunbookError as error:
            raise NotChanged(error.problem, fix=error.fix) from None
    raise NotChanged(
        f"{ref.kind}/{ref.name} keeps changing while we write",
        fix=f"find out who writes it: kubectl -n {ref.namespace} get -w {ref.kind}/{ref.name}",
    )


def got(cluster: Cluster, ref: Ref) -> Object:
    """The object as it is now.

    Raises:
        NotThere: There is none.
        NotChanged: The server does not give it.
    """
    try:
        return {"kind": ref.kind, **cluster.get(ref.kind, ref.namespace, ref.name)}
    except errors.NotThere:
        raise
    except RunbookError as error:
        raise NotChanged(error.problem, fix=error.fix) from None
