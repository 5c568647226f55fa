"""Make a target take a new setting, and wait until it is well with it.

By signal the process must stay the same; by systemd or a command a new one may take its
place. Then its health endpoint must answer 200, and, where the profile says how to see
it, the new value must be in force. Where it does not, the profile's settling time is
waited out: a signal only asks.

Not here: writing the setting (the backends).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from engine.contracts import Clock
from engine.errors import ChangeFailed
from engine.values import Process, Reload, Target
from remediations.knobs import http, processes

_EVERY_S = 0.05
#: Answers whether the new value is in force; None when the target does not say.
InForce = Callable[[], bool | None]


class WallClock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def take_effect(reload: Reload, target: Target, clock: Clock, in_force: InForce) -> None:
    """Reload and wait.

    Raises:
        ChangeFailed: The reload failed, or the target was not well again in ``settle_s``.
    """
    if reload.by == "none":
        return
    deadline = clock.monotonic() + reload.settle_s
    marker = _marker(reload, target)

    def done() -> bool | None:
        known = in_force()
        if known is None and marker is not None and processes.alive(target.processes[0]):
            now = _marker(reload, target)
            known = now is not None and now != marker
        return known

    _ask(reload, target)
    _wait(reload, target, clock, deadline, done)


def by_hand(reload: Reload, target: Target) -> str:
    """The command that does the same; empty where nothing is needed."""
    match reload.by:
        case "signal":
            return f"kill -{reload.signal.removeprefix('SIG')} {target.pid or 'PID'}"
        case "systemd":
            return f"systemctl reload-or-restart {reload.unit}"
        case "command":
            return " ".join(reload.argv)
        case "http":
            return f"curl -X POST {reload.url}"
    return ""


def _marker(reload: Reload, target: Target) -> float | None:
    """The metric that changes with every reload, if the profile names one."""
    if not reload.confirm or not target.metrics_url:
        return None
    return http.metric(target.metrics_url, reload.confirm)


def _ask(reload: Reload, target: Target) -> None:
    again = f"see the agent's log; by hand: {by_hand(reload, target)}"
    match reload.by:
        case "signal":
            try:
                sent = processes.send(target.processes[0], reload.signal)
            except (PermissionError, KeyError) as error:
                raise ChangeFailed(
                    f"{reload.signal} can't be sent to {target.pid}: {error}", fix=again
                ) from None
            if not sent:
                raise ChangeFailed(
                    f"process {target.pid} has ended", fix="start the agent, then look at its log"
                )
        case "systemd":
            _command(("systemctl", "reload-or-restart", reload.unit), reload.settle_s, again)
        case "command":
            _command(reload.argv, reload.settle_s, again)
        case "http":
            status = http.status("POST", reload.url)
            if not 200 <= status < 300:
                answer = f"answered {status}" if status else "gave no answer"
                raise ChangeFailed(f"{reload.url} {answer} to the reload", fix=again)


def _command(argv: tuple[str, ...], timeout_s: float, again: str) -> None:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ChangeFailed(f"{argv[0]} failed: {error}", fix=again) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ChangeFailed(
            f"{' '.join(argv)} ended with {done.returncode}: {said[-1] if said else 'no message'}", fix=again
        )


def _wait(reload: Reload, target: Target, clock: Clock, deadline: float, in_force: InForce) -> None:
    """Poll until well and in force; without a way to see the latter, to the end of the time."""
    restarts = reload.by in ("systemd", "command", "http")
    only_asks = reload.by in ("signal", "systemd")  # a unit's reload is often a signal too
    trouble = "did not settle"
    while True:
        well = _trouble(target, restarts=restarts)
        effective = in_force() if well is None else None
        waits = only_asks and processes.alive(target.processes[0])
        if well is None and (effective or (effective is None and not waits)):
            return
        trouble = well or ("shows no sign of the new value" if effective is False else "")
        if well == "has ended" and not restarts:
            break
        if clock.monotonic() >= deadline:
            break
        clock.sleep(min(_EVERY_S, max(0.001, deadline - clock.monotonic())))
    if trouble:
        raise ChangeFailed(
            f"{target.name} (pid {target.pid}) {trouble}, {reload.settle_s:g} s at most after {reload.by}",
            fix=f"see the agent's log{f' {target.log_file}' if target.log_file else ''};"
            " the setting is written and will be undone with the run",
        )


def _trouble(target: Target, *, restarts: bool) -> str | None:
    """What is wrong with the target now, or None when it is well."""
    process: Process = target.processes[0]
    if not processes.alive(process) and not (restarts and processes.successor(process)):
        return "has ended"
    if target.health_url and (status := http.status("GET", target.health_url)) != 200:
        return f"is not healthy ({target.health_url}: {status or 'no answer'})"
    return None
