"""The CPU quota of a target's cgroup, in cores; both versions of cgroups.

Version 2 holds quota and period in ``cpu.max``, version 1 in ``cpu.cfs_quota_us`` and
``cpu.cfs_period_us``. The period stays as it is. No quota reads as
absent. In force at once.

Source: Linux ``Documentation/admin-guide/cgroup-v2.rst`` and ``scheduler/sched-bwc.rst``.

Not here: which quota is right (``cpu_quota``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import ChangedSince
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State, changed_since

_V2, _QUOTA, _PERIOD = "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"
_MOUNTS = Path("/proc/self/mountinfo")


class Quota(msgspec.Struct, frozen=True):
    """A quota as it stands: microseconds per period; ``quota_us`` None means no limit."""

    quota_us: int | None
    period_us: int

    @property
    def cores(self) -> float | None:
        """CPUs that may be used at most."""
        return None if self.quota_us is None else self.quota_us / self.period_us


class Cgroup:
    """Backend ``cgroup``: the directory ``Knob.path``, or the one the target's process is in."""

    name = "cgroup"

    def __init__(self, mounts: Path = _MOUNTS) -> None:
        self._mounts = mounts

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The quota in cores; absent when there is no limit."""
        try:
            directory = self._directory(knob, target)
            quota = _read(directory)
        except NotChanged as error:
            return KnobValue(missing=f"{error.problem} ({error.fix})")
        raw = None if quota.quota_us is None else f"{quota.quota_us} {quota.period_us}"
        return KnobValue(value=quota.cores, raw=raw, effective=quota.cores, source=str(_file(directory)))

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The quota, and the directory it stands in."""
        directory = self._directory(change.knob, target)
        quota = _read(directory)
        if quota.cores != change.before:
            raise _since(directory, quota, change)
        return {"directory": str(directory), "quota_us": quota.quota_us, "period_us": quota.period_us}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Set the quota for the period that stands there."""
        directory = Path(str(captured["directory"]))
        quota = _read(directory)
        if quota.cores != change.before:
            raise _since(directory, quota, change)
        _write(directory, round(float(str(change.after)) * quota.period_us), quota.period_us)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """A cgroup that is gone took its quota with it: ``before``."""
        directory = Path(str(captured["directory"]))
        return _state(_read(directory), change) if directory.is_dir() else "before"

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the directory was captured
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Put the quota back, if ours still stands there."""
        directory = Path(str(captured["directory"]))
        if not directory.is_dir():
            return Restored(reload=False, note=f"{directory} is gone, and its quota with it")
        quota = _read(directory)
        match _state(quota, change):
            case "other":
                raise _since(directory, quota, change)
            case "after":
                before = captured["quota_us"]
                _write(directory, None if before is None else int(str(before)), quota.period_us)
        return Restored(reload=False)

    def _directory(self, knob: Knob, target: Target) -> Path:
        if knob.path:
            return Path(knob.path)
        for path, mount in _places(target, self._mounts):
            directory = mount / path.lstrip("/")
            if _file(directory).exists() and path != "/":
                return directory
        raise NotChanged(
            f"{target.name} has no CPU quota of its own: its cgroup has no {_V2} and no {_QUOTA}",
            fix="run the agent in a cgroup of its own (a systemd unit), or name one in its profile",
        )


def _places(target: Target, mounts: Path) -> list[tuple[str, Path]]:
    """(path, mount point) for the process in the v1 cpu hierarchy and in v2, v1 first."""
    if not target.processes:
        return []
    try:
        lines = Path(f"/proc/{target.pid}/cgroup").read_text().splitlines()
    except OSError:
        return [(target.processes[0].cgroup, mount) for _, mount in _mounted(mounts)]
    paths = {}
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths["v2"] = path
        elif "cpu" in controllers.split(","):
            paths["v1"] = path
    return [(paths[version], mount) for version, mount in _mounted(mounts) if version in paths]


def _mounted(mounts: Path) -> list[tuple[str, Path]]:
    """Mount points of the v1 cpu hierarchy and of cgroup2."""
    found = []
    for line in mounts.read_text().splitlines():
        front, _, back = line.partition(" - ")
        kind, _, options = back.split(" ", 2)
        mount = Path(front.split()[4])
        if kind == "cgroup2":
            found.append(("v2", mount))
        elif kind == "cgroup" and "cpu" in options.replace(" ", ",").split(","):
            found.append(("v1", mount))
    return sorted(found)


def _file(directory: Path) -> Path:
    return directory / _V2 if (directory / _V2).exists() else directory / _QUOTA


def _read(directory: Path) -> Quota:
    try:
        file = _file(directory)
        if file.name == _V2:
            quota, period = file.read_text().split()
        else:
            quota, period = file.read_text().strip(), (directory / _PERIOD).read_text().strip()
    except (OSError, ValueError) as error:
        raise NotChanged(
            f"{directory}: no CPU quota to read: {error}", fix="check the cgroup's path"
        ) from None
    return Quota(None if quota in ("max", "-1") else int(quota), int(period))


def _write(directory: Path, quota_us: int | None, period_us: int) -> None:
    file = _file(directory)
    if file.name == _V2:
        text = f"{'max' if quota_us is None else quota_us} {period_us}"
    else:
        text = str(-1 if quota_us is None else quota_us)
    try:
        file.write_text(text)
    except OSError as error:
        raise NotChanged(
            f"{file} does not take {text}: {error.strerror}",
            fix="run as root; a parent cgroup's quota may be smaller (version 1), or systemd may own it",
        ) from None


def _state(quota: Quota, change: Change) -> State:
    if quota.cores == change.before:
        return "before"
    wanted = round(float(str(change.after)) * quota.period_us)
    return "after" if quota.quota_us == wanted else "other"


def _since(directory: Path, quota: Quota, change: Change) -> ChangedSince:
    now = "no limit" if quota.cores is None else f"{quota.cores:g} cores"
    return changed_since(_file(directory), now, change)
