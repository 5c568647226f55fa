"""A variable or a flag of a container, on the API server: read, tried, set, taken back.

Not here: lists of a container (``container_settings``), which workload (``workload_of``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from engine.cluster.source import Found
from engine.cluster.workload import Object, pod_spec, template_path
from engine.errors import ChangedSince
from engine.values import Change, Knob, Setting
from remediations.knobs import text_value
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.cluster_patch import Held, got, patched
from remediations.knobs.container_settings import Argument, Variable, meaning, written
from remediations.knobs.json_patch import Operation, operations
from remediations.knobs.pod_parts import index_of


class ContainerPlace:
    """``env/NAME`` and ``arg/--flag`` of the container that is meant."""

    rolls = True

    def __init__(self, knob: Knob) -> None:
        kind, _, self._name = knob.path.partition("/")
        self._kind: Variable | Argument = (
            Variable() if kind == "env" else Argument(switch=knob.unit == "bool")
        )

    def held(self, found: Found, knob: Knob) -> Held:
        """What it holds now."""
        raw = self._kind.raw(found.container, self._name)
        return Held(meaning(raw, knob), raw, f"{found.ref.shown}: {knob.path}")

    def capture(self, found: Found, change: Change) -> dict[str, Setting]:
        """The container's lists before and after, as the server would have them."""
        after = self._patch(found, self._set(found, change), rehearse=True)
        return {
            "raw": self._kind.raw(found.container, self._name),
            "before": self._text(found.container),
            "after": self._text(after),
        }

    def write(self, found: Found, change: Change, captured: Mapping[str, Setting]) -> None:
        """Set it; the controller makes the pods anew."""
        del captured
        self._patch(found, self._set(found, change))

    def state(self, found: Found, change: Change, captured: Mapping[str, Setting]) -> State:
        """By the value in the workload."""
        del captured
        value = self.held(found, change.knob).value
        if text_value.same(value, change.after):
            return "after"
        return "before" if text_value.same(value, change.before) else "other"

    def restore(self, found: Found, change: Change, captured: Mapping[str, Setting]) -> Restored:
        """Put the very lists back; where others have edited them, our value alone."""
        if self.state(found, change, captured) == "before":
            return Restored(reload=False)

        def back(own: Object) -> Object:
            self._must_hold(own, found, change, change.after)
            if self._text(own) == captured["after"]:
                kept = {key: value for key, value in own.items() if key not in self._kind.keys}
                return kept | dict(json.loads(str(captured["before"])))
            raw = captured["raw"]
            return self._kind.put(own, self._name, None if raw is None else str(raw))

        self._patch(found, back)
        return Restored(reload=True)

    def _set(self, found: Found, change: Change) -> Callable[[Object], Object]:
        def forth(own: Object) -> Object:
            raw = self._must_hold(own, found, change, change.before)
            return self._kind.put(own, self._name, written(change.after, raw, change.knob))

        return forth

    def _must_hold(self, own: Object, found: Found, change: Change, value: Setting) -> str | None:
        raw = self._kind.raw(own, self._name)
        if not text_value.same(meaning(raw, change.knob), value):
            raise ChangedSince(
                f"{found.ref.shown}: {change.knob.path} is {'not set' if raw is None else repr(raw)};"
                f" expected {change.before_text} or {change.after_text}. Left as it is",
                fix=f"if nobody meant it, set it by hand (it was: {change.before_text})",
            )
        return raw

    def _patch(self, found: Found, make: Callable[[Object], Object], *, rehearse: bool = False) -> Object:
        """Make another container of the one on the server; gives it as the server has it then."""
        assert found.cluster is not None  # noqa: S101 - a workload in a file is refused before
        name = found.ref.container

        def patch(content: Object) -> list[Operation]:
            index = index_of(pod_spec(content), name)
            own = pod_spec(content)["containers"][index]
            place = "".join(f"/{key}" for key in template_path(found.ref.kind)) + f"/containers/{index}"
            guard: Operation = {"op": "test", "path": f"{place}/name", "value": name}
            changes = list(operations(self._parts(own), self._parts(make(own)), place))
            return [guard, *changes] if changes else []

        answer = patched(found.cluster, found.ref, patch, rehearse=rehearse)
        spec = pod_spec(answer.content if answer else got(found.cluster, found.ref))
        return dict(spec["containers"][index_of(spec, name)])

    def _parts(self, container: Object) -> Object:
        return {key: container[key] for key in self._kind.keys if container.get(key) is not None}

    def _text(self, container: Object) -> str:
        return json.dumps(self._parts(container), separators=(",", ":"))


def must_roll(found: Found) -> None:
    """Refuse a workload whose pods no controller would make anew.

    Raises:
        NotChanged: It is a bare pod, or its pods wait to be deleted by hand.
    """
    strategy = (found.content.get("spec") or {}).get("updateStrategy") or {}
    if found.ref.kind == "pod":
        raise NotChanged(
            f"{found.ref.shown} is a pod that nothing makes anew", fix="change it where it comes from"
        )
    if strategy.get("type") == "OnDelete":
        raise NotChanged(
            f"the pods of {found.ref.shown} are made anew only when somebody deletes them (OnDelete)",
            fix="change the setting and delete the pods by hand, one node after the other",
        )
