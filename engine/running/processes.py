"""One process, from its start to its end: no shell, no input, bounded time and output.

One promise: it returns within its time and a moment, with the beginning of what was said, whatever the
process does; a flood of output costs neither memory nor disk.

Not here: whether it may be run (``engine.running.commands``).
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from engine.clock import Cancel

#: So much is kept of what it says, each way, in bytes.
KEPT = 32 * 1024
#: How long what it left behind may hold its output open once it has ended, in seconds.
GRACE_S = 0.5
#: How often it is looked whether it has ended, or is to be, in seconds.
GLANCE_S = 0.05
#: A command sees nothing of our environment but this.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class Result(NamedTuple):
    """How it ended; see ``engine.record.Ran``."""

    argv: tuple[str, ...]
    exit_code: int | None
    seconds: float
    stdout: str = ""
    stderr: str = ""
    cut: bool = False


class Execute(Protocol):
    """Runs one command: ``execute``, or what stands for it in a rehearsal."""

    def __call__(self, argv: Sequence[str], seconds: float, cancel: Cancel | None = None) -> Result:
        """Its result."""


def execute(argv: Sequence[str], seconds: float, cancel: Cancel | None = None) -> Result:
    """Run it in a session of its own, in ``/``, with an empty input and a clean environment.

    Args:
        argv: Program and arguments.
        seconds: After this it is ended, with all of its session.
        cancel: Ends it early; only for what changes nothing.

    Returns:
        Its result; one that could not be started at all ended with 127, as shells say it.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            list(argv),
            cwd="/",
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Result(tuple(argv), 127, time.monotonic() - began, stderr=str(error))
    with process:
        kept, cut = _listen(process, began + seconds, cancel)
        ended = process.poll()
        if ended is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out, said = (bytes(one).decode("utf-8", "replace") for one in kept)
    return Result(tuple(argv), ended, time.monotonic() - began, out, said, cut)


def _listen(
    process: subprocess.Popen[bytes], until: float, cancel: Cancel | None
) -> tuple[tuple[bytearray, bytearray], bool]:
    """Read until both ends are closed, the process has ended, or its time is up."""
    kept, cut = (bytearray(), bytearray()), False
    with selectors.DefaultSelector() as selector:
        for stream, into in zip((process.stdout, process.stderr), kept, strict=True):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, into)
        while selector.get_map() or process.poll() is None:
            now = time.monotonic()
            if now >= until or cancel:
                break
            if process.poll() is not None:
                until = min(until, now + GRACE_S)
            if not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GLANCE_S)
                continue
            for key, _ in selector.select(GLANCE_S):
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                room = KEPT - len(key.data)
                key.data.extend(piece[:room])
                cut = cut or len(piece) > room
    return kept, cut
