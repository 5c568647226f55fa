"""The memory limit of a target's cgroup, in bytes; both versions of cgroups. In force at once.

Version 2 holds it in ``memory.max``, version 1 in ``memory.limit_in_bytes``; there the limit of
memory and swap together must be no lower, and goes up and down with it. No limit reads as
absent. A limit is never written below what is in use: version 2 would kill for it, version 1
would refuse.

Source: Linux ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``.

Not here: which limit is right (``remediations.memory_limit``), services of systemd (``systemd_memory``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State, changed_since
from remediations.knobs.memory_groups import PROC, MemoryGroup, own_group
from remediations.knobs.units import say_bytes


class CgroupMemory:
    """Backend ``cgroup-memory``: the directory ``Knob.path``, or the one the target's process is in."""

    name = "cgroup-memory"

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The limit in bytes; absent when there is none."""
        try:
            group = self._group(knob, target)
            limit = _limit(group)
        except NotChanged as error:
            return KnobValue(missing=f"{error.problem} ({error.fix})")
        raw = None if limit is None else str(limit)
        return KnobValue(value=limit, raw=raw, effective=limit, source=str(group.file))

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The limit, that with swap, and the directory they stand in."""
        group = self._group(change.knob, target)
        _must_hold(group, change)
        return {
            "directory": str(group.directory),
            "limit": _limit(group),
            "limit_with_swap": group.limit_with_swap,
        }

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Set the limit, unless that is below what is in use."""
        group = MemoryGroup(Path(str(captured["directory"])))
        _must_hold(group, change)
        after = int(str(change.after))
        if after < group.used:
            raise NotChanged(
                f"{group.directory} uses {say_bytes(group.used)} by now: a limit of {change.after_text}"
                " would kill it",
                fix="look again: the plan is older than its growth",
            )
        with_swap = captured["limit_with_swap"]
        if isinstance(with_swap, int) and isinstance(change.before, int):
            _put(group.swap_file, with_swap + max(0, after - change.before))
        _put(group.file, after)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """A cgroup that is gone took its limit with it: ``before``."""
        group = MemoryGroup(Path(str(captured["directory"])))
        return _state(group, change, captured) if group.directory.is_dir() else "before"

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the directory was captured
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Put the limit back, if ours still stands there and nothing would be killed for it.

        Raises:
            ChangeFailed: More is in use than the former limit allows.
        """
        group = MemoryGroup(Path(str(captured["directory"])))
        if not group.directory.is_dir():
            return Restored(reload=False, note=f"{group.directory} is gone, and its limit with it")
        match _state(group, change, captured):
            case "other":
                raise _since(group, change)
            case "after":
                before = None if captured["limit"] is None else int(str(captured["limit"]))
                _must_fit(group, before, change)
                _put(group.file, before)
                with_swap = captured["limit_with_swap"]
                if isinstance(with_swap, int):
                    _put(group.swap_file, with_swap)
        return Restored(reload=False)

    def _group(self, knob: Knob, target: Target) -> MemoryGroup:
        if knob.path:
            return MemoryGroup(Path(knob.path))
        group = own_group(target, self._proc)
        if group is None:
            raise NotChanged(
                f"{target.name} has no memory cgroup of its own",
                fix="run the agent in a cgroup of its own (a systemd unit), or name one in its profile",
            )
        return group


def _limit(group: MemoryGroup) -> int | None:
    try:
        return group.limit
    except (OSError, ValueError) as error:
        raise NotChanged(
            f"{group.directory}: no memory limit to read: {error}", fix="check the cgroup's path"
        ) from None


def _put(file: Path, limit: int | None) -> None:
    none = "max" if file.name == "memory.max" else "-1"
    text = none if limit is None else str(limit)
    try:
        file.write_text(text)
    except OSError as error:
        raise NotChanged(
            f"{file} does not take {text}: {error.strerror}",
            fix="run as root; in version 1 no group's limit may be above its parent's (use_hierarchy)",
        ) from None


def _must_fit(group: MemoryGroup, limit: int | None, change: Change) -> None:
    if limit is not None and group.used > limit:
        raise ChangeFailed(
            f"{group.directory} uses {say_bytes(group.used)} by now: its former limit of {change.before_text}"
            " would kill it, so the limit was left as it is",
            fix=f"restart the agent, then: echo {limit} > {group.file}",
        )


def _state(group: MemoryGroup, change: Change, captured: Mapping[str, Setting]) -> State:
    """By the limit; with the former one and another limit with swap it is made or undone by half."""
    limit = _limit(group)
    if limit == change.before:
        return "before" if group.limit_with_swap == captured["limit_with_swap"] else "after"
    return "after" if limit == change.after else "other"


def _must_hold(group: MemoryGroup, change: Change) -> None:
    if _limit(group) != change.before:
        raise _since(group, change)


def _since(group: MemoryGroup, change: Change) -> ChangedSince:
    limit = _limit(group)
    now = "no limit" if limit is None else say_bytes(limit)
    return changed_since(group.file, now, change)
