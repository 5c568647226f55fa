"""The processes of one lab instance: start them, find them again, end exactly them.

A process is known by its program's name and by the pid file on its command line, which names the
instance's directory: both survive a starter that was killed. It is held by a pidfd from the
moment it was recognised, so a reused pid is never signalled.

Not here: what an instance is (``lab``).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
AGENT = HERE / "lab-agent"
GENERATOR = HERE / "lab-generator"
OBJECT = HERE / "agent.bpf.o"
OPTIONAL = HERE / "optional.bpf.o"
END_WAIT_S = 3.0


def spawn(argv: Sequence[str], output: Path) -> int:
    """Start a program in a session of its own, with its output appended to a file; its pid."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(argv[0], list(argv), os.environ, file_actions=actions, setsid=True)


def started_ticks(pid: int) -> int:
    """Clock ticks from boot to its start (proc(5), stat field 22); 0 when it has ended.

    One that has ended and was not yet reaped by its parent has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def ended(pid: int) -> int | None:
    """The exit code of a child that has ended, -signal if it was killed; None while it runs.

    One that is not our child has ended when it is gone; its code is then 0, as nobody knows.
    """
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None if started_ticks(pid) else 0
    return os.waitstatus_to_exitcode(status) if done else None


def is_ours(pid: int, directory: Path) -> bool:
    """Whether a process is the agent or generator of the instance in ``directory``."""
    try:
        program = str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    pid_files = (os.fsencode(directory / "agent.pid"), os.fsencode(directory / "generator.pid"))
    return Path(program).name in (AGENT.name, GENERATOR.name) and any(word in pid_files for word in argv)


def find(directory: Path) -> Iterator[tuple[int, int]]:
    """Each process of the instance as (pid, pidfd); the caller closes the pidfd.

    Cost: two reads for each process of the machine.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        if not is_ours(pid, directory):
            continue
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        if is_ours(pid, directory):  # once more: now it can't be another any more
            yield pid, pidfd
        else:
            os.close(pidfd)


def end_all(directory: Path) -> int:
    """End every process of the instance, first asking, after three seconds not; how many there were."""
    found = dict(find(directory))
    try:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for pidfd in found.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, sent)
            for pid, pidfd in found.items():
                _wait(pid, pidfd)
    finally:
        for pidfd in found.values():
            os.close(pidfd)
    return len(found)


def _wait(pid: int, pidfd: int) -> None:
    """Until it has ended, for a while; a child is reaped."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if poll.poll(END_WAIT_S * 1000):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
