"""A file system of the kernel's own, mounted where an agent looks for it.

Undo unmounts only what is still the mount that we made, and only when nothing is in it:
unmounting a BPF file system would destroy what is pinned there.

Source: mount(2), proc(5) ("mountinfo").

Not here: which file system is needed where (``mounts``).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from engine.errors import ChangedSince
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8  # MS_*, linux/mount.h
_WAYS_OUT = {
    errno.EPERM: "run as root with CAP_SYS_ADMIN",
    errno.ENODEV: "this kernel was built without it",
    errno.EBUSY: "something is mounted there already: findmnt",
    errno.ENOENT: "make the directory first",
}


class Mount:
    """Backend ``mount``: the directory ``Knob.file``; its value is the type of file system there."""

    name = "mount"

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The type of the file system mounted there; absent when none is."""
        blocked = _obstacle(Path(knob.file), target)
        kind = mounted(knob.file)
        return KnobValue(value=kind, raw=kind, effective=kind, source=knob.file, missing=blocked)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """Whether the directory is there."""
        blocked = _obstacle(Path(change.knob.file), target)
        if blocked:
            raise NotChanged(blocked, fix="mount it where the agent runs")
        self._must_hold(change)
        return {"place": change.knob.file, "directory_is_new": not Path(change.knob.file).exists()}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Mount."""
        self._must_hold(change)
        place, kind = Path(change.knob.file), str(change.after)
        try:
            place.mkdir(exist_ok=True)
            _mount(kind, place)
        except OSError as error:
            raise NotChanged(
                f"{kind} can't be mounted on {place}: {error.strerror}",
                fix=_WAYS_OUT.get(error.errno or 0, f"by hand: mount -t {kind} {kind} {place}"),
            ) from None

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """By the type of what is mounted there."""
        return _state(change)

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the place was captured
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Unmount what is ours and unused, and take away the directory that we made."""
        place = Path(str(captured["place"]))
        match _state(change):
            case "other":
                raise _since(change)
            case "before":
                return Restored(reload=False)
        pinned = _pinned(place) if change.after == "bpf" else []
        if pinned:
            raise ChangedSince(
                f"{place} holds pinned objects ({', '.join(pinned[:3])}), which unmounting would destroy."
                " Left mounted",
                fix=f"when nobody needs them: umount {place}",
            )
        try:
            _unmount(place)
        except OSError as error:
            raise ChangedSince(
                f"{place} can't be unmounted: {error.strerror}. Left mounted",
                fix=f"see who uses it: fuser -vm {place}; then: umount {place}",
            ) from None
        if captured["directory_is_new"] and not any(place.iterdir()):
            place.rmdir()
        return Restored(reload=False)

    def _must_hold(self, change: Change) -> None:
        if mounted(change.knob.file) != change.before:
            raise _since(change)


def mounted(place: str, table: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the file system whose mount point is ``place``, the topmost; None when there is none."""
    found = None
    for line in table.read_text(errors="replace").splitlines():
        front, _, back = line.partition(" - ")
        fields = front.split(" ")
        if len(fields) > 4 and fields[4].replace("\\040", " ") == place:
            found = back.split(" ")[0]
    return found


def _obstacle(place: Path, target: Target) -> str:
    """Why mounting there would not help this agent; empty when it would."""
    if target.pid:
        try:
            theirs, ours = (os.readlink(f"/proc/{pid}/ns/mnt") for pid in (target.pid, "self"))  # noqa: PTH115
        except OSError:
            return ""
        if theirs != ours:
            return f"{target.name} has a mount namespace of its own: mount it in its container's manifest"
    return "" if place.parent.is_dir() else f"{place.parent} is no directory"


def _state(change: Change) -> State:
    now = mounted(change.knob.file)
    return "after" if now == change.after else "before" if now == change.before else "other"


def _pinned(place: Path) -> list[str]:
    """What is pinned, the kernel's own iterators apart."""
    return sorted(one.name for one in place.iterdir() if one.name not in ("maps.debug", "progs.debug"))


def _mount(kind: str, place: Path) -> None:
    flags = _NOSUID | _NODEV | _NOEXEC
    _libc_call(
        "mount",
        kind.encode(),
        os.fsencode(place),
        kind.encode(),
        flags,
        b"mode=0700" if kind == "bpf" else None,
    )


def _unmount(place: Path) -> None:
    _libc_call("umount2", os.fsencode(place), 0)


def _libc_call(name: str, *arguments: bytes | int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    typed = [ctypes.c_ulong(one) if isinstance(one, int) and name == "mount" else one for one in arguments]
    if getattr(libc, name)(*typed):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _since(change: Change) -> ChangedSince:
    return ChangedSince(
        f"on {change.knob.file} is {mounted(change.knob.file) or 'nothing'} mounted; expected"
        f" {change.before_text} or {change.after_text}. Left as it is",
        fix=f"look with: findmnt {change.knob.file}",
    )
