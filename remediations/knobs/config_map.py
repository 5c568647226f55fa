"""A value in a ConfigMap, or one setting in the text that it holds; and pods that take it up.

One promise: the other keys stay, and of a text every byte but the one value. Pods get it by a restart
of their workload, marked as ``kubectl rollout restart`` does; undo puts the mark back too.

Source: Kubernetes documentation, "ConfigMaps"; what ``kubectl rollout restart`` writes.

Not here: formats (``text_edit``), which workload (``workload_of``), watching pods (``rollout``).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.cluster import errors
from engine.cluster.ref import Ref
from engine.cluster.source import Found
from engine.cluster.workload import Object
from engine.errors import ChangedSince
from engine.values import Change, Knob, Setting
from remediations.knobs import text_edit
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.cluster_patch import Held, got, patched
from remediations.knobs.ini_file import IniForm
from remediations.knobs.json_file import JsonForm
from remediations.knobs.json_patch import Operation, operations
from remediations.knobs.option_directory import WholeForm
from remediations.knobs.text_edit import Form
from remediations.knobs.toml_file import TomlForm
from remediations.knobs.yaml_form import YamlForm

_MARK = "kubectl.kubernetes.io/restartedAt"
_FORMS: dict[str, Form] = {"json": JsonForm(), "toml": TomlForm(), "ini": IniForm()}


class ConfigMapPlace:
    """``configmap/NAME#key``, or ``configmap/NAME#key:path`` for a setting in the text of the key."""

    def __init__(self, knob: Knob) -> None:
        name, sign, rest = knob.path.partition("/")[2].partition("#")
        self._key, colon, path = rest.partition(":")
        if not (name and sign and self._key) or (colon and not path):
            raise NotChanged(
                f"{knob.path!r} is no place in a ConfigMap",
                fix="write configmap/NAME#key or configmap/NAME#key:path",
            )
        self._name = name
        self._form: Form = _FORMS.get(self._key.rpartition(".")[2], YamlForm()) if colon else WholeForm()
        #: The knob in the text: named so in errors.
        self._knob = msgspec.structs.replace(knob, file=f"configmap/{name}#{self._key}", path=path)
        self._within = bool(colon)
        self.rolls = knob.reload.by != "none"

    def held(self, found: Found, knob: Knob) -> Held:
        """What it holds now."""
        source = f"{knob.path.partition(':')[0]} in namespace {found.ref.namespace}"
        text = self._text(self._content(found))
        spot = None if text is None else self._form.find(text, self._knob)
        if text is None and self._within:
            raise NotChanged(
                f"{source}: there is no such key", fix=f"kubectl describe configmap/{self._name}"
            )
        where = f"{source}: line {spot.line}" if spot and self._within else source
        return Held(spot.value if spot else None, spot.raw if spot else None, where)

    def capture(self, found: Found, change: Change) -> dict[str, Setting]:
        """The text that stands there, what the pods are marked with, and what they are to be."""
        content = self._content(found)
        if content.get("immutable"):
            raise NotChanged(
                f"configmap/{self._name} is immutable", fix="make another one, and have the pods use it"
            )
        text, inner = self._text(content), self._of(change)
        captured: dict[str, Setting]
        if text is None:
            if change.before is not None:
                raise text_edit.since(inner, "no longer there")
            written = self._form.insertion("", change.after, self._knob).text
            captured = {
                "no_key": True,
                "no_data": content.get("data") is None,
                "absent": True,
                "written": written,
            }
        else:
            captured = {"no_key": False, "text": text, **text_edit.planned(self._form, text, inner)}
        before = _mark(found.content)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        captured |= {"mark_before": before, "mark": now if self.rolls else before}
        self._patch(found, change, captured, rehearse=True)
        self._restart(found, captured, str(captured["mark"]), rehearse=True)
        return captured

    def write(self, found: Found, change: Change, captured: Mapping[str, Setting]) -> None:
        """Set it, then have the pods made anew."""
        self._patch(found, change, captured)
        self._restart(found, captured, str(captured["mark"]))

    def state(self, found: Found, change: Change, captured: Mapping[str, Setting]) -> State:
        """By the value in the ConfigMap; ``after`` as long as the pods bear our mark."""
        text = self._text(self._content(found))
        if text is None:
            state: State = "before" if captured["no_key"] else "other"
        else:
            state = text_edit.state(self._form, text, self._of(change), captured)
        marked = self.rolls and _mark(found.content) == captured["mark"]
        return "after" if state == "before" and marked else state

    def restore(self, found: Found, change: Change, captured: Mapping[str, Setting]) -> Restored:
        """Put the very text back, then the mark, so that the pods are made as they were."""
        if self.state(found, change, captured) == "before":
            return Restored(reload=False)

        def make(content: Object) -> list[Operation]:
            text = self._text(content)
            if text is None:
                if captured["no_key"]:
                    return []
                raise text_edit.since(self._of(change), "no longer there")
            if captured["no_key"]:
                if text != captured["written"]:
                    raise text_edit.since(self._of(change), f"now {text!r}")
                emptied = captured["no_data"] and len(content["data"]) == 1
                return [{"op": "remove", "path": "/data" if emptied else f"/data/{_pointer(self._key)}"}]
            old = text_edit.taken_back(self._form, text, self._of(change), captured)
            return list(operations(text, old, f"/data/{_pointer(self._key)}"))

        self._send(found, make)
        if _mark(found.content) == captured["mark"]:
            self._restart(found, captured, captured["mark_before"])
        return Restored(reload=self.rolls)

    def _patch(
        self, found: Found, change: Change, captured: Mapping[str, Setting], *, rehearse: bool = False
    ) -> None:
        def make(content: Object) -> list[Operation]:
            text = self._text(content)
            if text is None or captured["no_key"]:
                if text is not None or not captured["no_key"]:
                    raise text_edit.since(self._of(change), "no longer as it was")
                first: list[Operation] = [{"op": "add", "path": "/data", "value": {}}]
                new: Operation = {
                    "op": "add",
                    "path": f"/data/{_pointer(self._key)}",
                    "value": captured["written"],
                }
                return [*(first if content.get("data") is None else []), new]
            after = text_edit.made(self._form, text, self._of(change), captured)
            return list(operations(text, after, f"/data/{_pointer(self._key)}"))

        self._send(found, make, rehearse=rehearse)

    def _send(self, found: Found, make: Any, *, rehearse: bool = False) -> None:  # noqa: ANN401 - as patched
        assert found.cluster is not None  # noqa: S101 - a workload in a file is refused before
        patched(found.cluster, self._ref(found), make, rehearse=rehearse)

    def _restart(
        self, found: Found, captured: Mapping[str, Setting], mark: Setting, *, rehearse: bool = False
    ) -> None:
        """Mark the pods' template, unless it is marked so already; ``None`` takes the mark away."""
        if not self.rolls:
            return
        assert found.cluster is not None  # noqa: S101 - a workload in a file is refused before
        expected = {captured["mark"], captured["mark_before"]}

        def make(content: Object) -> list[Operation]:
            metadata = content["spec"]["template"].get("metadata") or {}
            old = metadata.get("annotations") or {}
            if old.get(_MARK) not in expected:
                raise ChangedSince(
                    f"the pods of {found.ref.shown} were restarted by somebody else",
                    fix="look again, then run again",
                )
            new = {key: value for key, value in old.items() if key != _MARK}
            new |= {} if mark is None else {_MARK: mark}
            parts = [{**metadata, "annotations": each} if each else _without(metadata) for each in (old, new)]
            return list(operations(parts[0], parts[1], "/spec/template/metadata"))

        patched(found.cluster, found.ref, make, rehearse=rehearse)

    def _content(self, found: Found) -> Object:
        assert found.cluster is not None  # noqa: S101 - a workload in a file is refused before
        try:
            return got(found.cluster, self._ref(found))
        except errors.NotThere as error:
            raise NotChanged(error.problem, fix=error.fix) from None

    def _ref(self, found: Found) -> Ref:
        return msgspec.structs.replace(found.ref, kind="configmap", name=self._name, container="")

    def _text(self, content: Object) -> str | None:
        text = (content.get("data") or {}).get(self._key)
        return None if text is None else str(text)

    def _of(self, change: Change) -> Change:
        return msgspec.structs.replace(change, knob=self._knob)


def _mark(content: Object) -> str | None:
    metadata = content["spec"].get("template", {}).get("metadata") or {}
    mark = (metadata.get("annotations") or {}).get(_MARK)
    return None if mark is None else str(mark)


def _without(metadata: Object) -> Object:
    return {key: value for key, value in metadata.items() if key != "annotations"}


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
