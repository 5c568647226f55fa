"""The security context of one container of a workload: on an API server, or in a manifest file.

One promise: every write is compare-and-set. On a server the patch bears the version it was made
for, was tried there first (``dryRun=All``), and so was a pod made of it; in a file the text is
edited, never dumped. Undo puts back the very object, or the very bytes.

Not here: what to allow (``remediations.security_context``), watching pods (``rollout``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.cluster import errors, workload
from engine.cluster.api import Answer
from engine.cluster.ref import parse
from engine.cluster.source import Found, find
from engine.cluster.workload import Object
from engine.errors import ChangedSince, ChangeFailed, RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import manifest_text, pod_parts
from remediations.knobs.atomic_file import obstacle, update
from remediations.knobs.backend import NotChanged, Restored, State

#: The status of a busy workload changes its version all the time: as often we try again.
_TRIES = 6


class Kubernetes:
    """Backend ``kubernetes``: ``Knob.path`` is the workload's ref."""

    name = "kubernetes"

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the ref is in the knob
        """The parts that may change, as text; ``raw``: the manifest, or the object as JSON."""
        try:
            found = find(parse(knob.path))
            parts = pod_parts.taken(found.content, found.ref.container)
            blocked = obstacle(Path(knob.file)) if knob.file else None
        except RunbookError as error:
            return KnobValue(source=knob.path, missing=f"{error.problem} ({error.fix})")
        return KnobValue(
            value=pod_parts.text_of(parts),
            raw=found.text or json.dumps(_lasting(found.content)),
            effective=pod_parts.text_of(parts),
            source=knob.file or knob.path,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002 - as read
        """What stands there, and what the server makes of the change: tried there, not made.

        Raises:
            ChangedSince: It is no longer ``change.before``.
            NotChanged: The server or the file refuses it.
        """
        found = _found(change)
        _must_hold(found, pod_parts.of_text(change.before), change)
        if found.cluster is None:
            return _captured_file(found, change)
        answer = _patched(found, change, change.before, change.after, rehearse=True)
        warnings = [*answer.warnings, *_tried_pod(found, answer.content)]
        return {
            "before": str(change.before),
            "after": pod_parts.text_of(pod_parts.taken(answer.content, found.ref.container)),
            "generation": int(found.content["metadata"].get("generation") or 0),
            "warnings": list(warnings),
        }

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Set ``change.after`` where ``change.before`` stands; the raises of ``capture``."""
        found = _found(change)
        if found.cluster is None:
            update(Path(found.ref.manifest), lambda content: _edited(content, change))
        else:
            _must_hold(found, pod_parts.of_text(change.before), change)
            _patched(found, change, change.before, change.after)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """Compare what stands there with the parts before and after."""
        found = _found(change)
        return _state(pod_parts.taken(found.content, found.ref.container), change, captured)

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the ref is in the knob
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Put the object, or the bytes, back; ``reload`` tells whether pods have to follow."""
        found = _found(change)
        now = pod_parts.taken(found.content, found.ref.container)
        state = _state(now, change, captured)
        if state == "before":
            return Restored(reload=False)
        if state == "other":
            raise _since(found, change)
        if found.cluster is None:
            update(Path(found.ref.manifest), lambda content: _reverted(content, change, captured))
        else:
            _patched(found, change, captured["after"], change.before)
        return Restored(reload=found.cluster is not None)


def generation(change: Change) -> tuple[Found, int]:
    """The workload as it is now, and the version of its specification."""
    found = _found(change)
    return found, int(found.content["metadata"].get("generation") or 0)


# ── on a server ─────────────────────────────────────────────────────────────────


def _patched(
    found: Found, change: Change, before: Setting, after: Setting, *, rehearse: bool = False
) -> Answer:
    """Send the patch; where only something else of the object has changed, make it anew for that version."""
    old, new = pod_parts.of_text(before), pod_parts.of_text(after)
    for _ in range(_TRIES):
        version = found.content["metadata"]["resourceVersion"]
        guard = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        patch = [guard, *pod_parts.patch(found.content, found.ref.container, old, new)]
        assert found.cluster is not None  # noqa: S101 - the callers have looked
        try:
            return found.cluster.patch(found.ref, patch, rehearse=rehearse)
        except errors.Conflict:
            found = _found(change)
            _must_hold(found, old, change)
        except errors.Unreachable as error:
            if rehearse:
                raise NotChanged(error.problem, fix=error.fix) from None
            raise ChangeFailed(f"whether it was changed is unknown: {error.problem}", fix=error.fix) from None
        except RunbookError as error:
            _must_hold(_found(change), old, change)
            raise NotChanged(error.problem, fix=error.fix) from None
    raise NotChanged(
        f"{found.ref.shown} keeps changing while we write", fix="find out who writes it: kubectl get -w"
    )


def _tried_pod(found: Found, content: Object) -> list[str]:
    """Let admission judge a pod of the new template.

    Raises:
        NotChanged: It would be refused, as every pod of the workload would be.
    """
    made = workload.template(content)
    metadata = {
        key: value for key, value in (made.get("metadata") or {}).items() if key in ("labels", "annotations")
    }
    name = f"{found.ref.name[:40]}-"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "generateName": name},
        "spec": made["spec"],
    }
    try:
        assert found.cluster is not None  # noqa: S101 - the callers have looked
        return list(found.cluster.try_pod(found.ref.namespace, pod).warnings)
    except errors.Rejected as error:
        raise NotChanged(f"the platform would refuse its pods: {error.problem}", fix=error.fix) from None
    except RunbookError as error:
        return [f"whether the platform takes such pods could not be tried: {error.problem}"]


