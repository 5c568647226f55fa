"""The parts of a pod's specification that we may touch, taken out of it and put back into it.

One promise: everything else of the object is none of our business: two objects with the same parts
are the same to us, and putting parts into an object changes nothing but them.

Not here: the server (``cluster``), the text of a manifest (``manifest_text``).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from engine.cluster import workload
from engine.cluster.workload import Object
from remediations.knobs.json_patch import Operation, operations

#: Keys of the container, and keys of the pod.
CONTAINER, POD = ("securityContext", "volumeMounts"), ("hostPID", "volumes")


def taken(content: Object, container: str) -> Object:
    """The parts, by key; an absent one is left out."""
    spec = workload.pod_spec(content)
    own = spec["containers"][index_of(spec, container)]
    found = {key: own[key] for key in CONTAINER if own.get(key) is not None}
    return found | {key: spec[key] for key in POD if spec.get(key) is not None}


def put(content: Object, container: str, parts: Object) -> Object:
    """A copy of the object with these parts and no others."""
    whole = copy.deepcopy(content)
    spec = whole
    for key in workload.template_path(workload.kind_of(content)):
        spec = spec[key]
    own = spec["containers"][index_of(spec, container)]
    for place, keys in ((own, CONTAINER), (spec, POD)):
        for key in keys:
            if key in parts:
                place[key] = copy.deepcopy(parts[key])
            else:
                place.pop(key, None)
    return whole


def patch(content: Object, container: str, before: Object, after: Object) -> list[Operation]:
    """The JSON patch from one to the other, for this object; fails where its container is another one."""
    root = "".join(f"/{key}" for key in workload.template_path(workload.kind_of(content)))
    index = index_of(workload.pod_spec(content), container)
    place = f"{root}/containers/{index}"
    guard: Operation = {"op": "test", "path": f"{place}/name", "value": container}
    return [guard, *_keyed(before, after, CONTAINER, place), *_keyed(before, after, POD, root)]


def _keyed(before: Object, after: Object, keys: tuple[str, ...], at: str) -> Iterator[Operation]:
    old, new = ({key: parts[key] for key in keys if key in parts} for parts in (before, after))
    return operations(old, new, at)


def index_of(spec: Object, container: str) -> int:
    """Which of the containers it is."""
    return [str(one.get("name")) for one in spec["containers"]].index(container)


def text_of(parts: Object) -> str:
    """Parts as text: what a change holds. Order stays, so that what is shown is what is written."""
    return json.dumps(parts, separators=(",", ":"))


def of_text(text: object) -> Object:
    """The parts of a text."""
    found: Any = json.loads(str(text))
    return dict(found)
