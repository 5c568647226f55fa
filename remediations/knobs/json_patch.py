"""From one JSON value to another in as few operations as it takes: a JSON patch.

One promise: applied in order to the first value, the operations give the second; what is the same
in both is not mentioned, and lists that only grew (or shrank) at their end are not replaced.

Not here: sending it (``engine.cluster.api``). Source: RFC 6902, RFC 6901.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]


def operations(before: Any, after: Any, at: str) -> Iterator[Operation]:  # noqa: ANN401 - any JSON
    """The operations that make ``after`` of ``before``, which stands at the pointer ``at``."""
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            place = f"{at}/{_escaped(key)}"
            if key not in after:
                yield {"op": "remove", "path": place}
            elif key not in before:
                yield {"op": "add", "path": place, "value": after[key]}
            else:
                yield from operations(before[key], after[key], place)
    elif isinstance(before, list) and isinstance(after, list) and after[: len(before)] == before:
        yield from ({"op": "add", "path": f"{at}/-", "value": one} for one in after[len(before) :])
    elif isinstance(before, list) and isinstance(after, list) and before[: len(after)] == after:
        for index in reversed(range(len(after), len(before))):
            yield {"op": "remove", "path": f"{at}/{index}"}
    else:
        yield {"op": "replace", "path": at, "value": after}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
