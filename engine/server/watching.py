"""Both parts of ``runbook serve`` as children: started, started again when they die, ended together.

One promise: when this process ends, however, both parts end; a part that dies again and again ends the
whole with an error instead of being started for ever.

It takes the place of the command that started it and needs the standard library only: 11 MB.
Not here: what the parts do (``engine.server.starting``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

#: The parts, the one that is started first at the head; they end in the other order.
PARTS = ("worker", "listener")
#: So many deaths of a part within so many seconds end the whole.
DEATHS, WITHIN_S = 4, 60.0
#: How long a part may take to end: the worker's runs stop in good order.
PATIENCE_S = 75.0
#: Exit codes of a part whose settings are wrong, or that was refused: starting it again mends nothing.
FINAL = (2, 3)


class Part:
    """One part and its process."""

    def __init__(self, name: str, options: Sequence[str]) -> None:
        self.name = name
        self._command = [sys.executable, "-P", "-m", "engine.cli", "serve", "--part", name, *options]
        self._deaths: list[float] = []
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "RUNBOOK_SERVE_PARENT": str(os.getpid())}
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
            preexec_fn=_unblock,  # noqa: PLW1509 - this process has one thread
        )

    def died(self, code: int) -> str:
        """Start it again; gives why the whole must end instead, or nothing."""
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < WITHIN_S] + [now]
        if code in FINAL:
            return f"the {self.name} can't be started"
        if len(self._deaths) >= DEATHS:
            return f"the {self.name} ended {DEATHS} times within {WITHIN_S:g} s ({_ended(code)})"
        _say(f"the {self.name} ended ({_ended(code)}); it is started again")
        time.sleep(0.2 * len(self._deaths))
        self.process = self._start()
        return ""

    def end(self) -> None:
        """Ask it to end, wait, and end it when it does not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def watch(options: Sequence[str]) -> int:
    """Keep both parts running until SIGTERM, SIGINT or SIGHUP; gives the exit code."""
    wanted = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    parts = [Part(name, options) for name in PARTS]
    problem = ""
    while not problem:
        if signal.sigwait(wanted) != signal.SIGCHLD:
            break
        problem = _look(parts)
    for part in reversed(parts):
        part.end()
    if problem:
        _say(f"error: {problem}\n  fix: see its last lines above; runbook serve --part … runs it alone")
    return 4 if problem else 0


def _look(parts: Sequence[Part]) -> str:
    for part in parts:
        code = part.process.poll()
        if code is not None and (problem := part.died(code)):
            return problem
    return ""


def _ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _unblock() -> None:
    """What this process waits for by name, its children are told of as usual."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(watch(sys.argv[1:]))
