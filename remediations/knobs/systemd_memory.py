"""The memory limit of a systemd service: ``MemoryMax``, in force at once and after its next start.

``systemctl set-property`` writes one drop-in file of systemd's own and the cgroup. Undo sets the
former value the same way, then puts that file back as it was: gone, or with the very text.

Source: systemctl(1), "set-property"; systemd.resource-control(5), "MemoryMax=".

Not here: which limit is right (``remediations.memory_limit``), cgroups without systemd (``cgroup_memory``).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State, changed_since
from remediations.knobs.memory_groups import PROC, own_group

CONTROL = Path("/etc/systemd/system.control")
#: systemd writes "no limit" as this word; older ones as 2^64 - 1.
_NONE = ("infinity", str((1 << 64) - 1))


def place(unit: str, control: Path = CONTROL) -> Path:
    """The file that ``set-property`` writes."""
    return control / f"{unit}.d" / "50-MemoryMax.conf"


def _call(argv: Sequence[str]) -> str:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


class SystemdMemory:
    """Backend ``systemd-memory``: MemoryMax of the unit ``Knob.path``; its file is ``Knob.file``."""

    name = "systemd-memory"

    def __init__(self, call: Callable[[Sequence[str]], str] = _call, proc: Path = PROC) -> None:
        self._call = call
        self._proc = proc

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the unit is in the knob
        """The limit in bytes; absent when there is none."""
        try:
            limit = self._limit(knob)
        except NotChanged as error:
            return KnobValue(missing=f"{error.problem} ({error.fix})")
        raw = None if limit is None else str(limit)
        return KnobValue(value=limit, raw=raw, effective=limit, source=f"MemoryMax of {knob.path}")

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002 - as read
        """The limit, the file's text, and whether its directory is there."""
        self._must_hold(change)
        file = Path(change.knob.file)
        return {"limit": change.before, "text": _text(file), "directory_is_new": not file.parent.exists()}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Have systemd set it, unless that is below what is in use."""
        self._must_hold(change)
        if self._would_kill(change.after, target):
            raise NotChanged(
                f"{change.knob.path} uses more than {change.after_text} by now: that limit would kill it",
                fix="look again: the plan is older than its growth",
            )
        self._set(change.knob, change.after)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:
        """By the limit in force; the former one with our file still there is not undone yet."""
        del target
        limit = self._limit(change.knob)
        if limit == change.before:
            same = _text(Path(change.knob.file)) == captured["text"]
            return "before" if same else "after"
        return "after" if limit == change.after else "other"

    def restore(
        self,
        change: Change,
        target: Target,
        captured: Mapping[str, Setting],
    ) -> Restored:
        """The former limit, then the file as it was.

        Raises:
            ChangeFailed: More is in use than the former limit allows.
        """
        match self.state(change, target, captured):
            case "other":
                raise self._since(change)
            case "after" if self._would_kill(change.before, target):
                raise ChangeFailed(
                    f"{change.knob.path} uses more than its former limit of {change.before_text} by now:"
                    " it would be killed, so the limit was left as it is",
                    fix=f"restart the agent, then: systemctl set-property {change.knob.path}"
                    f" MemoryMax={change.before}",
                )
            case "after":
                self._set(change.knob, change.before)
                self._put_back(Path(change.knob.file), captured)
        return Restored(reload=False)

    def _would_kill(self, limit: Setting, target: Target) -> bool:
        group = own_group(target, self._proc)
        return group is not None and isinstance(limit, int) and group.used > limit

    def _put_back(self, file: Path, captured: Mapping[str, Setting]) -> None:
        if captured["text"] is None:
            file.unlink(missing_ok=True)
            if captured["directory_is_new"] and file.parent.is_dir() and not any(file.parent.iterdir()):
                file.parent.rmdir()
        else:
            file.write_text(str(captured["text"]))
        try:
            self._call(("systemctl", "daemon-reload"))
        except (OSError, subprocess.SubprocessError) as error:
            raise ChangeFailed(
                f"systemd did not read its units again: {error}", fix="by hand: systemctl daemon-reload"
            ) from None

    def _set(self, knob: Knob, limit: Setting) -> None:
        word = "infinity" if limit is None else str(limit)
        try:
            self._call(("systemctl", "set-property", knob.path, f"MemoryMax={word}"))
        except (OSError, subprocess.SubprocessError) as error:
            raise NotChanged(
                f"systemd did not set MemoryMax={word} for {knob.path}: {_said(error)}",
                fix=f"see why: systemctl set-property {knob.path} MemoryMax={word}",
            ) from None

    def _limit(self, knob: Knob) -> int | None:
        try:
            text = self._call(("systemctl", "show", "--property=MemoryMax", "--value", knob.path)).strip()
            return None if text in _NONE else int(text)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise NotChanged(
                f"systemd does not tell MemoryMax of {knob.path}: {_said(error)}",
                fix=f"see why: systemctl show --property=MemoryMax {knob.path}",
            ) from None

    def _must_hold(self, change: Change) -> None:
        if self._limit(change.knob) != change.before:
            raise self._since(change)

    def _since(self, change: Change) -> ChangedSince:
        limit = self._limit(change.knob)
        now = "infinity" if limit is None else str(limit)
        return changed_since(f"MemoryMax of {change.knob.path}", now, change)


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _said(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr or error.stdout or error).strip()
    return str(error)
