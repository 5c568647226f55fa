"""A drop-in file of a systemd unit: a file of our own, so that undo is to take it away.

The unit's own file, and drop-ins of others, are never touched.

Source: systemd.unit(5), "drop-in"; systemd.exec(5).

Not here: what stands in it (the remediations), starting the unit (``start``).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.plain_file import directory_stamp

UNITS = Path("/etc/systemd/system")
HEAD = "# Written by runbook; 'runbook undo' takes it away.\n"
_RELOAD = ("systemctl", "daemon-reload")


def place(unit: str, name: str, units: Path = UNITS) -> Path:
    """The file of ours for one subject: ``tetragon.service.d/50-runbook-NAME.conf``."""
    return units / f"{unit}.d" / f"50-runbook-{name}.conf"


def _call(argv: Sequence[str]) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=30)


class SystemdDropin:
    """Backend ``systemd-dropin``: the file ``Knob.file``, whole; absent is None."""

    name = "systemd-dropin"

    def __init__(self, call: Callable[[Sequence[str]], None] = _call) -> None:
        self._call = call

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the file is in the knob
        """The file's text."""
        path = Path(knob.file)
        try:
            text = _text(path)
        except OSError as error:
            return KnobValue(source=knob.file, missing=f"{path}: {error.strerror}")
        return KnobValue(value=text, raw=text, effective=text, source=knob.file)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002 - as read
        """The text that stands there, and whether its directory is ours to remove."""
        path = Path(change.knob.file)
        self._must_hold(change, path)
        return {
            "text": change.before,
            "directory_is_new": not path.parent.exists(),
            "stamp": directory_stamp(path),
        }

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Put the whole file there in one step, and have systemd read it."""
        path = Path(change.knob.file)
        self._must_hold(change, path)
        try:
            _replace(path, str(change.after))
        except OSError as error:
            raise NotChanged(f"{path} can't be written: {error.strerror}", fix="run as root") from None
        self._reload()

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """By the whole text."""
        return _state(change, _text(Path(change.knob.file)))

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the file is in the knob
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Take the file away, or put back the one that stood there; the same for its directory."""
        path = Path(change.knob.file)
        match _state(change, _text(path)):
            case "other":
                raise _since(change, path)
            case "before" if directory_stamp(path) == captured["stamp"]:
                return Restored(reload=False)
            case "after" if change.before is None:
                path.unlink()
            case "after":
                _replace(path, str(change.before))
        if captured["directory_is_new"] and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
        self._reload()
        return Restored(reload=True)

    def _must_hold(self, change: Change, path: Path) -> None:
        if _text(path) != change.before:
            raise _since(change, path)

    def _reload(self) -> None:
        try:
            self._call(_RELOAD)
        except (OSError, subprocess.SubprocessError) as error:
            raise ChangeFailed(
                f"systemd did not read its units again: {error}", fix="by hand: systemctl daemon-reload"
            ) from None


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".runbook.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
            os.fchmod(handle, 0o644)
            out.flush()
            os.fsync(handle)
        Path(name).rename(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _state(change: Change, now: str | None) -> State:
    return "before" if now == change.before else "after" if now == change.after else "other"


def _since(change: Change, path: Path) -> ChangedSince:
    return (
        ChangedSince(
            f"{path} is not what was written: somebody else has edited it. Left as it is",
            fix=f"if nobody needs it: rm {path}; systemctl daemon-reload",
        )
        if _text(path) is not None
        else ChangedSince(
            f"{path} is gone; expected {change.before_text} or {change.after_text}",
            fix="nothing was changed; look again",
        )
    )
