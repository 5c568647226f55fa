"""Replace a file's content in one step, keeping everything else about it; make one, or take it away.

A reader sees the old bytes or the new ones, never a mixture, and after a power cut too.
Owner, mode, ACLs and other extended attributes stay. Where keeping them is impossible, or
replacing would hit another file than the one named, nothing is done and the error says why.

Not here: what the bytes mean.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import ChangedSince, ChangeFailed, RunbookError
from remediations.knobs.backend import NotChanged

_TRIES = 5
_SUFFIX = ".runbook"
_WAYS_OUT = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space within the quota",
    errno.EROFS: "the file system is mounted read-only: change the setting where the file comes from",
    errno.EBUSY: "the file is itself a mount point (a container's bind mount): change it on the host",
    errno.EPERM: "look for an immutable flag: lsattr",
    errno.EACCES: "run as the file's owner or as root",
}


def obstacle(path: Path) -> tuple[str, str] | None:  # noqa: PLR0911 - one return a reason
    """Why the file can't be replaced safely, with the way out; None when it can.

    Reads only. Cost: a few stat calls.
    """
    real = Path(os.path.realpath(path))
    if any(part.startswith("..") and len(part) > 2 for part in (*path.parts, *real.parts)):
        return (
            f"{path} is a projected Kubernetes volume ({real}); the kubelet overwrites it",
            "change the ConfigMap or Secret that it comes from",
        )
    if path.is_symlink():
        return f"{path} is a symbolic link; the real file is {real}", f"name {real} in the agent's profile"
    try:
        stat = path.stat()
    except FileNotFoundError:
        return f"{path} does not exist", "check the agent profile's config path"
    except OSError as error:
        return f"{path} can't be looked at: {error.strerror}", "check the path and its permissions"
    if not path.is_file():
        return f"{path} is no regular file", "check the agent profile's config path"
    if stat.st_nlink > 1:
        return f"{path} has {stat.st_nlink} hard links", "make it a file of its own: cp -p, then mv"
    if not os.access(path, os.W_OK):
        return f"{path} is not writable for uid {os.geteuid()}", "run as the file's owner or as root"
    if not os.access(path.parent, os.W_OK):
        return f"{path.parent} is not writable, so {path.name} can't be replaced", "run as root"
    return None


def update(path: Path, change: Callable[[bytes], bytes], scratch: Path | None = None) -> None:
    """Replace the file by ``change(its bytes)``, under a lock.

    The new content is written beside it first; in ``scratch``, a directory of the same file system,
    where every file beside it would count for something.

    Read again right before the replacement: when somebody wrote in between, ``change`` is
    asked anew with their bytes, so that it can refuse, and so that their other edits stay.

    Raises:
        NotChanged: The file can't be replaced, is locked, or changes without end.
    """
    blocked = obstacle(path)
    if blocked:
        raise NotChanged(blocked[0], fix=blocked[1])
    try:
        with _locked(path) as stat:
            _sweep(path, scratch)
            for _ in range(_TRIES):
                seen = path.read_bytes()
                wanted = change(seen)
                if wanted == seen or _replace(path, seen, wanted, stat, scratch):
                    return
    except OSError as error:
        raise _refusal(path, "replaced", error) from None
    raise NotChanged(f"{path} keeps changing while we write", fix="find out who writes it, then try again")


def make(path: Path, content: bytes, like: Path | None = None, scratch: Path | None = None) -> None:
    """Make a file that is not there: whole, or not at all.

    Args:
        path: Where; its directory is there.
        content: What it holds.
        like: A file whose mode, owner and labels it gets; else it is root's, readable for all.
        scratch: As for ``update``.

    Raises:
        ChangedSince: There is one by now.
        NotChanged: It can't be made.
    """
    try:
        _sweep(path, scratch)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=scratch or path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                if like is not None:
                    _copy_attributes(like, handle, like.stat())
                else:
                    os.fchmod(handle, 0o644)
                out.flush()
                os.fsync(handle)
            os.link(name, path)  # fails where there is one, unlike a rename
        finally:
            Path(name).unlink()
        _sync_directory(path.parent)
    except FileExistsError:
        raise ChangedSince(
            f"{path} was made by somebody else just now", fix="nothing was changed; look again"
        ) from None
    except OSError as error:
        raise _refusal(path, "made", error) from None


def remove(path: Path, content: bytes, scratch: Path | None = None) -> None:
    """Take a file away that holds this very content.

    Raises:
        ChangedSince: It holds something else by now.
        NotChanged: It can't be taken away.
    """
    try:
        with _locked(path):
            _sweep(path, scratch)
            if path.read_bytes() != content:
                raise ChangedSince(f"{path} was written just now; left as it is", fix="look again")
            path.unlink()
            _sync_directory(path.parent)
    except OSError as error:
        raise _refusal(path, "taken away", error) from None


def sweep(path: Path, scratch: Path | None = None) -> None:
    """Take away what a killed write has left beside the file, unless somebody is writing now."""
    with contextlib.suppress(OSError, RunbookError):
        if not path.exists():  # nobody can hold it: one that was being made
            _sweep(path, scratch)
            return
        with _locked(path):
            _sweep(path, scratch)


def _refusal(path: Path, what: str, error: OSError) -> NotChanged:
    fix = _WAYS_OUT.get(error.errno or 0, "mend that, then try again")
    return NotChanged(f"{path} can't be {what}: {error.strerror}; nothing was changed", fix=fix)


def _sweep(path: Path, scratch: Path | None = None) -> None:
    for left in (scratch or path.parent).glob(f".{glob.escape(path.name)}.*{_SUFFIX}"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[os.stat_result]:
    """Hold ``flock`` on the file that stands under this name now."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotChanged(
                f"{path} is locked by another process", fix=f"see who: fuser -v {path}"
            ) from None
        stat = os.fstat(handle)
        if stat.st_ino != path.stat().st_ino:
            raise ChangedSince(f"{path} was replaced just now", fix="nothing was changed; try again")
        yield stat
    finally:
        os.close(handle)


def _replace(path: Path, seen: bytes, wanted: bytes, stat: os.stat_result, scratch: Path | None) -> bool:
    """Put ``wanted`` in the file's place; False when it no longer holds ``seen``."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=scratch or path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(wanted)
            _copy_attributes(path, handle, stat)
            out.flush()
            os.fsync(handle)
        if path.read_bytes() != seen:
            return False
        Path(name).rename(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
    try:
        _sync_directory(path.parent)
    except OSError as error:
        raise ChangeFailed(
            f"{path} is replaced, but its directory can't be flushed: {error.strerror}",
            fix="look at the disk: dmesg; after a power cut either content may stand there",
        ) from None
    return True


def _copy_attributes(path: Path, handle: int, stat: os.stat_result) -> None:
    """Owner, then extended attributes (ACLs among them), then mode: chown clears set-id bits."""
    mine = os.fstat(handle)
    if (mine.st_uid, mine.st_gid) != (stat.st_uid, stat.st_gid):
        os.fchown(handle, stat.st_uid, stat.st_gid)
    with contextlib.suppress(OSError):  # a file system without extended attributes
        for name in os.listxattr(path):
            value = os.getxattr(path, name)
            with contextlib.suppress(OSError):  # a label that the kernel has set already
                os.setxattr(handle, name, value)
    os.fchmod(handle, stat.st_mode & 0o7777)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