# ── in a file ───────────────────────────────────────────────────────────────────


def _captured_file(found: Found, change: Change) -> dict[str, Setting]:
    blocked = obstacle(Path(found.ref.manifest))
    if blocked:
        raise NotChanged(blocked[0], fix=blocked[1])
    after = _text_after(found, change)
    return {
        "before": str(change.before),
        "after": str(change.after),
        "hunks": json.dumps(manifest_text.hunks(found.text, after)),
    }


def _edited(content: bytes, change: Change) -> bytes:
    found = _found(change)
    if content != found.text.encode():
        raise ChangedSince(f"{change.knob.file} was written just now", fix="nothing was changed; try again")
    _must_hold(found, pod_parts.of_text(change.before), change)
    return _text_after(found, change).encode()


def _text_after(found: Found, change: Change) -> str:
    after = pod_parts.of_text(change.after)
    return manifest_text.edited(found.ref.manifest, found.text, found.document, found.ref.container, after)


def _reverted(content: bytes, change: Change, captured: Mapping[str, Setting]) -> bytes:
    text = manifest_text.reverted(content.decode(), json.loads(str(captured["hunks"])))
    if text is None:
        raise ChangedSince(
            f"the lines that we added to {change.knob.file} have been edited since; left as they are",
            fix="take them out by hand; the report shows them as a diff",
        )
    return text.encode()


# ── shared ──────────────────────────────────────────────────────────────────────


def _found(change: Change) -> Found:
    try:
        return find(parse(change.knob.path))
    except RunbookError as error:
        raise NotChanged(error.problem, fix=error.fix) from None


def _state(now: Object, change: Change, captured: Mapping[str, Setting]) -> State:
    if now == pod_parts.of_text(change.before):
        return "before"
    return "after" if now in (_parts(captured.get("after")), _parts(change.after)) else "other"


def _parts(text: Setting) -> Any:  # noqa: ANN401 - parts, or nothing
    return pod_parts.of_text(text) if text else None


def _lasting(content: Object) -> Object:
    """The object without what the server writes into it by itself."""
    kept = ("name", "namespace", "labels", "ownerReferences")
    metadata = {key: value for key, value in content["metadata"].items() if key in kept}
    return {"kind": content.get("kind"), "metadata": metadata, "spec": content["spec"]}


def _must_hold(found: Found, parts: Object, change: Change) -> None:
    if pod_parts.taken(found.content, found.ref.container) != parts:
        raise _since(found, change)


def _since(found: Found, change: Change) -> ChangedSince:
    return ChangedSince(
        f"the security context of {found.ref.shown} is neither what it was nor what we set; left as it is",
        fix=f"look at it; if nobody meant it, set it back to: {change.before}",
    )
