"""Start an agent anew, running or not, and wait until it is well.

An agent whose programs do not load may not run at all, or may be tried again and again by
its supervisor: both are fine here. Without a known way to start it nobody is started, and the
run's goal tells whether its supervisor came by.

Not here: reloading an agent that works (``reload``).
"""

from __future__ import annotations

import subprocess
import tempfile

from engine.contracts import Clock
from engine.errors import ChangeFailed
from engine.values import Reload, Target
from remediations.knobs import http, processes

_EVERY_S = 0.1


def anew(start: Reload, target: Target) -> None:
    """Start it, or start it again.

    Raises:
        ChangeFailed: The command failed.
    """
    command = _command(start)
    if command:
        _run(command, start.settle_s, target)


def end(start: Reload, target: Target) -> None:
    """End what ``anew`` started where nothing ran before.

    Raises:
        ChangeFailed: It could not be ended.
    """
    if start.by == "systemd":
        _run(("systemctl", "stop", start.unit), start.settle_s, target)
    else:
        for process in target.processes:
            processes.send(process, "SIGTERM")


def wait_gone(start: Reload, target: Target, clock: Clock) -> None:
    """Until its processes have ended, for ``settle_s`` at most."""
    deadline = clock.monotonic() + start.settle_s
    while any(processes.alive(one) for one in target.processes) and clock.monotonic() < deadline:
        clock.sleep(_EVERY_S)


def wait_well(start: Reload, target: Target, clock: Clock) -> None:
    """Until its health endpoint answers 200; at once where it has none.

    Raises:
        ChangeFailed: It did not within ``settle_s``.
    """
    if not target.health_url:
        return
    deadline = clock.monotonic() + start.settle_s
    while (status := http.status("GET", target.health_url)) != 200:
        if clock.monotonic() >= deadline:
            raise ChangeFailed(
                f"{target.name} is not healthy {start.settle_s:g} s after its start"
                f" ({target.health_url}: {status or 'no answer'})",
                fix=f"see the agent's log{f' {target.log_file}' if target.log_file else ''}",
            )
        clock.sleep(_EVERY_S)


def by_hand(start: Reload) -> str:
    """The command that does the same; empty where it is not known."""
    return " ".join(_command(start))


def _command(start: Reload) -> tuple[str, ...]:
    if start.by == "systemd":
        return ("systemctl", "restart", start.unit)
    return start.argv if start.by == "command" else ()


def _run(argv: tuple[str, ...], timeout_s: float, target: Target) -> None:
    again = f"see why, then by hand: {' '.join(argv)}"
    with tempfile.TemporaryFile() as output:  # no pipe: an agent that keeps it open would hold us up
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ChangeFailed(f"{target.name} can't be started: {error}", fix=again) from None
        if not done.returncode:
            return
        output.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()
    raise ChangeFailed(
        f"{' '.join(argv)} ended with {done.returncode}: {said[-1] if said else 'no message'}", fix=again
    )
