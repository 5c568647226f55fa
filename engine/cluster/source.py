"""A workload's object, from the server or from the file, whichever its ref names.

Not here: what is made of it.
"""

from __future__ import annotations

import msgspec

from engine.cluster import api, manifest, workload
from engine.cluster.errors import NotThere
from engine.cluster.ref import KINDS, Ref
from engine.cluster.workload import Object
from engine.errors import TargetAmbiguous, TargetNotFound, nearest


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A workload that exists.

    Attributes:
        ref: Complete: kind, namespace and container are filled in.
        content: Its object.
        container: The container that is meant.
        text: The manifest's text; empty from a server.
        document: Which document of the file.
        cluster: To ask further; None for a manifest.
    """

    ref: Ref
    content: Object
    container: Object
    text: str = ""
    document: int = 0
    cluster: api.Cluster | None = None


def find(ref: Ref) -> Found:
    """The workload that is meant, read anew.

    Raises:
        TargetNotFound, TargetAmbiguous: None, or several; the nearest name is told.
        RunbookError: The file or the server can't be read (``engine.cluster.errors``).
    """
    if ref.manifest:
        text = manifest.text_of(ref)
        document = manifest.find(text, ref)
        return _complete(ref, document.content, text=text, document=document.index)
    cluster = api.connect(ref)
    ref = msgspec.structs.replace(ref, namespace=ref.namespace or cluster.namespace)
    return _complete(ref, _get(cluster, ref), cluster=cluster)


def _complete(
    ref: Ref, content: Object, *, text: str = "", document: int = 0, cluster: api.Cluster | None = None
) -> Found:
    container = workload.container(content, ref.container, ref.shown)
    space = str((content.get("metadata") or {}).get("namespace") or ref.namespace)
    whole = msgspec.structs.replace(
        ref, kind=workload.kind_of(content), namespace=space, container=str(container["name"])
    )
    return Found(
        ref=whole, content=content, container=container, text=text, document=document, cluster=cluster
    )


def _get(cluster: api.Cluster, ref: Ref) -> Object:
    """The object; of any kind when none is named."""
    found: list[Object] = []
    for kind in [ref.kind] if ref.kind else [one for one in KINDS if one != "pod"]:
        try:
            content = cluster.get(kind, ref.namespace, ref.name)
        except NotThere:
            continue
        found.append({**content, "kind": content.get("kind") or kind})
    if len(found) == 1:
        return found[0]
    if found:
        kinds = ", ".join(workload.kind_of(one) for one in found)
        raise TargetAmbiguous(
            f"{ref.name!r} is the name of several: {kinds}", fix="name its kind too: KIND/NAME"
        )
    raise _not_found(cluster, ref)


def _not_found(cluster: api.Cluster, ref: Ref) -> TargetNotFound:
    names: list[str] = []
    for kind in [ref.kind] if ref.kind else [one for one in KINDS if one != "pod"]:
        names += [str(one["metadata"]["name"]) for one in cluster.every(kind, ref.namespace)]
    near = nearest(ref.name, names)
    listed = ", ".join(names[:10]) or f"nothing in namespace {ref.namespace}"
    return TargetNotFound(
        f"there is no {ref.shown}", fix=f"did you mean {near!r}?" if near else f"there is: {listed}"
    )
