"""Settings of an agent that runs in Kubernetes: a ConfigMap's value, a variable or a flag of its container.

``Knob.path`` is ``configmap/NAME#key``, ``configmap/NAME#key:path.in.its.text``, ``env/NAME`` or
``arg/--flag``. The workload is the target's own (``k8s:…``), the fact ``kubernetes`` of its profile, or
that of the pod in whose container the process runs.

One promise: every write is compare-and-set and was tried on the server first (``dryRun=All``). A change
reaches the pods by their controller, and is watched until it has; undo puts back the very object.

Not here: ConfigMaps (``config_map``), containers (``container_place``), pods (``rollout``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.cluster.source import Found
from engine.contracts import Clock
from engine.errors import ChangeFailed, RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import flags, rollout
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.config_map import ConfigMapPlace
from remediations.knobs.container_place import ContainerPlace, must_roll
from remediations.knobs.kubernetes import Kubernetes
from remediations.knobs.text_file import amount_of
from remediations.knobs.workload_of import NotInPod, workload_of

#: So long may a rollout take at least, in seconds: every node's pod is made anew, one after the other.
ROLLOUT_S = 300.0


class KubernetesSetting:
    """Backend ``kubernetes``; a path that is a workload's ref (its security context) is ``Kubernetes``'s."""

    name = "kubernetes"
    requires = ("path",)

    def __init__(self) -> None:
        self._context = Kubernetes()

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The value on the server; an agent that runs in no pod has no such place."""
        if _is_ref(knob):
            return self._context.read(knob, target)
        try:
            place, found = _place(knob), workload_of(target)
            held = place.held(found, knob)
            amount = None if held.value is None else amount_of(held.value, knob)
        except RunbookError as error:
            problem = f"{error.problem} ({error.fix})"
            return KnobValue(source=knob.path, missing=problem, absent=isinstance(error, NotInPod))
        except ValueError as error:
            return KnobValue(source=knob.path, missing=f"{knob.path}: {error}")
        return KnobValue(value=held.value, raw=held.raw, effective=amount, source=held.source)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """What stands there, after the server has tried the change."""
        if _is_ref(change.knob):
            return self._context.capture(change, target)
        place, found = _place(change.knob), workload_of(target)
        if place.rolls:
            must_roll(found)
        return {"workload": str(found.ref), **place.capture(found, change)}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Set it; the pods follow."""
        if _is_ref(change.knob):
            return self._context.write(change, target, captured)
        return _place(change.knob).write(_found(target, captured), change, captured)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """What the server holds now."""
        if _is_ref(change.knob):
            return self._context.state(change, target, captured)
        return _place(change.knob).state(_found(target, captured), change, captured)

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Put back what was captured; the pods follow."""
        if _is_ref(change.knob):
            return self._context.restore(change, target, captured)
        return _place(change.knob).restore(_found(target, captured), change, captured)

    def follow(
        self,
        change: Change,
        target: Target,
        clock: Clock,
        in_force: Callable[[], bool | None],  # noqa: ARG002 - the pods are other processes by now
    ) -> str:
        """Wait until every pod is made of it, available, and stays so.

        Raises:
            ChangeFailed: They are not well within the reload's time, at least ``ROLLOUT_S``.
        """
        if _is_ref(change.knob) or not _place(change.knob).rolls:
            return ""
        try:
            found = workload_of(target)
        except NotChanged as error:
            raise ChangeFailed(error.problem, fix=error.fix) from error
        generation = int(found.content["metadata"].get("generation") or 0)
        rollout.wait(found, generation, clock, max(change.knob.reload.settle_s, ROLLOUT_S))
        return ""

    def complaint(self, path: str) -> str:
        """Why a profile's path is none of ours; empty when it is."""
        if path.startswith("k8s:"):
            return ""
        try:
            _place(Knob(name="", backend=self.name, path=path))
            if path.startswith("arg/"):
                flags.parse(path.removeprefix("arg/"))
        except NotChanged as error:
            return f"{error.problem} ({error.fix})"
        except ValueError as error:
            return str(error)
        return ""

    def by_hand(self, made: Change, now: KnobValue | None, target: Target) -> str:
        """Edit the object; pods follow a change of the workload, else they have to be restarted."""
        knob = made.knob
        raw = now.raw if now else None
        was = f"set {knob.path} back to {raw}" if raw is not None else f"take {knob.path} out"
        space = f" -n {target.facts['namespace']}" if target.facts.get("namespace") else ""
        if _is_ref(knob):
            return f"kubectl{space} edit {target.name}: as it was before"
        if not knob.path.startswith("configmap/"):
            return f"kubectl{space} edit its workload: {was}"
        step = f"kubectl{space} edit {knob.path.partition('#')[0]}: {was}"
        return step if knob.reload.by == "none" else f"{step}; then restart it: kubectl rollout restart"


def _found(target: Target, captured: Mapping[str, Setting]) -> Found:
    """The workload that was captured: the process that told it may be gone."""
    from msgspec.structs import replace  # noqa: PLC0415 - beside its only use

    return workload_of(replace(target, ref=str(captured["workload"])))


def _place(knob: Knob) -> ConfigMapPlace | ContainerPlace:
    kind = knob.path.partition("/")[0]
    if kind == "configmap":
        return ConfigMapPlace(knob)
    if kind in ("env", "arg"):
        return ContainerPlace(knob)
    raise NotChanged(
        f"{knob.path!r} is no place of a setting in Kubernetes",
        fix="write configmap/NAME#key, env/NAME or arg/--flag",
    )


def _is_ref(knob: Knob) -> bool:
    return knob.path.startswith("k8s:")
