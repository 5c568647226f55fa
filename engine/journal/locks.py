"""Who works on what: a lock per run and per target, freed by the kernel itself.

One promise: two engines never work on one target, and a lock never outlives its process,
not even after kill -9. What stands in a lock's file (pid, boot id, run) is for people; only
the ``flock`` on it counts.

Not here: what to do with an unfinished run whose lock is free (``engine.running.resume``).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from engine import host
from engine.errors import InUse, JournalUnavailable

#: A reader that asks whether a lock is held takes it for microseconds; a taker tries again that often.
TRIES = 5
PAUSE_S = 0.01


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock, for display.

    Attributes:
        name: What is locked: a run's id or a target's ref.
        started_at: Epoch seconds.
    """

    name: str
    run: str
    pid: int
    boot_id: str = ""
    started_at: float = 0.0


class Lock:
    """One held lock; a context manager. Made by ``hold_run`` and ``hold_target``."""

    def __init__(self, path: Path, descriptor: int, *, keep_file: bool) -> None:
        self._path = path
        self._descriptor = descriptor
        self._keep_file = keep_file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go; twice is once."""
        if self._descriptor < 0:
            return
        if not self._keep_file:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def hold_run(directory: Path, run: str, *, now: float) -> Lock:
    """Take the lock of a run.

    Raises:
        InUse: Another process works on it.
        JournalUnavailable: The lock file can't be written.
    """
    return _hold(_run_path(directory, run), run, run, now, keep_file=False)


def hold_target(directory: Path, ref: str, run: str, *, now: float) -> Lock:
    """Take the lock of a target for a run. Errors as ``hold_run``."""
    return _hold(_target_path(directory, ref), ref, run, now, keep_file=True)


def run_is_held(directory: Path, run: str) -> bool:
    """Whether a living process works on the run."""
    return _is_held(_run_path(directory, run))


def _run_path(directory: Path, run: str) -> Path:
    return directory / "locks" / f"run-{run}"


def _target_path(directory: Path, ref: str) -> Path:
    return directory / "locks" / f"target-{hashlib.sha256(ref.encode(errors='replace')).hexdigest()[:24]}"


def _hold(path: Path, name: str, run: str, now: float, *, keep_file: bool) -> Lock:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for attempt in range(TRIES):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            if _take(descriptor, path):
                holder = Holder(name=name, run=run, pid=os.getpid(), boot_id=host.boot_id(), started_at=now)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(holder), 0)
                return Lock(path, descriptor, keep_file=keep_file)
            os.close(descriptor)
            if attempt < TRIES - 1:
                time.sleep(PAUSE_S)
    except OSError as error:
        raise JournalUnavailable(
            f"the lock {path} can't be taken: {error.strerror}",
            fix="free space or rights in that directory, or choose another with --state",
        ) from error
    raise _busy(path, name)


def _take(descriptor: int, path: Path) -> bool:
    """Lock the open file; False when another has it, or when the path names another file by now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _busy(path: Path, name: str) -> InUse:
    try:
        holder = msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return InUse(f"another runbook works on {name}", fix="wait until it has ended: runbook runs")
    return InUse(
        f"run {holder.run} (pid {holder.pid}) works on {holder.name}",
        fix=f"wait until it has ended, or stop it: kill -INT {holder.pid}",
        run=holder.run,
    )
