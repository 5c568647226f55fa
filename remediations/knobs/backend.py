"""The door to settings: a backend reads, and one with hands also writes.

A planner is given ``KnobBackend``s (``engine.contracts``), which can only read; only the
writing part of a remediation asks for ``Hands``.

Not here: any particular place of settings (``yaml_file``, ``bpf_variable``, ``cgroup``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, Protocol, cast, runtime_checkable

import msgspec

from engine.contracts import Clock, KnobBackend
from engine.errors import ChangedSince, ChangeFailed, UnknownName
from engine.values import Change, Knob, KnobValue, Setting, Target

State = Literal["before", "after", "other"]


class NotChanged(ChangeFailed):
    """A change could not be made, and nothing was touched."""

    touched = False


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What putting back came to.

    Attributes:
        reload: The target must still be told: it may run with another value.
        note: For the record, when there was nothing to put back.
    """

    reload: bool
    note: str = ""


def changed_since(what: object, now: str, change: Change) -> ChangedSince:
    """The refusal to touch a limit that somebody else has set; ``what``: the place that it stands in."""
    return ChangedSince(
        f"{what} is {now}; expected {change.before_text} or {change.after_text}. Left as it is",
        fix=f"if nobody meant it, set it back by hand to {change.before_text}",
    )


@runtime_checkable
class Hands(KnobBackend, Protocol):
    """A backend that can write. All writes are compare-and-set."""

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """All that ``restore`` needs. Reads only.

        Raises:
            ChangedSince: The value is no longer ``change.before``.
            NotChanged: It can't be read or could not be written.
        """

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Set ``change.after`` where ``change.before`` stands; the raises of ``capture``."""

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """What stands there now."""

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Put back what was captured where ``change.after`` stands; the raises of ``capture``."""


@runtime_checkable
class Follows(Hands, Protocol):
    """Hands whose changes do not take effect by the knob's reload: a restart of the unit, a rollout."""

    def follow(
        self, change: Change, target: Target, clock: Clock, in_force: Callable[[], bool | None]
    ) -> str:
        """After a write or a putting back: make it take effect, and wait until the target is well.

        Gives a note where nothing had to be done, else an empty text.

        Raises:
            ChangeFailed: It is not well.
        """


@runtime_checkable
class ToldByHand(Protocol):
    """A backend that knows best how its changes are taken back without us."""

    def by_hand(self, made: Change, now: KnobValue | None, target: Target) -> str:
        """The steps, up to their taking effect; ``now`` is what stood there before the change."""


@cache
def backend(name: str) -> KnobBackend:
    """The backend announced under ``name``, for reading.

    Raises:
        UnknownName: No installed package announces it.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and only needed once at work

    known = {entry.name: entry for entry in entry_points(group="runbook.knobs")}
    if name not in known:
        raise UnknownName("way to read and write settings", name, known)
    return cast("KnobBackend", known[name].load()())


def told_by(name: str) -> ToldByHand | None:
    """The backend, where it knows best how to undo its changes by hand."""
    try:
        found: object = backend(name)
    except UnknownName:
        return None
    return found if isinstance(found, ToldByHand) else None


def hands(name: str) -> Hands:
    """The same backend, for writing.

    Raises:
        NotChanged: It can only read.
    """
    found = backend(name)
    if not isinstance(found, Hands):
        raise NotChanged(f"settings of kind {name!r} can only be read", fix="change it by hand")
    return found


def where(knob: Knob) -> str:
    """Where a setting stands, for people: ``/etc/agent.yaml: reader.poll_interval``."""
    if knob.backend == "option-directory":
        return f"{knob.file}/{knob.path}"
    if knob.file:
        return f"{knob.file}: {knob.path}"
    if knob.backend.startswith("systemd-") and knob.reload.unit:
        return f"{knob.reload.unit}: {knob.path}"
    if knob.backend == "bpf-variable":
        return f"BPF variable {knob.path}" + (f" (map {knob.map_id})" if knob.map_id else "")
    return f"{knob.backend}: {knob.path or knob.name}"
