"""Whose files root obeys: those that nobody but root could have written.

One promise: while this process runs as root, a file that decides what is done (runbook, profile, policy,
settings, users) is accepted only where root owns it and every directory and link on the way to it, and
nobody else may write to any of them. Under sudo whoever called it counts as root, which they may become
anyway; the worker of ``runbook serve`` accepts root's alone (``only_root``). A process that is not root
can do no more than its user, and reads what it can.

A directory in which everybody may make files, and nobody may touch those of others (sticky, as ``/tmp``), is
a fit place on the way when root owns it: what root made in it stays root's. Of a link both ends count, and
who made it. The file is opened on the way that was checked, so nothing can be put in its place in between.
Files beside the program itself are as good as the program.

Source: path_resolution(7), openat(2), sticky bit: unlink(2). An ACL that lets somebody write shows in the
group's bits, acl(5). Cost: 30 µs a file.

Not here: programs that runbooks may run (``engine.guarding.commands``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import UsageError

#: So much is read of a file at most, and a byte more, to tell.
LARGEST = 1 << 20
_MOST_LINKS = 40
_ONLY_ROOT = "RUNBOOK_ONLY_ROOT"
_PROGRAM = Path(__file__).resolve().parents[1]
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class NotTrusted(UsageError):
    """Somebody else than root could have written it, and it would be obeyed as root."""


class _Step:
    """One name on the way to a file, held open: what is checked is what is used."""

    def __init__(self, name: str, above: _Step | None) -> None:
        self.handle: int = os.open(name, _LOOK, dir_fd=above.handle if above else None)
        self.path: str = name if above is None else f"{above.path.rstrip('/')}/{name}"
        self.state = os.fstat(self.handle)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.state.st_mode)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.state.st_mode)

    def trouble(self, owners: frozenset[int]) -> tuple[str, str]:
        """What is wrong with it, and the command that mends it; empty for nothing."""
        if self.state.st_uid not in owners:
            return f"{self.path} belongs to user {self.state.st_uid}", f"chown root {self.path}"
        shared = self.state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        sticky = self.is_directory and self.state.st_mode & stat.S_ISVTX
        if shared and not sticky and not self.is_link:
            return f"{self.path} can be written by others", f"chmod go-w {self.path}"
        return "", ""


def read(path: Path, most: int = LARGEST) -> bytes:
    """A file's bytes, ``most`` and one at most.

    Raises:
        NotTrusted: This process is root, and others could have written it.
        OSError: It can't be read.
    """
    if not applies() or _is_ours(path):
        with path.open("rb") as file:
            return file.read(most + 1)
    with _walked(path) as (step, trouble):
        if trouble[0]:
            raise _refused(path, *trouble)
        if not stat.S_ISREG(step.state.st_mode):
            raise NotTrusted(f"{path} is no regular file", fix="give a file")
        with open(f"/proc/self/fd/{step.handle}", "rb") as file:  # noqa: PTH123 - the very file that was checked
            return file.read(most + 1)


def trouble(path: Path) -> NotTrusted | None:
    """Why a file or directory is not accepted; None where it is, or where that is no question.

    Raises:
        OSError: It can't be looked at.
    """
    if not applies() or _is_ours(path):
        return None
    with _walked(path) as (_, found):
        return _refused(path, *found) if found[0] else None


def applies() -> bool:
    """Whether it matters whose a file is."""
    return os.geteuid() == 0


def only_root() -> None:
    """From now on, here and in children, root's own files alone count: this process answers strangers."""
    os.environ[_ONLY_ROOT] = "1"


def owners() -> frozenset[int]:
    """Whose files root obeys: its own, and those of whoever called sudo."""
    behind = os.environ.get("SUDO_UID", "")
    return (
        frozenset({0, int(behind)}) if behind.isdigit() and _ONLY_ROOT not in os.environ else frozenset({0})
    )


def _refused(path: Path, what: str, mend: str) -> NotTrusted:
    return NotTrusted(f"{path} is not obeyed as root: {what}", fix=f"{mend}; or keep it below /etc/runbook")


def _is_ours(path: Path) -> bool:
    """Whether it came with the program: whoever can write there can write the program."""
    try:
        return path.resolve().is_relative_to(_PROGRAM / "runbooks")
    except (OSError, RuntimeError):  # a ring of links
        return False


@contextmanager
def _walked(path: Path) -> Iterator[tuple[_Step, tuple[str, str]]]:
    """Go to a file name by name; gives it, held open, with the first thing that is wrong on the way."""
    mine, links = owners(), 0
    steps = [_Step("/", None)]
    wrong = steps[0].trouble(mine)
    names = [name for name in reversed(str(path.absolute()).split("/")) if name not in {"", "."}]
    try:
        while names:
            step = _Step(names.pop(), steps[-1])
            steps.append(step)
            wrong = wrong if wrong[0] else step.trouble(mine)
            if not step.is_link:
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(40, "Too many levels of symbolic links", str(path))
            whither = os.readlink("", dir_fd=step.handle)
            if whither.startswith("/"):
                steps.append(_Step("/", None))
            else:
                steps.append(steps[-2])
            names += [name for name in reversed(whither.split("/")) if name not in {"", "."}]
        yield steps[-1], wrong
    finally:
        for handle in {step.handle for step in steps}:
            os.close(handle)
